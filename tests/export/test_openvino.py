"""Real networks in OpenVINO, as export makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.backends import Graph
from edge.backends.openvino import OpenVino
from edge.manifest import Precision
from export.calibration import Method, find_range, observe
from export.int8 import MOST_DIVERGENCE, divergence
from export.qdq import Plan, Scheme, quantize, tensors_of
from tests.edge.test_openvino import compiled, graph, opened
from tests.export import nets
from tests.tiny import infer


def convolutions(backend: OpenVino) -> set[str]:
    """What the CPU really computes its convolutions in."""
    layers = [node.get_rt_info() for node in compiled(backend).get_runtime_model().get_ops()]
    return {one["runtimePrecision"].astype(str) for one in layers if one["layerType"].astype(str) == "Convolution"}


def real(model: Any, precision: Precision = Precision.FP32) -> Graph:
    return graph(model.SerializeToString(), precision, (nets.SIDE, nets.SIDE, 3))


def int8() -> Any:
    model = nets.graph()
    observed = observe(model, tensors_of(model), nets.photos(24))
    ranges = {name: find_range(one, Method.MIN_MAX, symmetric=False) for name, one in observed.items()}
    return quantize(model, Plan(Scheme.CPU, ranges))


def test_fp32_answers_as_onnx_runtime_and_computes_in_fp32() -> None:
    asked, seen = real(nets.graph()), nets.photos(8, seed=3)
    with opened(asked) as backend:
        assert convolutions(backend) == {"f32"}
        got = backend.infer(seen).probabilities
    assert np.abs(got - infer(asked.model, seen).probabilities).max() < 1e-4


def test_int8_answers_nearly_as_onnx_runtime_and_computes_in_int8() -> None:
    asked, seen = real(int8(), Precision.INT8), nets.photos(24, seed=3)
    with opened(asked) as backend:
        assert convolutions(backend) in ({"u8", "f32"}, {"u8"}, {"i8", "f32"}, {"i8"})
        got = backend.infer(seen).probabilities
    expected = infer(asked.model, seen).probabilities
    assert divergence(expected, got) < MOST_DIVERGENCE  # as two int8 graphs may differ
    assert (expected.argmax(axis=1) == got.argmax(axis=1)).mean() > 0.95
