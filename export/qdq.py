"""Int8 in the graph: Quantize and Dequantize nodes around its layers, in the two forms that engines take.

ONNX Runtime's CPU takes uint8 activations with a zero point, and is fast where outputs and biases are integers
too. TensorRT takes int8 without a zero point, in front of a layer only, and biases in float. ONNX Runtime's own
quantizer places nodes before an activation where a neighbour stays in float, and so rounds what is about to be cut
off.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from export.calibration import Observed, Range
from export.graph import check
from export.layers import Layer, Weights, find_layers, path_to_probabilities, weights_of

LEAST_SCALE = 1e-12
"""Of what is zero everywhere."""
MOST_BIAS = 2**30
"""In its own unit, which is that of input times weight: half of what int32 holds."""

Scales = npt.NDArray[np.float32]


class Scheme(str, Enum):
    """For whom."""

    CPU = "cpu"
    TENSORRT = "trt"

    @property
    def symmetric(self) -> bool:
        """Whether zero is in the middle of every range."""
        return self is Scheme.TENSORRT


@dataclass(frozen=True, eq=False)
class Plan:
    """What becomes int8, and how."""

    scheme: Scheme
    ranges: Mapping[str, Range]
    """Of the tensors that `tensors_of` names."""
    in_float: frozenset[str] = frozenset()
    """Names of the layers' nodes that stay as they are."""
    observed: Mapping[str, Observed] | None = None
    """Where biases make up for what rounding did to the weights; None: they don't."""


