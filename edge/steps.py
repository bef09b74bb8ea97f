"""The steps from a frame to a decision, each ready to be timed by itself, and the pinned work beside them."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.backends import Backend, Graph, Options, open_graph
from edge.backends.base import INPUT
from edge.backends.onnxruntime import OnnxRuntime
from edge.bundle import Bundle
from edge.episodes import Seen
from edge.errors import BackendError
from edge.event import Event, Reporter
from edge.loop import Loop
from edge.manifest import Precision
from edge.model import Answered, Model
from edge.preprocess import InputSpec, Pixels, fit
from edge.sources import Clock, Counts, Frame

GAUGE = Path(__file__).with_name("gauge.onnx")
"""A small network at 128 x 128 in fp32, with convolutions of all kinds that MobileNetV2 has."""
GAUGE_DIGEST = "37d9aea9e4599820391417a7b1322319d1c1fb71bb389dedd47993c93f85c002"
"""Its SHA-256: another graph would make every baseline worthless."""
GAUGE_SHAPE = (128, 128, 3)

PINNED_GRAPH, PINNED_RESIZE, PINNED_UPKEEP = "pinned graph", "pinned resize", "pinned upkeep"
"""Work that never changes and is of one kind with what is measured against it: what a busy machine takes from the
one (arithmetic, memory, caches) it takes from the other. A neighbour on the same core makes Python slower by more
than a resize: the one over the other says how busy the neighbour is."""
LONG, SHORT, SHORTEST = 2, 12, 25
"""Turns in each round: of what takes some milliseconds, of what takes about one, and of what takes some tenths."""
PINNED_VERSION = "2"
"""Another one with every change to pinned work: ratios to the work of before can't be compared."""
PINNED_CALLS = 3
"""Of the pinned graph in each turn: one is over too soon to stand beside the graph."""
FRAME = (1920, 1080)
"""Width and height of the frame, in pixels."""


@dataclass(frozen=True, eq=False)
class Step:
    """One piece of work that is timed."""

    name: str
    over: str
    """Name of the step that it is measured against; empty for pinned work."""
    work: Callable[[], object]
    calls: int = 1
    """Times that it is done, one after the other, for one timing; what is told is the time of one."""

    def work_all(self) -> None:
        """Do it so often."""
        for _ in range(self.calls):
            self.work()


@dataclass(frozen=True, eq=False)
class Group:
    """Steps that are timed right beside each other."""

    steps: tuple[Step, ...]
    turns: int
    """In each round, one after the other."""


@contextmanager
def steps_of(bundle: Bundle, backend: Backend, options: Options) -> Iterator[Sequence[Group]]:
    """Give the steps of `bundle` on `backend`: the bare graph, what is done around it, pinned work beside each.

    Where the engine is ONNX Runtime the bare graph is `session.run` itself; elsewhere it is the engine's own
    inference. OpenCV has one thread meanwhile, as in the daemon. Raises BackendError.
    """
    threads = cv2.getNumThreads()
    with open_gauge(backend.info.name, options) as gauge:
        cv2.setNumThreads(1)
        try:
            yield _groups(bundle, backend, gauge)
        finally:
            cv2.setNumThreads(threads)


def open_gauge(name: str, options: Options) -> Backend:
    """Open the pinned graph on the engine `name`. Raises BackendError, also where it is not the pinned one."""
    model = GAUGE.read_bytes()
    if hashlib.sha256(model).hexdigest() != GAUGE_DIGEST:
        raise BackendError(f"{GAUGE} is not the pinned graph: install binsight again")
    return open_graph(Graph(GAUGE.name, Precision.FP32, model, GAUGE_SHAPE), name, options)


