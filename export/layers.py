"""The layers of an exported graph: what int8 can do to it, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edge.backends.base import OUTPUT

CONVOLUTION, PRODUCTS = "Conv", ("Gemm", "MatMul")
ACTIVATIONS = ("Clip", "Relu")
"""Which cut off what a quantized tensor can't hold anyway: a layer and its activation are one."""

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """A node with weights, on the way to the probabilities."""

    node: str
    """Its name."""
    operator: str
    """Conv, Gemm or MatMul."""
    input: str
    """Name of the tensor that it reads."""
    weight: str
    """Name of the initializer."""
    bias: str
    """The same; empty where there is none."""
    axis: int
    """Of the weights, along which the outputs lie."""
    output: str
    """Name of the tensor that it makes, after its activation."""


def find_layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """Return the layers in the graph's order, but for the last, which makes the logits."""
    path = path_to_probabilities(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = _readers(path)
    return tuple(_layer(node, weights, readers) for node in path if _has_weights(node, weights))[:-1]


def path_to_probabilities(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that the probabilities need, in the graph's order."""

    def backwards() -> Iterator[onnx.NodeProto]:
        wanted = {OUTPUT}
        for node in reversed(model.graph.node):  # each comes after what it reads
            if wanted.intersection(node.output):
                wanted.update(node.input)
                yield node

    return list(backwards())[::-1]


def weights_of(model: onnx.ModelProto, name: str) -> Weights:
    """Return an initializer as float32. Raises KeyError where there is none of that name."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor).astype(np.float32)
    raise KeyError(name)


def _has_weights(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    if node.op_type not in (CONVOLUTION, *PRODUCTS) or node.input[1] not in weights:
        return False
    return len(weights[node.input[1]].dims) == (4 if node.op_type == CONVOLUTION else 2)


def _layer(
    node: onnx.NodeProto,
    weights: Mapping[str, onnx.TensorProto],
    readers: Mapping[str, list[onnx.NodeProto]],
) -> Layer:
    output = node.output[0]
    after = readers.get(output, [])
    if len(after) == 1 and after[0].op_type in ACTIVATIONS:
        output = after[0].output[0]
    bias = node.input[2] if len(node.input) > 2 else ""
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return Layer(
        node=node.name,
        operator=node.op_type,
        input=node.input[0],
        weight=node.input[1],
        bias=bias if bias in weights else "",
        axis=0 if node.op_type == CONVOLUTION or transposed else 1,
        output=output,
    )


def _readers(nodes: list[onnx.NodeProto]) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found