def tensors_of(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the names of all tensors that any plan can make int8, in the graph's order."""
    layers = find_layers(model)
    return tuple(dict.fromkeys(name for layer in layers for name in (layer.input, layer.output)))


def quantize(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Return a copy of a float graph that computes by `plan`. Raises ExportError where it is not valid ONNX."""
    layers = [layer for layer in find_layers(model) if layer.node not in plan.in_float]
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    writer = _Writer(quantized, plan)
    reading = {layer.node for layer in layers}
    rounded = {layer.input for layer in layers}
    if plan.scheme is Scheme.CPU:
        rounded |= {layer.output for layer in layers}
        # What reads int8 tensors can be int8 too, like sums. A layer that stays in float must not: between int8
        # tensors ONNX Runtime (from 1.21 on) rounds its weights by itself, all outputs by one scale.
        reading |= {node.name for node in path_to_probabilities(model)} - plan.in_float
    for layer in layers:
        writer.add_weights(layer, model)
    writer.add_activations([name for name in tensors_of(model) if name in rounded], reading)
    check(quantized)
    return quantized


def scale_of(bounds: Range, scheme: Scheme) -> tuple[float, int]:
    """Return scale and zero point of a range."""
    low, high = bounds
    if scheme.symmetric:
        return max(high / 127, LEAST_SCALE), 0
    scale = max((high - low) / 255, LEAST_SCALE)
    return scale, int(np.clip(round(-low / scale), 0, 255))


def round_weights(weights: Weights, axis: int) -> tuple[npt.NDArray[np.int8], Scales]:
    """Return weights as int8 and the scale of each output, float32 [outputs]; zero stays zero."""
    moved = np.moveaxis(weights, axis, 0)
    scales = np.maximum(np.abs(moved).reshape(len(moved), -1).max(axis=1) / 127, LEAST_SCALE).astype(np.float32)
    return _rounded(weights, scales, axis), scales


def _rounded(weights: Weights, scales: Scales, axis: int) -> npt.NDArray[np.int8]:
    shape = [-1 if one == axis else 1 for one in range(weights.ndim)]
    return np.clip(np.round(weights / scales.reshape(shape)), -127, 127).astype(np.int8)


class _Writer:
    """Adds nodes and initializers to a copy of the graph."""

    def __init__(self, model: onnx.ModelProto, plan: Plan) -> None:
        self._graph = model.graph
        self._plan = plan
        self._nodes = {node.name: node for node in model.graph.node}
        self._dropped: set[str] = set()

    def add_weights(self, layer: Layer, model: onnx.ModelProto) -> None:
        """Store a layer's weights as int8, and its bias as the scheme has it."""
        weights = weights_of(model, layer.weight)
        bias = weights_of(model, layer.bias) if layer.bias else None
        levels, scales = round_weights(weights, layer.axis)
        in_scale = scale_of(self._plan.ranges[layer.input], self._plan.scheme)[0]
        integer = self._plan.scheme is Scheme.CPU and layer.operator == "Conv"
        if integer and bias is not None:  # an output that hardly hears its input can't have its bias in that unit
            scales = np.maximum(scales, np.abs(bias) / (in_scale * MOST_BIAS)).astype(np.float32)
            levels = _rounded(weights, scales, layer.axis)
        shape = [-1 if one == layer.axis else 1 for one in range(weights.ndim)]
        off = levels * scales.reshape(shape) - weights
        node = self._nodes[layer.node]
        if self._plan.observed is not None and layer.bias:
            assert bias is not None  # noqa: S101  for the type checker
            bias = bias - _shift(off, self._plan.observed[layer.input].means, layer)
        node.input[1] = self._dequantized(f"{layer.node}_weight", levels, scales, layer.axis)
        self._dropped.add(layer.weight)
        if bias is None:
            return
        self._dropped.add(layer.bias)
        if integer:
            unit = (in_scale * scales).astype(np.float32)
            node.input[2] = self._dequantized(
                f"{layer.node}_bias", np.round(bias / unit).astype(np.int32), unit, 0
            )
        else:
            node.input[2] = self._constant(f"{layer.node}_bias", bias.astype(np.float32))

    def add_activations(self, names: Iterable[str], reading: Collection[str]) -> None:
        """Round `names` in front of the nodes `reading`, and put everything into order."""
        kind = np.int8 if self._plan.scheme.symmetric else np.uint8
        added: dict[str, list[onnx.NodeProto]] = {}
        read = {one for node in self._graph.node if node.name in reading for one in node.input}
        for name in (one for one in names if one in read):
            scale, zero = scale_of(self._plan.ranges[name], self._plan.scheme)
            ends = [
                self._constant(f"{name}_scale", np.float32(scale)),
                self._constant(f"{name}_zero", np.array(zero, dtype=kind)),
            ]
            added[name] = [
                helper.make_node("QuantizeLinear", [name, *ends], [f"{name}_q"], name=f"{name}_q"),
                helper.make_node("DequantizeLinear", [f"{name}_q", *ends], [f"{name}_dq"], name=f"{name}_dq"),
            ]
        for node in self._graph.node:
            if node.name in reading:
                node.input[:] = [f"{one}_dq" if one in added else one for one in node.input]
        self._reorder(added)

    def _reorder(self, added: Mapping[str, list[onnx.NodeProto]]) -> None:
        """Put each new node just behind what it reads."""
        dequantizers = [node for node in self._graph.node if node.op_type == "DequantizeLinear"]
        others = [node for node in self._graph.node if node.op_type != "DequantizeLinear"]
        ordered = list(dequantizers)  # of weights: they read constants
        for node in others:
            ordered.append(node)
            for output in node.output:
                ordered += added.get(output, [])
        kept = [tensor for tensor in self._graph.initializer if tensor.name not in self._unread(ordered)]
        copies = [_copy(node) for node in ordered]
        del self._graph.node[:]
        self._graph.node.extend(copies)
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        del self._graph.value_info[:]

    def _unread(self, nodes: Iterable[onnx.NodeProto]) -> set[str]:
        """Return the float weights that nothing reads any more."""
        return self._dropped - {name for node in nodes for name in node.input}

    def _dequantized(self, name: str, levels: npt.NDArray[np.integer], scales: Scales, axis: int) -> str:
        """Add integers with their scales along `axis`; return the name of the floats that they stand for."""
        inputs = [self._constant(f"{name}_q", levels), self._constant(f"{name}_scale", scales)]
        inputs.append(self._constant(f"{name}_zero", np.zeros(len(scales), dtype=levels.dtype)))
        self._graph.node.append(
            helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], name=f"{name}_dq", axis=axis)
        )
        return f"{name}_dq"

    def _constant(self, name: str, values: npt.NDArray[np.generic] | np.generic) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def _shift(off: Weights, means: Weights, layer: Layer) -> Weights:
    """Return by how much the mean of each output moves, float32 [outputs], where weights are `off`.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019. What
    padding leaves out at the borders is not counted.
    """
    if layer.operator != "Conv":
        return np.tensordot(off, means, axes=([1 - layer.axis], [0])).astype(np.float32)
    summed = off.sum(axis=(2, 3))  # [outputs, inputs of a group]
    groups = len(means) // summed.shape[1]
    per_group = means.reshape(groups, -1)[np.repeat(np.arange(groups), len(summed) // groups)]
    shift: Weights = (summed * per_group).sum(axis=1).astype(np.float32)
    return shift


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied
