"""Half precision in the graph: weights and layers in fp16, what frames it in fp32."""

from __future__ import annotations

import warnings

import onnx
import onnx_ir
from onnxruntime.transformers.float16 import convert_float_to_float16

from edge.backends.base import OUTPUT
from edge.errors import ExportError
from export.graph import check
from export.layers import path_to_probabilities

LAYERS = frozenset(("Conv", "Gemm", "MatMul"))
"""Operators that hold weights: what comes before the first is preprocessing, after the last the softmax."""


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes in fp16, with the same inputs and outputs.

    Normalization stays in fp32, since levels times scale lose digits in half precision, and so do temperature
    and softmax, whose results are what is compared. So does all that only strangeness needs, to the last bit:
    squares overflow half precision from 256 on, and differences of large sums cancel. Raises ExportError where
    the result is not valid.
    """
    body, tail = _without_tail(model)
    layers = [index for index, node in enumerate(body.graph.node) if node.op_type in LAYERS]
    framing = [*body.graph.node[: layers[0]], *body.graph.node[layers[-1] + 1 :]]
    with warnings.catch_warnings():
        # It warns of every weight too small for fp16, which becomes zero or the least number: parity judges.
        warnings.filterwarnings("ignore", category=UserWarning, module="onnxruntime.transformers.float16")
        half = convert_float_to_float16(
            body, keep_io_types=True, node_block_list=[node.name for node in framing], disable_shape_infer=False
        )
    del half.graph.value_info[:]  # it leaves some at their old type; every runtime infers them anew
    _add_tail(half, tail, model)
    result = _sorted(half)
    check(result)
    if not is_fp16(result):
        raise ExportError("a layer's weights are not in fp16 after the conversion; report the model's name")
    return result


def is_fp16(model: onnx.ModelProto) -> bool:
    """Say whether every weight of a layer on the way to the probabilities is stored in half precision."""
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    layers = (node for node in path_to_probabilities(model) if node.op_type in LAYERS)
    used = {name for node in layers for name in node.input if name in weights}
    return bool(used) and all(weights[name] == onnx.TensorProto.FLOAT16 for name in used)


def _sorted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Order the nodes so that each comes after what it reads: the converter leaves its casts at the end."""
    parsed = onnx_ir.serde.deserialize_model(model)
    parsed.graph.sort()
    result: onnx.ModelProto = onnx_ir.serde.serialize_model(parsed)
    return result


def _without_tail(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.NodeProto]]:
    """Return a copy without the nodes that the probabilities don't need, and these.

    What they read of the others is an output of the copy: the converter hands outputs over in fp32.
    """
    path = path_to_probabilities(model)
    made = {name for node in path for name in node.output}
    read = {name for node in path for name in node.input}
    tail = [node for node in model.graph.node if not made.intersection(node.output)]
    taps = {name for node in tail for name in node.input} & made
    body = onnx.ModelProto()
    body.CopyFrom(model)
    values = [*onnx.shape_inference.infer_shapes(model).graph.value_info, *model.graph.output]
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    for field, items in (
        (body.graph.node, path),
        (body.graph.initializer, kept),
        (body.graph.output, [value for value in values if value.name in {OUTPUT, *taps}]),
    ):
        del field[:]
        field.extend(items)
    return body, tail


def _add_tail(half: onnx.ModelProto, tail: list[onnx.NodeProto], model: onnx.ModelProto) -> None:
    """Put the nodes of `tail` back, with the weights that they had in `model`."""
    own = {tensor.name: f"{tensor.name}_of_tail" for tensor in model.graph.initializer}
    read = {name for node in tail for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in read:
            half.graph.initializer.add().CopyFrom(tensor)
            half.graph.initializer[-1].name = own[tensor.name]
    for node in tail:
        added = half.graph.node.add()
        added.CopyFrom(node)
        added.input[:] = [own.get(name, name) for name in node.input]
    del half.graph.output[:]
    half.graph.output.extend(model.graph.output)
