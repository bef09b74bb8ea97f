"""The process that reads a camera, held by its parent from start to end. Nothing here waits, but the end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, cast

import msgspec

from edge.sources.capture_child import Farewell

POLITE_S = 0.3
"""Seconds to let go of the camera by itself, so that the camera hears of it."""

FIRM_S = 0.6
"""Seconds to be gone once killed: longer only in the hands of a driver."""

MOST_READS = 16
"""Of 64 KiB at a time: a library that never stops printing does not hold us up."""


class Process:
    """One child. The thread that makes it must live as long: the kernel ends the child with that very thread."""

    def __init__(self, command: Sequence[str], inherited: Sequence[int]) -> None:
        """Start it. Raises OSError."""
        self._child = subprocess.Popen(  # noqa: S603
            command,
            cwd="/",  # not the user's folder, where a package `edge` may lie
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=inherited,
            start_new_session=True,  # Ctrl-C is ours to hear
        )
        pipes = (self._child.stdin, self._child.stdout, self._child.stderr)
        self._orders, self._status, self._chatter = (cast("IO[bytes]", pipe) for pipe in pipes)
        os.set_blocking(self._chatter.fileno(), False)
        os.set_blocking(self._status.fileno(), False)
        self._tail = b""
        try:
            self.handle = os.pidfd_open(self._child.pid)
            """Readable once the process has ended."""
        except BaseException:
            self._child.kill()
            self._child.wait()
            self._close_pipes()
            raise

    def tell(self, line: bytes) -> None:
        """Say what to do; one that has ended meanwhile does not hear it."""
        with suppress(BrokenPipeError):
            self._orders.write(line)

    def listen(self) -> None:
        """Take in what its libraries print, so that the newest line is at hand."""
        for _ in range(MOST_READS):
            try:
                text = os.read(self._chatter.fileno(), 65536)
            except BlockingIOError:
                return
            if not text:
                return
            self._tail = (self._tail + text)[-4096:]

    @property
    def last_line(self) -> str:
        """The last line that its libraries printed."""
        lines = self._tail.decode(errors="backslashreplace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def is_over(self) -> bool:
        """Whether it has ended; then it is reaped, and what it began is killed."""
        if self._child.returncode is None and self._ends_within(0):
            self.kill()
            self._child.wait()
            self.listen()
        return self._child.returncode is not None

    def why(self) -> str:
        """Say why it ended: in its own words, else by its exit code."""
        with suppress(OSError, msgspec.DecodeError):
            line = os.read(self._status.fileno(), 65536).partition(b"\n")[0]
            return msgspec.json.decode(line, type=Farewell).error
        code = self._child.returncode or 0
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"the process that reads it was ended by {name}"
        return f"the process that reads it ended with {code}"

    def kill(self) -> None:
        """Kill it and all that it began. May be called until it is reaped."""
        if self._child.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def close(self, politely: bool) -> bool:
        """End it within a second, whatever it does. False where the kernel does not let go of it."""
        self._orders.close()
        ended = self.is_over() or (politely and self._ends_within(POLITE_S))
        if not ended:
            self.kill()
            self._ends_within(FIRM_S)
        ended = self.is_over()
        os.close(self.handle)
        self._close_pipes()
        return ended

    def _ends_within(self, seconds: float) -> bool:
        poller = select.poll()
        poller.register(self.handle, select.POLLIN)
        return bool(poller.poll(seconds * 1e3))

    def _close_pipes(self) -> None:
        for pipe in (self._orders, self._status, self._chatter):
            with suppress(OSError):
                pipe.close()
