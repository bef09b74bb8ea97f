"""TensorRT's network definition, read from an ONNX graph: layers between tensors that have types."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TensorProto

DataType = enum.Enum("DataType", "FLOAT HALF BF16 INT8 INT32 INT64 BOOL UINT8 FP8")
LayerType = enum.Enum(
    "LayerType",
    "CONVOLUTION DECONVOLUTION MATRIX_MULTIPLY QUANTIZE DEQUANTIZE CAST CONSTANT SOFTMAX SHUFFLE ELEMENTWISE",
)
TensorIOMode = enum.Enum("TensorIOMode", "NONE INPUT OUTPUT")
LayerInformationFormat = enum.Enum("LayerInformationFormat", "ONELINE JSON")
ProfilingVerbosity = enum.Enum("ProfilingVerbosity", "LAYER_NAMES_ONLY DETAILED NONE")
LAYERS = {
    "Conv": LayerType.CONVOLUTION,
    "ConvTranspose": LayerType.DECONVOLUTION,
    "Gemm": LayerType.MATRIX_MULTIPLY,
    "MatMul": LayerType.MATRIX_MULTIPLY,
    "QuantizeLinear": LayerType.QUANTIZE,
    "DequantizeLinear": LayerType.DEQUANTIZE,
    "Cast": LayerType.CAST,
    "Constant": LayerType.CONSTANT,
    "Softmax": LayerType.SOFTMAX,
    **dict.fromkeys(("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"), LayerType.SHUFFLE),
}
"""Operator to layer; the others are ELEMENTWISE."""
TYPES = {
    TensorProto.FLOAT: DataType.FLOAT,
    TensorProto.FLOAT16: DataType.HALF,
    TensorProto.BFLOAT16: DataType.BF16,
    TensorProto.INT8: DataType.INT8,
    TensorProto.INT32: DataType.INT32,
    TensorProto.INT64: DataType.INT64,
    TensorProto.BOOL: DataType.BOOL,
    TensorProto.UINT8: DataType.UINT8,
}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: DataType
    shape: Shape


@dataclass(frozen=True)
class Layer:
    name: str
    type: LayerType
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]


@dataclass
class Network:
    """A strongly typed network: its types are the graph's."""

    model: bytes = b""
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))
    num_layers = property(lambda self: len(self.layers))

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]

    def read(self, model: bytes) -> None:
        """Fill the network from an ONNX graph. Raises what onnx does."""
        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model), strict_mode=True).graph
        self.model = model
        tensors = {value.name: _tensor(value) for value in (*graph.input, *graph.output, *graph.value_info)}
        for constant in graph.initializer:
            tensor = Tensor(constant.name, TYPES[constant.data_type], tuple(constant.dims))
            tensors[constant.name] = tensor
            self.layers.append(Layer(constant.name, LayerType.CONSTANT, (), (tensor,)))
        constants = {constant.name for constant in graph.initializer}
        for node in graph.node:
            kind = LAYERS.get(node.op_type, LayerType.ELEMENTWISE)
            names = [name for name in node.input if name]
            if kind is LayerType.CONVOLUTION:  # constant weights lie in the layer itself
                names = [name for name in names if name not in constants]
            inputs, outputs = (tuple(tensors[name] for name in group) for group in (names, node.output))
            self.layers.append(Layer(node.name or node.output[0], kind, inputs, outputs))
        self.inputs = [tensors[value.name] for value in graph.input]
        self.outputs = [tensors[value.name] for value in graph.output]


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim)
    return Tensor(value.name, TYPES[kind.elem_type], shape)
