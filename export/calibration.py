"""What flows through a graph: the ranges that int8 has to hold, from photos of the training split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from edge.backends.base import INPUT
from edge.backends.onnxruntime import session_options
from edge.preprocess import Pixels

PHOTOS = 300
"""Of the training split, or all that there are."""
LEAST_PHOTOS = 16
"""Fewer say nothing of what a bin will see."""
AT_ONCE = 10
"""Photos in a batch: their activations stand in memory together."""
SAMPLES = 128
"""Values of a tensor that are kept of each photo."""
PERCENTILE = 99.99
CUTS = np.linspace(0.3, 1.0, 29)
"""Shares of the largest value at which a range may end."""

Values = npt.NDArray[np.float32]


class Method(str, Enum):
    """How the range of a tensor is found."""

    MIN_MAX = "min-max"
    PERCENTILE = "percentile"
    """All but one value in 10,000 on each side."""
    MSE = "mse"
    """Where the mean squared error of rounding and cutting off is least."""


@dataclass(frozen=True, eq=False)
class Observed:
    """What one tensor held."""

    low: float
    high: float
    sample: Values
    """float32 [values], some of them."""
    means: Values
    """float32 [channels], mean of each; channels are axis 1, or the last where there are fewer than four axes."""


Range = tuple[float, float]
"""Least and greatest value that can be told, with zero between them."""


def observe(model: onnx.ModelProto, tensors: Sequence[str], photos: Pixels) -> dict[str, Observed]:
    """Run uint8 [n, height, width, 3] through the graph and look at `tensors`, all float.

    ONNX Runtime's own histograms take 25 times as long, since they bring every value out of the graph: here the
    graph itself finds the extremes and the means, and hands out one value in many.
    """
    watched, names = _watched(model, tensors)
    options = session_options(0)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    parts = [session.run(names, {INPUT: photos[at : at + AT_ONCE]}) for at in range(0, len(photos), AT_ONCE)]
    sizes = np.array([len(photos[at : at + AT_ONCE]) for at in range(0, len(photos), AT_ONCE)])
    found = {}
    for number, tensor in enumerate(tensors):
        sample, low, high, means = ([part[4 * number + field] for part in parts] for field in range(4))
        mean = np.average(np.stack(means), axis=0, weights=sizes).astype(np.float32)
        found[tensor] = Observed(float(min(low)), float(max(high)), np.concatenate(sample), mean)
    return found


def find_range(observed: Observed, method: Method, *, symmetric: bool) -> Range:
    """Return the range of a tensor; `symmetric`: as far below zero as above."""
    low, high = min(observed.low, 0.0), max(observed.high, 0.0)
    if method is Method.PERCENTILE:
        cut = np.percentile(observed.sample, (100 - PERCENTILE, PERCENTILE))
        low, high = min(0.0, max(low, float(cut[0]))), max(0.0, min(high, float(cut[1])))
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    if method is Method.MSE and high > low:
        low, high = _least_error(observed.sample, low, high, symmetric)
    return low, high


def _least_error(sample: Values, low: float, high: float, symmetric: bool) -> Range:
    """Return the part of the range with the least error: first the upper end is moved, then the lower."""
    ranges = [(low * cut, high * cut) if symmetric else (low, high * cut) for cut in CUTS]
    best = min(ranges, key=lambda one: _error(sample, *one))
    if symmetric or low == 0.0:
        return best
    return min(((low * cut, best[1]) for cut in CUTS), key=lambda one: _error(sample, *one))


def _error(sample: Values, low: float, high: float) -> float:
    """Mean squared error of 256 levels from low to high, of which one is zero."""
    scale = (high - low) / 255
    if scale <= 0:
        return float("inf")
    least = round(low / scale)
    rounded = np.clip(np.round(sample / scale), least, least + 255) * scale
    return float(((rounded - sample) ** 2).mean())


def _watched(model: onnx.ModelProto, tensors: Sequence[str]) -> tuple[onnx.ModelProto, list[str]]:
    """Return a copy with four outputs more for each tensor, and their names."""
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    graph = watched.graph

    def constant(name: str, values: list[int]) -> str:
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    flat, zero, end = constant("w_flat", [-1]), constant("w_zero", [0]), constant("w_end", [2**62])
    names = []
    for number, tensor in enumerate(tensors):
        shape = shapes[tensor]
        step = constant(f"w_step{number}", [_odd(int(np.prod(shape[1:])) // SAMPLES)])
        rest = [axis for axis in range(len(shape)) if axis != (1 if len(shape) == 4 else len(shape) - 1)]
        axes = constant(f"w_axes{number}", rest)
        values, sample, low, high, means = (
            f"w_{what}{number}" for what in ("flat", "sample", "low", "high", "mean")
        )
        graph.node.extend(
            (
                helper.make_node("Reshape", [tensor, flat], [values]),
                helper.make_node("Slice", [values, zero, end, zero, step], [sample]),
                helper.make_node("ReduceMin", [values], [low], keepdims=0),
                helper.make_node("ReduceMax", [values], [high], keepdims=0),
                helper.make_node("ReduceMean", [tensor, axes], [means], keepdims=0),
            )
        )
        names += [sample, low, high, means]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return watched, names


def _odd(step: int) -> int:
    """An even step would meet the same columns of a picture again and again."""
    return max(1, step) | 1
