"""Nothing that grows with time: a hundred thousand frames, a decision on each."""

from __future__ import annotations

import gc
import itertools
import os
import tracemalloc
from pathlib import Path

import numpy as np

from benchmarks.record import Row, keep
from benchmarks.sized import bundle_of, graph_bytes, loop_of
from edge.backends import Answers, BackendInfo
from edge.backends.base import check_batch
from edge.loop import Loop
from edge.manifest import Precision
from edge.motion import SceneWatch, thumbnail
from edge.preprocess import Pixels
from edge.steps import camera_frame

FRAMES, TRACED = 100_000, 5_000
MOST_MIB, MOST_TRACED_KIB = 2.0, 64
PARTS = 10
"""In which resident memory is looked at: the first warms up all that keeps the newest so many."""
INFERENCES = 4_000
"""Of the real graph: as often as its memory takes to settle, many times over."""


class Answering:
    """An engine that computes next to nothing: its memory is judged apart, by the graph itself."""

    info = BackendInfo("onnxruntime", "model.onnx", Precision.FP32, "none", 1, ())

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        self._shape, self._rng, self._classes = shape, np.random.default_rng(0), classes

    def infer(self, batch: Pixels) -> Answers:
        check_batch(batch, self._shape)
        scores = self._rng.random((len(batch), self._classes), dtype=np.float32)
        return Answers(scores / scores.sum(axis=1, keepdims=True))

    def allocate(self, images: int) -> Pixels:
        return np.zeros((images, *self._shape), dtype=np.uint8)

    def close(self) -> None:
        return

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        return


def prove_memory() -> bool:
    """Look at resident memory after each tenth, and at Python's own pieces of memory."""
    sizes = resident(deciding(), FRAMES)
    traced = grown(deciding(), TRACED)
    graph = _graph_grows(INFERENCES)
    spread = max(sizes[1:]) - sizes[1]
    rows: list[Row] = [
        (
            f"resident memory after the first tenth of {FRAMES} frames, MiB more",
            f"{spread:.2f}",
            "at most 2",
        ),
        ("resident MiB after each tenth", ", ".join(f"{size:.1f}" for size in sizes), ""),
        (
            f"Python's own memory after {TRACED} frames, KiB more",
            f"{traced:.1f}",
            f"at most {MOST_TRACED_KIB}",
        ),
        (f"resident memory, {INFERENCES} inferences of MobileNetV2, MiB more", f"{graph:.2f}", "at most 2"),
    ]
    keep("memory", "Frames of 640 x 480, each looked at, fitted, decided and told to the page; no network", rows)
    return spread <= MOST_MIB and traced <= MOST_TRACED_KIB and graph <= MOST_MIB


class Frames:
    """All that is done on a frame, the look for motion with it."""

    def __init__(self, loop: Loop, picture: Pixels) -> None:
        self._loop, self._picture = loop, picture
        self._watch, self._count = SceneWatch(), itertools.count()

    def run(self, frames: int) -> None:
        """Take so many frames to their end."""
        for _ in range(frames):
            self._watch.look(thumbnail(self._picture), next(self._count) / 30)
            self._loop.run_once()


def deciding(classes: int = 6) -> Frames:
    """Return a loop that decides on each frame."""
    bundle, picture = bundle_of(classes), camera_frame(640, 480)
    return Frames(loop_of(bundle, Answering(bundle.manifest.input.shape, classes), picture), picture)


def resident(frames: Frames, count: int) -> list[float]:
    """Return the process's own MiB after each tenth of `count` frames."""
    sizes = []
    for _ in range(PARTS):
        frames.run(count // PARTS)
        sizes.append(mib())
    return sizes


def grown(frames: Frames, count: int) -> float:
    """Return by how many KiB what Python holds grew in so many frames, after as many that warmed up."""
    frames.run(1000)  # what keeps the newest is full by then, but for numbers, whose memory is taken at once
    tracemalloc.start()
    try:
        frames.run(2000)  # what was held before is not counted, what comes in its place is
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        frames.run(count)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / 1024
    finally:
        tracemalloc.stop()


def mib() -> float:
    """Return what is resident and this process's own."""
    fields = Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _graph_grows(inferences: int) -> float:
    from benchmarks.sized import opened  # noqa: PLC0415

    with opened(graph_bytes(), 1) as backend:
        batch = backend.allocate(1)
        for _ in range(200):
            backend.infer(batch)
        before = mib()
        for _ in range(inferences):
            backend.infer(batch)
        return mib() - before
