"""The graphs of a bundle, from trained weights: one for each precision, and int8 twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from edge.backends import Graph, open_graph
from edge.backends.base import join
from edge.bundle import ONNX_RUNTIME, OPENVINO, TENSORRT
from edge.errors import ExportError
from edge.images import Role
from edge.manifest import Precision, Remedy
from edge.parity import TOLERANCE
from edge.preprocess import Pixels, preprocess
from edge.progress import Phase, silent
from export.calibration import LEAST_PHOTOS, PHOTOS
from export.fp16 import to_fp16
from export.graph import to_onnx
from export.int8 import Quantizer, Validation
from export.photos import Photos, spread_out
from export.qdq import Scheme
from train.checkpoint import Loaded


@dataclass(frozen=True)
class Made:
    """A graph, and for whom."""

    graph: Graph
    runtimes: tuple[str, ...]
    remedies: tuple[Remedy, ...] = ()
    """As in the manifest."""


@dataclass(frozen=True)
class Roles:
    """The photos that have a part in making graphs; those that judge have none."""

    train: Photos
    """Of which some calibrate."""
    val: Photos
    """By which remedies are chosen."""


def make_graphs(
    loaded: Loaded,
    precisions: tuple[Precision, ...],
    photos: Callable[[Role], Photos],
    tolerance: float | None = None,
    phase: Phase = silent,
) -> list[Made]:
    """Make the fp32 graph, and those of `precisions` beside it.

    `photos` opens those of a role, which int8 alone needs; `tolerance` is the share of photos by which int8 may
    be less often right, 0 to 1, None: as in edge.parity. Raises ExportError, DataError: too few photos to
    calibrate, or photos that are gone.
    """
    about = loaded.about
    with phase("making the graphs"):
        fp32 = to_onnx(loaded.classifier, about.temperature, about.input, loaded.strangers)
        models = {Precision.FP32: fp32}
        if Precision.FP16 in precisions:
            models[Precision.FP16] = to_fp16(fp32)
    shape = about.input.shape
    made = [
        Made(_graph(f"model.{precision.value}.onnx", precision, model, shape), (ONNX_RUNTIME, TENSORRT, OPENVINO))
        for precision, model in models.items()
    ]
    if Precision.INT8 in precisions:
        roles = Roles(photos(Role.TRAIN), photos(Role.VAL))
        made += _make_int8(fp32, made[0].graph, roles, loaded, tolerance or TOLERANCE[Precision.INT8], phase)
    return made


def _make_int8(
    fp32: onnx.ModelProto, graph: Graph, roles: Roles, loaded: Loaded, tolerance: float, phase: Phase
) -> list[Made]:
    if len(roles.train) < LEAST_PHOTOS or not len(roles.val):
        raise ExportError(
            f"{len(roles.train)} training photos and {len(roles.val)} validation photos can't calibrate int8; "
            f"expected at least {LEAST_PHOTOS} and 1: leave --int8 out, or train on more photos"
        )
    with phase("calibrating int8"):
        val = _tensors(roles.val, len(roles.val), loaded)
        with open_graph(graph, ONNX_RUNTIME) as backend:
            reference = join([backend.infer(tensor[None]) for tensor in val])
        truth = np.array([photo.target for photo in roles.val], dtype=np.int64)
        validation = Validation(val, truth, loaded.about.labels, reference)
        quantizer = Quantizer(fp32, _tensors(roles.train, PHOTOS, loaded), validation, tolerance)
    made = []
    for scheme, file, runtimes in (
        (Scheme.CPU, "model.int8.onnx", (ONNX_RUNTIME, OPENVINO)),
        (Scheme.TENSORRT, "model.int8.trt.onnx", (TENSORRT,)),
    ):
        with phase(f"quantizing for {runtimes[0]}"):
            quantized = quantizer.quantize(scheme)
        its = _graph(file, Precision.INT8, quantized.model, graph.shape)
        made.append(Made(its, runtimes, quantized.remedies))
    return made


def _graph(file: str, precision: Precision, model: onnx.ModelProto, shape: tuple[int, int, int]) -> Graph:
    return Graph(file, precision, model.SerializeToString(), shape)


def _tensors(photos: Photos, most: int, loaded: Loaded) -> Pixels:
    """Return up to `most` of the photos as the graph takes them, uint8 [n, height, width, 3], spread evenly."""
    chosen = spread_out(min(most, len(photos)), len(photos))
    return np.stack([preprocess(photos[index].data, loaded.about.input) for index in chosen])
