"""The process that builds a TensorRT engine and proves it, beside the daemon that serves meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge import bundle as bundles
from edge.backends import Options
from edge.bundle import TENSORRT
from edge.errors import BinsightError
from edge.manifest import Precision
from edge.proven import open_proven

PR_SET_PDEATHSIG = 1
FIRST_TO_GO = b"1000"
"""Of oom_score_adj: where memory runs out it is this process that the kernel ends, and not the daemon."""


@dataclass(frozen=True)
class Task:
    """What is to be built."""

    bundle: str
    """Its folder."""
    precision: Precision | None
    options: Options
    allow_failed: bool
    """Whether an engine whose verdict is FAIL is wanted all the same."""
    parent: int
    """Process that wants it: nothing is built for one that has gone."""


def main() -> None:
    """Build, prove and keep the engine that the first argument asks for; exit 2 with one line on stderr if not."""
    task = msgspec.json.decode(sys.argv[1], type=Task, dec_hook=_decode)
    _humble(task.parent)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        bundle = bundles.load(Path(task.bundle))
        open_proven(bundle, TENSORRT, task.precision, task.options, allow_failed=task.allow_failed).close()
    except (BinsightError, OSError, MemoryError) as error:
        sys.exit(_fail(" ".join(str(error).split()) or type(error).__name__))


def encode(task: Task) -> str:
    """Return the argument for `main`."""
    return msgspec.json.encode(task, enc_hook=str).decode()


def _decode(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value))
    raise NotImplementedError(kind)


def _humble(parent: int) -> None:
    """Yield to the daemon in everything, and end with it."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(_fail("the daemon that wanted it has gone"))
    os.nice(10)
    with contextlib.suppress(OSError):  # not every container lets it be written
        Path("/proc/self/oom_score_adj").write_bytes(FIRST_TO_GO)


def _fail(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201  what the daemon will log
    return 2
