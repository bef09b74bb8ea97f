"""What the proof of the gate plants: busy work behind a step, in the process that times it.

Each of these processes imports this module, and so nothing that it does not need.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from edge import model, opening, steps
from edge.backends.onnxruntime import OnnxRuntime
from edge.loop import Loop
from edge.opening import Asked, Opened
from edge.progress import Progress

NOTHING = "nothing"


@dataclass
class Plant:
    """What is added to a step. One in this process."""

    share: float = 0.0
    """Of the step's own time on the core, as busy work behind it; more or less than what the step then shows, for
    the clock's own time comes with it, and the caches are another's afterwards. See `_calibrated`."""

    def work(self, since: int, without: int = 0) -> None:
        """Be busy for a share of the nanoseconds on the core since `since`, `without` left out."""
        if self.share:
            now = time.thread_time_ns()
            end = now + round((now - since - without) * self.share)
            while time.thread_time_ns() < end:
                pass


PLANT = Plant()


def slowed(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does the same, and what is planted behind it."""

    def longer(*arguments: Any, **named: Any) -> Any:
        begun = time.thread_time_ns() if PLANT.share else 0
        result = work(*arguments, **named)
        PLANT.work(begun)
        return result

    return longer


@contextmanager
def nothing() -> Iterator[None]:
    """Plant nothing."""
    yield


@contextmanager
def in_preprocessing() -> Iterator[None]:
    """Make `fit` slower, wherever it is called."""
    with mock.patch.object(model, "fit", slowed(model.fit)), mock.patch.object(steps, "fit", slowed(steps.fit)):
        yield


class _Session:
    """A session whose `run` is slower."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.run = slowed(session.run)


@contextmanager
def in_inference() -> Iterator[None]:
    """Make `session.run` of the bundle's graph slower: the pinned one stays as it is."""

    def opened(*arguments: Any, **named: Any) -> Any:
        backend = open_backend(*arguments, **named)
        assert isinstance(backend, OnnxRuntime)
        backend._session = _Session(backend.session)
        return backend

    open_backend = opening.open_backend
    with mock.patch.object(opening, "open_backend", opened):
        yield


@contextmanager
def in_postprocessing() -> Iterator[None]:
    """Make what the loop does with a frame slower, its model's part left out."""
    see = Loop._see

    def longer(self: Loop, frame: Any) -> None:
        begun = time.thread_time_ns() if PLANT.share else 0
        see(self, frame)
        latency = self._classified.latency if self._classified else None
        PLANT.work(begun, without=round((latency.preprocess + latency.infer) * 1e6) if latency else 0)

    with mock.patch.object(Loop, "_see", longer):
        yield


PLANTS: dict[str, tuple[str, Callable[[], Any]]] = {
    NOTHING: ("frame to decision", nothing),
    "preprocessing": ("preprocess", in_preprocessing),
    "inference": ("graph", in_inference),
    "post-processing": ("decide", in_postprocessing),
}
"""What is planted, to the step that shows it and what plants it."""


def time_planted(planted: str, share: float, core: int, asked: Asked, progress: Progress) -> Opened:
    """Do what a process of the gate does, with the plant in it."""
    os.sched_setaffinity(0, {core})
    PLANT.share = share
    _, plant = PLANTS[planted]
    with plant():
        return opening.time_steps(asked, progress)
