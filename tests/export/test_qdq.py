from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from export.calibration import Method, find_range, observe
from export.int8 import answer, divergence
from export.layers import find_layers
from export.qdq import Plan, Scheme, quantize, round_weights, scale_of, tensors_of
from tests.export.nets import classifier, graph, photos, targets

NETS = ("mobilenet_v2", "resnet18")


def _plan(scheme: Scheme, name: str = "mobilenet_v2", *, corrected: bool = True, **more: frozenset[str]) -> Plan:
    observed = observe(graph(name), tensors_of(graph(name)), photos(40))
    ranges = {
        tensor: find_range(one, Method.MIN_MAX, symmetric=scheme.symmetric) for tensor, one in observed.items()
    }
    return Plan(scheme, ranges, observed=observed if corrected else None, **more)


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("name", NETS)
def test_int8_answers_nearly_as_fp32_and_weighs_a_third(scheme: Scheme, name: str) -> None:
    quantized = quantize(graph(name), _plan(scheme, name))
    seen = photos(32, seed=5)
    expected, got = answer(graph(name), seen).probabilities, answer(quantized, seen).probabilities
    assert (expected.argmax(axis=1) == targets(32).numpy()).mean() > 0.7
    assert divergence(expected, got) < 0.01
    assert quantized.ByteSize() < 0.35 * graph(name).ByteSize()


def test_tensorrt_gets_symmetric_int8_in_front_of_layers_and_biases_in_float() -> None:
    quantized = quantize(graph(), _plan(Scheme.TENSORRT))
    constants = {one.name: one for one in quantized.graph.initializer}
    layers = {layer.node for layer in find_layers(graph())}
    for node in quantized.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            assert zero.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(zero).any()
            assert constants[node.input[1]].data_type == TensorProto.FLOAT
        if node.name in layers:
            assert node.input[0].endswith("_dq")
            assert constants[node.input[2]].data_type == TensorProto.FLOAT
    kinds = Counter(node.op_type for node in quantized.graph.node)
    assert (kinds["QuantizeLinear"], kinds["DequantizeLinear"]) == (52, 104)


def test_cpus_get_uint8_tensors_on_both_sides_and_integer_biases() -> None:
    quantized = quantize(graph(), _plan(Scheme.CPU))
    constants = {one.name: one.data_type for one in quantized.graph.initializer}
    made = {output: node for node in quantized.graph.node for output in node.output}
    rounded = {node.input[0] for node in quantized.graph.node if node.op_type == "QuantizeLinear"}
    nodes = {node.name: node for node in quantized.graph.node}
    for layer in find_layers(graph()):
        node = nodes[layer.node]
        assert layer.output in rounded
        assert constants[made[node.input[0]].input[2]] == TensorProto.UINT8
        assert constants[made[node.input[1]].input[0]] == TensorProto.INT8
        assert constants[made[node.input[2]].input[0]] == TensorProto.INT32


def test_int8_weights_are_within_half_a_step_of_the_floats() -> None:
    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    weights[5] = 0
    levels, scales = round_weights(weights, 0)
    assert levels.dtype == np.int8
    off = np.abs(levels * scales.reshape(-1, 1, 1, 1) - weights)
    assert (off <= scales.reshape(-1, 1, 1, 1) * 0.5001).all()
    assert (np.abs(levels).reshape(8, -1).max(axis=1) == [127] * 5 + [0] + [127] * 2).all()


def test_zero_is_a_level_of_every_range() -> None:
    for ends in ((0.0, 6.0), (-3.1, 4.7), (-2.0, 0.0), (0.0, 0.0)):
        scale, zero = scale_of(ends, Scheme.CPU)
        assert scale > 0
        assert 0 <= zero <= 255
        assert (0 - zero) * scale == pytest.approx(ends[0], abs=scale)


@pytest.mark.parametrize("scheme", Scheme)
def test_a_layer_that_stays_in_float_really_does(scheme: Scheme) -> None:
    """ONNX Runtime rounds float weights between int8 tensors by itself, all outputs of a layer by one scale."""
    layers = find_layers(graph())
    kept = [layer for layer in layers if "conv.1.0" in layer.weight][3]  # depthwise, amid others
    model = _uneven(graph(), kept.weight, kept.bias)
    observed = observe(model, tensors_of(model), photos(40))
    ranges = {name: find_range(one, Method.MIN_MAX, symmetric=scheme.symmetric) for name, one in observed.items()}
    quantized = quantize(model, Plan(scheme, ranges, frozenset([kept.node]), observed))
    nodes = {node.name: node for node in quantized.graph.node}
    assert list(nodes[kept.node].input) == [kept.input, kept.weight, kept.bias]
    seen = photos(32, seed=5)
    assert divergence(answer(model, seen).probabilities, answer(quantized, seen).probabilities) < 0.01


def _uneven(model: onnx.ModelProto, weight: str, bias: str) -> onnx.ModelProto:
    """Make one output of a layer a thousand times as large as the others', and never positive: it is cut off."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in (weight, bias):
            values = numpy_helper.to_array(tensor).copy()
            values[0] = -1000 * np.abs(values).max()
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return changed


@pytest.mark.parametrize("scheme", Scheme)
def test_corrected_biases_keep_the_means_that_rounding_moved(scheme: Scheme) -> None:
    model = _lopsided(graph())
    observed = observe(model, tensors_of(model), photos(40))
    ranges = {name: find_range(one, Method.MIN_MAX, symmetric=scheme.symmetric) for name, one in observed.items()}
    seen = photos(48, seed=7)
    expected = answer(model, seen).probabilities
    plain, corrected = (
        divergence(expected, answer(quantize(model, Plan(scheme, ranges, observed=one)), seen).probabilities)
        for one in (None, observed)
    )
    assert corrected < 0.5 * plain


def _lopsided(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every depthwise layer weights that int8 rounds down, all of them by nearly half a step."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    depthwise = {layer.weight for layer in find_layers(model)}
    for tensor in changed.graph.initializer:
        if tensor.name in depthwise and tensor.dims[1] == 1:
            values = numpy_helper.to_array(tensor).copy()
            step = np.abs(values).reshape(len(values), -1).max(axis=1).reshape(-1, 1, 1, 1) / 127
            values = np.where(np.abs(values) < 126 * step, (np.floor(values / step) + 0.45) * step, values)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return changed


def test_a_bias_that_is_too_large_for_its_unit_is_kept() -> None:
    """An output that hardly hears its input: weights of 1e-9 and a bias of 3."""
    layer = find_layers(graph())[0]
    model = onnx.ModelProto()
    model.CopyFrom(graph())
    for tensor in model.graph.initializer:
        if tensor.name in (layer.weight, layer.bias):
            values = numpy_helper.to_array(tensor).copy()
            values[0] = 1e-9 if tensor.name == layer.weight else 3.0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    observed = observe(model, tensors_of(model), photos(20))
    ranges = {name: find_range(one, Method.MIN_MAX, symmetric=False) for name, one in observed.items()}
    quantized = quantize(model, Plan(Scheme.CPU, ranges))
    seen = photos(32, seed=5)
    assert divergence(answer(model, seen).probabilities, answer(quantized, seen).probabilities) < 0.02


def test_batches_of_any_size_are_taken() -> None:
    quantized = quantize(graph(), _plan(Scheme.CPU))
    seen = photos(19, seed=3)
    alone = np.concatenate([answer(quantized, seen[at : at + 1]).probabilities for at in range(len(seen))])
    np.testing.assert_allclose(alone, answer(quantized, seen).probabilities, atol=1e-5)
    assert classifier().head.out_features == alone.shape[1]
