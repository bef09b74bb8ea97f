"""Half precision in the graph: weights and layers in fp16, what frames it in fp32."""

from __future__ import annotations

import warnings

import onnx
import onnx_ir
from onnxruntime.transformers.float16 import convert_float_to_float16

from edge.errors import ExportError
from export.graph import check

LAYERS = frozenset(("Conv", "Gemm", "MatMul"))
"""Operators that hold weights: what comes before the first is preprocessing, after the last the softmax."""


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes in fp16, with the same inputs and outputs.

    Normalization stays in fp32, since levels times scale lose digits in half precision, and so do temperature
    and softmax, whose results are what is compared. Raises ExportError where the result is not valid.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    layers = [index for index, node in enumerate(copy.graph.node) if node.op_type in LAYERS]
    framing = [*copy.graph.node[: layers[0]], *copy.graph.node[layers[-1] + 1 :]]
    with warnings.catch_warnings():
        # It warns of every weight too small for fp16, which becomes zero or the least number: parity judges.
        warnings.filterwarnings("ignore", category=UserWarning, module="onnxruntime.transformers.float16")
        half = convert_float_to_float16(
            copy, keep_io_types=True, node_block_list=[node.name for node in framing], disable_shape_infer=False
        )
    del half.graph.value_info[:]  # it leaves some at their old type; every runtime infers them anew
    result = _sorted(half)
    check(result)
    if not is_fp16(result):
        raise ExportError("a layer's weights are not in fp16 after the conversion; report the model's name")
    return result


def is_fp16(model: onnx.ModelProto) -> bool:
    """Say whether every weight of a layer is stored in half precision."""
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    used = {name for node in model.graph.node if node.op_type in LAYERS for name in node.input if name in weights}
    return bool(used) and all(weights[name] == onnx.TensorProto.FLOAT16 for name in used)


def _sorted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Order the nodes so that each comes after what it reads: the converter leaves its casts at the end."""
    parsed = onnx_ir.serde.deserialize_model(model)
    parsed.graph.sort()
    result: onnx.ModelProto = onnx_ir.serde.serialize_model(parsed)
    return result
