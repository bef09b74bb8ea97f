"""What a decision costs by the size of the picture, the number of classes and the batch: no more than the work."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.made import SPEC
from benchmarks.prove_latency import in_turns
from benchmarks.quiet import one_core
from benchmarks.record import Row, keep
from benchmarks.sized import bundle_of, graph_bytes, loop_of, opened
from edge.preprocess import fit
from edge.steps import camera_frame

PICTURES = {"224 x 224": (224, 224), "640 x 480": (640, 480), "1280 x 720": (1280, 720),
            "1920 x 1080": (1920, 1080), "3840 x 2160": (3840, 2160)}  # fmt: skip
CLASSES = (2, 10, 100, 1000, 10_000)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
ROUNDS = 60
SLACK = 1.25
"""By how much more than the work a cost may grow: caches end somewhere, and that is no mistake of ours."""


def prove_sizes() -> bool:
    """Time each series in turns, one thread."""
    rows: list[Row] = []
    passed = True
    with one_core() as where:
        for its, good in (_pictures(), _classes(), _batches()):
            rows += its
            passed &= good
    what = f"MobileNetV2 at 224, fp32, ONNX Runtime with one thread, medians of {ROUNDS} rounds in turns, {where}"
    keep("sizes", f"{what}. A cost may grow by {SLACK} times what the work does", rows)
    return passed


def _medians(steps: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in in_turns(steps, ROUNDS).items()}


def _pictures() -> tuple[list[Row], bool]:
    """The work is the pixels within the crop; below some of them it is that of filling the graph's input."""
    pictures = {name: camera_frame(*size) for name, size in PICTURES.items()}
    with opened(graph_bytes(), 1) as backend:
        loops = {name: loop_of(bundle_of(), backend, picture) for name, picture in pictures.items()}
        steps: dict[str, Callable[[], Any]] = {}
        for name, picture in pictures.items():
            steps[f"fit {name}"] = lambda picture=picture: fit(picture, SPEC)  # type: ignore[misc]
            steps[f"decide {name}"] = loops[name].run_once
        took = _medians(steps)
    rows = [
        (f"frame of {name}: fitting, then frame to decision, ms", f"{took[f'fit {name}']:.2f}, {decided:.2f}", "")
        for name, decided in ((name, took[f"decide {name}"]) for name in pictures)
    ]
    grows = took["fit 3840 x 2160"] / took["fit 1920 x 1080"]
    rows.append(("fitting 4K over 1080p, a quarter of its pixels", f"{grows:.2f}", f"at most {4 * SLACK}"))
    return rows, grows <= 4 * SLACK


def _classes() -> tuple[list[Row], bool]:
    rows: list[Row] = []
    picture, beside = camera_frame(640, 480), {}
    for classes in CLASSES:
        with opened(graph_bytes(classes=classes), 1) as backend:
            batch = fit(picture, SPEC)[None]
            bundle = bundle_of(classes)
            loop = loop_of(bundle, backend, picture)
            took = _medians({"graph": lambda: backend.infer(batch), "decision": loop.run_once})  # noqa: B023
        beside[classes] = took["decision"] - took["graph"]
        figures = f"{took['graph']:.2f}, {took['decision']:.2f}"
        rows.append((f"{classes} classes: graph, frame to decision, ms", figures, ""))
    grows = (beside[10_000] - beside[2]) / max(beside[1000] - beside[2], 0.05)
    rows.append(("what 10,000 classes add over what 1,000 add", f"{grows:.1f}", f"at most {10 * SLACK}"))
    return rows, grows <= 10 * SLACK


def _batches() -> tuple[list[Row], bool]:
    batches = {count: np.stack([fit(camera_frame(640, 480), SPEC)] * count) for count in BATCHES}
    each: dict[int, float] = {}
    with opened(graph_bytes(), 1) as backend:
        steps = {str(count): lambda batch=batch: backend.infer(batch) for count, batch in batches.items()}  # type: ignore[misc]
        each = {int(name): value / int(name) for name, value in _medians(steps).items()}
    rows = [(f"batch of {count}: ms an image", f"{value:.2f}", "") for count, value in each.items()]
    grows = each[BATCHES[-1]] / each[1]
    rows.append(("an image in a batch of 64 over one alone", f"{grows:.2f}", f"at most {SLACK}"))
    return rows, grows <= SLACK
