"""What a frame costs beside its graph: from its arrival to the decision on it, one thread, fp32 and int8."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.made import SPEC
from benchmarks.quiet import REST, one_core
from benchmarks.record import Row, keep
from benchmarks.sized import bundle_of, graph_bytes, loop_of, opened
from edge.backends.base import INPUT
from edge.backends.onnxruntime import session_options
from edge.manifest import Precision
from edge.motion import SceneWatch, thumbnail
from edge.preprocess import fit
from edge.steps import camera_frame

MOST = {Precision.FP32: 1.15, Precision.INT8: 1.3}
"""Frame to decision over the bare session.run of the same graph, medians."""
MOST_P99 = 1.5
"""Times the median."""
MOST_PREPROCESSING_MS = 0.7
"""Of a 1080p frame with the crop of training."""
ROUNDS, WARM_UP = 600, 30

Times = dict[str, list[float]]
"""What was timed, to milliseconds of each round."""


def prove_latency() -> bool:
    """Time all in turns, so that what the machine does meanwhile hits all alike."""
    rows: list[Row] = []
    passed = True
    with one_core() as where:
        for precision, most in MOST.items():
            its, good = judge(precision.value, measure(precision, ROUNDS), most)
            rows += its
            passed &= good
    keep("latency", f"MobileNetV2 at 224, 1080p frames, ONNX Runtime with one thread, {where}", rows)
    return passed


def measure(precision: Precision, rounds: int) -> Times:
    """Time the bare graph, the whole step and its parts in turns."""
    import onnxruntime  # noqa: PLC0415

    graph, picture = graph_bytes(precision), camera_frame(1920, 1080)
    session = onnxruntime.InferenceSession(graph, session_options(1), providers=["CPUExecutionProvider"])
    batch, watch, seconds = fit(picture, SPEC)[None], SceneWatch(), itertools.count()
    with opened(graph, 1, precision) as backend:
        loop = loop_of(bundle_of(), backend, picture)
        steps: Mapping[str, Callable[[], Any]] = {
            "bare": lambda: session.run(None, {INPUT: batch}),
            "decision": loop.run_once,
            "watch": lambda: watch.look(thumbnail(picture), next(seconds) / 30),
            "fit": lambda: fit(picture, SPEC),
        }
        return in_turns(steps, rounds)


def in_turns(steps: Mapping[str, Callable[[], Any]], rounds: int) -> Times:
    """Do every step in each round, and rest for a while after it."""
    times: Times = {name: [] for name in steps}
    for number in range(WARM_UP + rounds):
        began = time.perf_counter()
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if number >= WARM_UP:
                times[name].append((time.perf_counter() - begun) * 1e3)
        time.sleep((time.perf_counter() - began) * REST)
    return times


def judge(name: str, times: Times, most: float) -> tuple[list[Row], bool]:
    """Lay the figures out."""
    medians = {step: statistics.median(values) for step, values in times.items()}
    ratio = medians["decision"] / medians["bare"]
    watched = statistics.median(map(sum, zip(times["decision"], times["watch"], strict=True))) / medians["bare"]
    p99 = {step: float(np.percentile(times[step], 99)) / medians[step] for step in ("bare", "decision")}
    rows = [
        (f"{name}: bare `session.run`, median ms", f"{medians['bare']:.2f}", ""),
        (f"{name}: preprocessing, median ms", f"{medians['fit']:.2f}", f"at most {MOST_PREPROCESSING_MS}"),
        (f"{name}: looking for motion, median ms", f"{medians['watch']:.2f}", ""),
        (f"{name}: frame to decision over bare", f"{ratio:.3f}", f"at most {most}"),
        (f"{name}: the same with the look for motion", f"{watched:.3f}", ""),
        (f"{name}: frame to decision, p99 over median", f"{p99['decision']:.2f}", f"at most {MOST_P99}"),
        (f"{name}: bare, p99 over median", f"{p99['bare']:.2f}", ""),
    ]
    good = ratio <= most and p99["decision"] <= MOST_P99 and medians["fit"] <= MOST_PREPROCESSING_MS
    return rows, good
