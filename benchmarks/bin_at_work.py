"""A daemon at work on the camera of benchmarks.bin_camera, alone in its process, and what it measures.

`python -m benchmarks.bin_at_work BUNDLE busy|idle SECONDS [SLOW_MS]` prints one JSON object.
"""

from __future__ import annotations

import functools
import json
import resource
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.bin_camera import COMMAND, address_of
from edge import sources
from edge.backends import Answers, Backend
from edge.daemon import RunSettings, started
from edge.event import Event
from edge.intake import IntakeSettings
from edge.outbox import OutboxSettings
from edge.outlets import OutletSettings
from edge.preprocess import Pixels
from edge.sources import Frame, Source
from edge.sources.capture import open_captured
from edge.sources.wrapper import Wrapper

WARM_S = 12.0
"""At the start, not counted: the scene is learned, caches are filled."""


@dataclass
class Work:
    """What was measured."""

    bare_ms: float = 0.0
    """Median of the bare graph, after all else, with the camera still at work beside it."""
    ages_ms: list[float] = field(default_factory=list)
    """Of each decision: from the capture of the newest classified frame to it."""
    infer_ms: list[float] = field(default_factory=list)
    """Of that frame."""
    disk_ms: list[float] = field(default_factory=list)
    """From the capture of the frame that the decision fell on to its event on the disk."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of this process, its camera's aside, in those seconds."""
    frames: int = 0


class Witness(Wrapper):
    """Stands between camera and loop, and beside the other sinks: both in the loop's thread."""

    def __init__(self, within: Source, work: Work) -> None:
        super().__init__(within)
        self._work = work
        self._captured = 0.0
        self._opened = time.monotonic()
        self._begun: tuple[float, float] | None = None

    def _take(self, frame: Frame) -> Frame:
        self._captured = frame.captured
        if self._is_warm():
            if self._begun is None:
                self._begun = time.monotonic(), cpu_seconds()
            self._work.frames += 1
            self._work.seconds = time.monotonic() - self._begun[0]
            self._work.cpu_s = cpu_seconds() - self._begun[1]
        return frame

    def write(self, event: Event[Any]) -> None:
        """Called when the event is on the disk."""
        now = time.monotonic()
        if self._is_warm() and event.type == "binsight.deposit":
            self._work.ages_ms.append(event.data.frame_age_ms)
            self._work.infer_ms.append(event.data.latency_ms.infer)
            self._work.disk_ms.append((now - self._captured) * 1e3)

    def _is_warm(self) -> bool:
        return time.monotonic() - self._opened > WARM_S

    def __enter__(self) -> Witness:
        return self


class Slowed:
    """A backend that takes longer: it answers again as long as there is time, and waits for the rest."""

    def __init__(self, within: Backend, seconds: float) -> None:
        self._within, self._seconds = within, seconds

    def infer(self, batch: Pixels) -> Answers:
        begun = last = time.monotonic()
        while True:
            answers = self._within.infer(batch)
            now = time.monotonic()
            rest, taken, last = begun + self._seconds - now, now - last, now
            if rest < taken:
                time.sleep(max(0.0, rest))
                return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._within, name)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def work(bundle: Path, scene: str, seconds: float, slow_ms: float = 0.0) -> Work:
    """Run the daemon as it is wired, with an outbox on a disk, for so long after it has warmed up."""
    sources.CAMERAS["bin://"] = ("bin", address_of)
    sources.open_captured = functools.partial(open_captured, command=COMMAND)  # type: ignore[attr-defined]
    stop = threading.Event()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        outlets = OutletSettings(outbox=OutboxSettings(Path(name) / "outbox.db"))
        intake = IntakeSettings(f"bin://{scene}")
        with started(RunSettings(bundle, intake, backend="onnxruntime", outlets=outlets), stop) as loop:
            backend = loop.model.backend
            found = Work()
            if slow_ms:
                loop.model.backend = Slowed(backend, slow_ms / 1e3)
            loop.source = witness = Witness(loop.source, found)
            loop.sinks = [*loop.sinks, witness]
            timer = threading.Timer(WARM_S + seconds, stop.set)
            timer.start()
            loop.run()
            timer.cancel()
            found.bare_ms = bare_ms(backend)
    return found


def bare_ms(backend: Backend, count: int = 50) -> float:
    batch, taken = backend.allocate(1), []
    batch[:] = np.random.default_rng(0).integers(0, 256, batch.shape, dtype=np.uint8)
    for _ in range(count):
        begun = time.perf_counter()
        backend.infer(batch)
        taken.append((time.perf_counter() - begun) * 1e3)
    return median(taken)


if __name__ == "__main__":
    bundle, scene, *numbers = sys.argv[1:]
    print(json.dumps(asdict(work(Path(bundle), scene, *map(float, numbers)))))
