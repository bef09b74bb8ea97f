"""NVIDIA's own builder takes the graphs that we make for it. TensorRT-RTX builds without a GPU."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from export.calibration import Method, find_range, observe
from export.fp16 import to_fp16
from export.layers import find_layers
from export.qdq import Plan, Scheme, quantize, tensors_of
from tests.export.nets import graph, photos

trt = pytest.importorskip("tensorrt_rtx", reason="needs the package tensorrt-rtx", exc_type=ImportError)
MOST = 8


@pytest.fixture(scope="module")
def logger() -> Any:
    """The first one of a process is the one that counts."""
    return trt.Logger(trt.Logger.ERROR)


def _int8(scheme: Scheme, name: str) -> onnx.ModelProto:
    observed = observe(graph(name), tensors_of(graph(name)), photos(20))
    ranges = {one: find_range(its, Method.MSE, symmetric=scheme.symmetric) for one, its in observed.items()}
    return quantize(graph(name), Plan(scheme, ranges, observed=observed))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_builder_takes_the_graph_with_any_batch(logger: Any, name: str, precision: str) -> None:
    make = {
        "fp32": graph,
        "fp16": lambda one: to_fp16(graph(one)),
        "int8": lambda one: _int8(Scheme.TENSORRT, one),
    }
    network, plan = _build(logger, make[precision](name))
    assert plan is not None
    kinds = [str(network.get_layer(index).type) for index in range(network.num_layers)]
    assert sum(kind.endswith(".QUANTIZE") for kind in kinds) == (0 if precision != "int8" else _inputs(name))
    types = {
        str(network.get_layer(index).get_output(0).dtype)
        for index, kind in enumerate(kinds)
        if kind.endswith(".CONVOLUTION")
    }
    assert types == {"DataType.HALF" if precision == "fp16" else "DataType.FLOAT"}


def test_the_builder_refuses_the_graph_for_cpus(logger: Any) -> None:
    """Which is why there are two of them."""
    with pytest.raises(AssertionError, match="bias_dq"):
        _build(logger, _int8(Scheme.CPU, "resnet18"))


def _graph(name: str, precision: str) -> onnx.ModelProto:
    if precision == "int8":
        return _int8(Scheme.TENSORRT, name)
    return to_fp16(graph(name)) if precision == "fp16" else graph(name)


def _inputs(name: str) -> int:
    """Tensors that layers read; two of them may read the same one."""
    return len({layer.input for layer in find_layers(graph(name))})


def _build(logger: Any, model: onnx.ModelProto) -> tuple[Any, Any]:
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(model.SerializeToString())
    assert parsed, [parser.get_error(index).desc() for index in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.clear_flag(trt.BuilderFlag.TF32)
    shape = tuple(network.get_input(0).shape)[1:]
    profile.set_shape("image", (1, *shape), (1, *shape), (MOST, *shape))
    config.add_optimization_profile(profile)
    return network, builder.build_serialized_network(network, config)