def _groups(bundle: Bundle, backend: Backend, gauge: Backend) -> Sequence[Group]:
    spec, picture = bundle.manifest.input, camera_frame(*FRAME)
    batch, pinned = np.zeros((1, *spec.shape), np.uint8), np.zeros((1, *GAUGE_SHAPE), np.uint8)
    batch[0], pinned[0] = fit(picture, spec), fit(picture, InputSpec(*GAUGE_SHAPE[:2]))
    model = Model(bundle, backend)
    whole, after = _loop(model, picture), _loop(_Answered(model, picture), picture)
    bare = _bare(backend, batch)
    graph = [
        Step(PINNED_GRAPH, "", lambda: gauge.infer(pinned), PINNED_CALLS),
        Step("graph", PINNED_GRAPH, bare or (lambda: backend.infer(batch))),
        *([Step("infer", "graph", lambda: backend.infer(batch))] if bare else []),
        Step("frame to decision", "graph", whole.run_once),
    ]
    preprocess = (
        Step(PINNED_RESIZE, "", lambda: _resize(picture)),
        Step("preprocess", PINNED_RESIZE, lambda: fit(picture, spec)),
    )
    decide = (
        Step(PINNED_UPKEEP, "", lambda: _upkeep(picture)),
        Step("decide", PINNED_UPKEEP, after.run_once),
    )
    return Group(tuple(graph), LONG), Group(preprocess, SHORT), Group(decide, SHORTEST)


def _resize(picture: Pixels) -> None:
    """What preprocessing is, without anything of ours: half of the middle, and a last step from there."""
    width, height = FRAME
    side = (width - height) // 2
    half = cv2.resize(picture[:, side : side + height], (height // 2, height // 2), interpolation=cv2.INTER_AREA)
    cv2.resize(half, (224, 224), interpolation=cv2.INTER_LINEAR)


def _upkeep(picture: Pixels) -> None:
    """What a deposit takes beside the model, without anything of ours: a small picture, small arrays, text."""
    sparse = cv2.resize(picture, (384, 216), interpolation=cv2.INTER_NEAREST)
    cv2.resize(sparse, (192, 108), interpolation=cv2.INTER_AREA)
    row = np.full(6, 1 / 6, dtype=np.float32)
    for number in range(8):
        told = {str(key): round(float(value), 6) for key, value in enumerate(row)}
        found = bool(np.isfinite(row).all()) and int(row.argmax())
        json.dumps({"number": number, "found": found, "told": told})


def _bare(backend: Backend, batch: Pixels) -> Callable[[], object] | None:
    """Return the runtime's own call, without what is ours; None where there is none to be had."""
    if not isinstance(backend, OnnxRuntime):
        return None
    session = backend.session
    return lambda: session.run(None, {INPUT: batch})


def camera_frame(width: int, height: int) -> Pixels:
    """Return a picture with structure at all scales: uint8 [height, width, 3] BGR."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 40 + 1, width // 40 + 1, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noisy = picture + rng.integers(-12, 13, picture.shape, dtype=np.int16)
    result: Pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    return result


def _loop(model: Model, picture: Pixels) -> Loop:
    return Loop(_Deposits(picture), model, Reporter("bench"), [_Nowhere()], threading.Event())


class _Answered(Model):
    """A model that has answered already: what is left is what is done with an answer."""

    def __init__(self, model: Model, picture: Pixels) -> None:
        super().__init__(model.bundle, model.backend)
        self._seen: Seen = model.answer(picture, time.monotonic).seen

    def answer(self, image: Pixels, clock: Clock) -> Answered:  # noqa: ARG002  Model's
        return Answered(self._seen, 0.0, 0.0)


class _Deposits:
    """A source that hands out one picture again and again, each time a deposit of its own."""

    single, live, broken, counts = True, False, 0, Counts()

    def __init__(self, picture: Pixels) -> None:
        self._picture = picture

    def read(self) -> Frame:
        return Frame(self._picture, time.monotonic(), 0.0, "frame")

    def close(self) -> None:
        return

    def __enter__(self) -> _Deposits:
        return self

    def __exit__(self, *_: object) -> None:
        return


class _Nowhere:
    """A sink that forgets, so that the disk is not what is measured."""

    def write(self, event: Event[Any]) -> None:  # noqa: ARG002  a Sink's
        return

    def close(self) -> None:
        return

    def __enter__(self) -> _Nowhere:
        return self

    def __exit__(self, *_: object) -> None:
        return
