"""Time that a piece of work takes, less the time in which the kernel let others have the core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import TracebackType

SCHEDSTAT = "/proc/thread-self/schedstat"
"""Nanoseconds on a core, nanoseconds ready and without one, slices. Source: the kernel's sched-stats.rst."""


class Stopwatch:
    """A clock of the thread that made it. What it waits for by itself (a disk, a GPU, a lock) counts.

    Only this thread's waits are left out: of an engine with several threads those of the others count. Where the
    kernel keeps no such account, nothing is left out.
    """

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns, path: str = SCHEDSTAT) -> None:
        self._clock = clock
        self._file = _open(path)

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Do `work` and return what it took."""
        begun = self._clock()  # outside of the waits, so that no wait is subtracted that it does not hold
        before = self._waited()
        work()
        after = self._waited()
        return (self._clock() - begun - (after - before)) / 1e6

    def _waited(self) -> int:
        return 0 if self._file is None else int(os.pread(self._file, 64, 0).split()[1])

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: str) -> int | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if len(os.pread(file, 64, 0).split()) < 2:
        os.close(file)
        return None
    return file
