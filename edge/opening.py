"""One opening of an engine, in a process of its own, and what each step took there."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from edge.backends import BackendInfo, Options, open_backend
from edge.bundle import load
from edge.errors import BackendError, BinsightError
from edge.manifest import Precision
from edge.progress import Progress
from edge.ratios import Taken, measure, taken
from edge.steady import hold_little, settle
from edge.steps import steps_of


@dataclass(frozen=True)
class Asked:
    """What a process is to time."""

    folder: Path
    """Of the bundle."""
    backend: str
    precision: Precision | None
    options: Options
    rounds: int
    seconds: float
    seed: int
    """Of the order of steps."""


@dataclass(frozen=True)
class Opened:
    """What it found."""

    info: BackendInfo
    taken: tuple[Taken, ...]


Timing = Callable[[Asked, Progress], Opened]


def time_steps(asked: Asked, progress: Progress) -> Opened:
    """Open the engine and time the steps, with memory and garbage collection as edge-run has them.

    Raises BundleError, BackendError.
    """
    hold_little()
    bundle = load(asked.folder)
    with (
        open_backend(bundle, asked.backend, asked.precision, asked.options) as backend,
        steps_of(bundle, backend, asked.options) as groups,
    ):
        settle()
        samples = measure(groups, asked.rounds, asked.seconds, progress, asked.seed)
        return Opened(backend.info, taken(groups, samples))


def apart(asked: Asked, progress: Progress, timing: Timing = time_steps) -> Opened:
    """Do `timing`, a function that a module names, in a fresh process.

    A fresh one and no fork: where the system puts memory, and how Python hashes text, is then drawn anew. Raises
    what `timing` raises, and BackendError where the process ends without an answer.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, asked, timing))
    with ours:
        process.start()
        theirs.close()
        try:
            while True:
                found = ours.recv()
                if isinstance(found, Opened):
                    return found
                if isinstance(found, BinsightError):
                    raise found
                progress(*found)
        except EOFError:
            process.join()
            raise BackendError(
                f"the process that timed {asked.backend} ended without an answer (exit code {process.exitcode})"
            ) from None
        finally:
            process.kill()
            process.join()
            process.close()


def _answer(pipe: Connection, asked: Asked, timing: Timing) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal: who started us ends us
    try:
        pipe.send(timing(asked, lambda done, total: pipe.send((done, total))))
    except BinsightError as error:
        pipe.send(error)
