"""TensorRT's engines without a GPU: run with ONNX Runtime, by TensorRT's rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from tests.edge.fake_cudart import CudaError, Uncapturable
from tests.edge.fake_network import (
    DataType,
    Layer,
    LayerInformationFormat,
    LayerType,
    Network,
    ProfilingVerbosity,
    Shape,
    Tensor,
    TensorIOMode,
)

if TYPE_CHECKING:
    from tests.edge.fake_tensorrt import FakeTensorRT

INSPECTED = {LayerType.CONVOLUTION: "CaskConvolution", LayerType.MATRIX_MULTIPLY: "CaskGemmMatrixMultiply"}
"""What the inspector calls them."""
FORMATS = {DataType.FLOAT: "Float", DataType.HALF: "Half", DataType.INT8: "Int8", DataType.UINT8: "UInt8"}
"""How the inspector writes dtypes."""
SIZES = {DataType.FLOAT: 4, DataType.HALF: 2, DataType.UINT8: 1, DataType.INT8: 1}
SCRATCH = 4096
"""Bytes of GPU memory that a context takes."""
MAGIC = b"fake plan\n"


def fits(shape: Shape, least: Shape, most: Shape) -> bool:
    if len(shape) != len(least):
        return False
    pairs = zip(shape, least, most, strict=True)
    return all((low == -1 or low <= size) and (high == -1 or size <= high) for size, low, high in pairs)


class Runtime:
    def __init__(self, api: FakeTensorRT) -> None:
        self._api = api

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        data = bytes(serialized_engine)
        head, _, model = data.removeprefix(MAGIC).partition(b"\n")
        try:
            header = json.loads(head)
        except ValueError:
            header = {}
        if not data.startswith(MAGIC) or header.get("sha256") != hashlib.sha256(model).hexdigest():
            self._api.log("Serialization assertion failed: the engine is damaged")
            return None
        for key, here in self._api.stamp().items():
            if header[key] != here:
                self._api.log(f"The engine plan file was built for {key} {header[key]}, and this is {here}")
                return None
        try:
            weights, _ = self._api.cudart.allocate("weights", len(model))
        except CudaError as error:
            self._api.log(f"Error Code 2: OutOfMemory ({error})")
            return None
        self._api.loaded += 1
        return Engine(self._api, header, model, weights)


class Engine:
    """A deserialized plan, which ONNX Runtime computes."""

    def __init__(self, api: FakeTensorRT, header: dict[str, Any], model: bytes, weights: int) -> None:
        self.api, self.header, self._weights = api, header, weights
        self.network = Network()
        self.network.read(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.tensors = {one.name: one for one in (*self.network.inputs, *self.network.outputs)}
        self.inputs = {one.name for one in self.network.inputs}

    def __del__(self) -> None:
        self.api.cudart.free("weights", self._weights)

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.tensors[name].dtype

    def get_tensor_shape(self, name: str) -> Shape:
        return self.tensors[name].shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Shape]:
        return [tuple(shape) for shape in self.header["profiles"][profile_index][name]]

    def create_execution_context(self) -> Context | None:
        try:
            address, _ = self.api.cudart.allocate("scratch", SCRATCH)
        except CudaError as error:
            self.api.log(f"Error Code 2: OutOfMemory ({error})")
            return None
        return Context(self, address)

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self)


class Context:
    """What runs an engine: one shape at a time, and everything in the stream's turn."""

    def __init__(self, engine: Engine, scratch: int) -> None:
        self.engine, self._scratch = engine, scratch
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self._laid = 0
        """Counts changes of shapes and addresses: a captured graph outlives none."""
        self._warm = -1
        """The latest of them at which something ran."""

    def __del__(self) -> None:
        self.engine.api.cudart.free("scratch", self._scratch)

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        least, _, most = self.engine.get_tensor_profile_shape(name, 0)
        if name not in self.engine.inputs or not fits(tuple(shape), least, most):
            return self._refuse(f"set_input_shape: {name} {shape} is outside {least} to {most}")
        if self.shapes.get(name) != tuple(shape):
            self._laid += 1
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine.tensors:
            return self._refuse(f"set_tensor_address: no tensor {name}")
        if self.addresses.get(name) != memory:
            self._laid += 1
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        cudart = self.engine.api.cudart
        try:
            stream = cudart.stream(stream_handle)
            self._check_addresses()
        except CudaError as error:
            return self._refuse(f"execute_async_v3: {error}")
        if cudart.last_error:  # it asks CUDA after its own launches, and finds another's error
            return self._refuse(f"execute_async_v3: CUDA error {cudart.last_error} was left behind")
        if stream.captured is not None and (
            self._warm != self._laid or cudart.uncapturable is Uncapturable.ENQUEUE
        ):
            stream.broken = True
            return self._refuse("execute_async_v3: it allocates, which can't be captured")
        stream.add(self._work(self._laid, dict(self.shapes), dict(self.addresses)))
        return True

    def _check_addresses(self) -> None:
        if set(self.shapes) != self.engine.inputs:
            raise CudaError(1, f"shapes of {sorted(self.engine.inputs - set(self.shapes))} are not set")
        for name in self.engine.tensors:
            if not self.addresses.get(name):
                raise CudaError(1, f"Address is not set for tensor {name}")
            self.engine.api.cudart.view(self.addresses[name], self._size(name, self.shapes))

    def _size(self, name: str, shapes: dict[str, Shape]) -> int:
        """Bytes of a tensor, whose first dimension is the input's."""
        batch = next(iter(shapes.values()))[0]
        shape = (batch, *self.engine.tensors[name].shape[1:])
        return int(np.prod(shape)) * SIZES[self.engine.tensors[name].dtype]

    def _work(self, laid: int, shapes: dict[str, Shape], addresses: dict[str, int]) -> Callable[[], None]:
        """Return the run of one batch, with all that is true of it now."""

        def run() -> None:
            if laid != self._laid:
                raise CudaError(700, "a graph is launched whose shapes or addresses the context has no more")
            view = self.engine.api.cudart.view
            feeds = {}
            for name, shape in shapes.items():
                seen = view(addresses[name], self._size(name, shapes))
                feeds[name] = np.frombuffer(seen, np.uint8).reshape(shape).copy()
            names = [one.name for one in self.engine.network.outputs]
            for name, answer in zip(names, self.engine.session.run(names, feeds), strict=True):
                told = self._distorted(name, answer)
                view(addresses[name], told.nbytes)[:] = told.tobytes()
            self._warm = laid

        return run

    def _distorted(self, name: str, answer: np.ndarray) -> np.ndarray:
        distort = self.engine.api.distort
        if name != "probabilities" or distort is None:
            return answer
        return np.ascontiguousarray(distort(answer), dtype=answer.dtype)

    def _refuse(self, why: str) -> bool:
        self.engine.api.log(why)
        return False


class Inspector:
    """Tells what an engine is made of: without a context whose shapes are set, no dtypes of dynamic shapes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.execution_context: Context | None = None

    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002  TensorRT's name
        layers = [one for one in self._engine.network.layers if one.type is not LayerType.CONSTANT]
        rows: list[Any] = [one.name for one in layers]
        if self._engine.header["verbosity"] == ProfilingVerbosity.DETAILED.name:
            rows = [self._row(one) for one in layers]
        return json.dumps({"Layers": rows, "Bindings": list(self._engine.tensors)})

    def _row(self, layer: Layer) -> dict[str, Any]:
        constants = {one.name for one in self._engine.network.layers if one.type is LayerType.CONSTANT}
        moving = [one for one in layer.inputs if one.name not in constants]
        inputs, outputs = ([self._told(one) for one in group] for group in (moving, layer.outputs))
        row = {
            "Name": layer.name,
            "LayerType": INSPECTED.get(layer.type, "kgen"),
            "Inputs": inputs,
            "Outputs": outputs,
            "TacticValue": "0x0000000000000000",
            "Metadata": f"[ONNX Layer: {layer.name}]",
        }
        if layer.type in INSPECTED:
            row["Weights"] = {"Type": FORMATS[self._computes_in(layer)], "Count": 1}
        return row

    def _computes_in(self, layer: Layer) -> DataType:
        """int8 where both operands were just dequantized: the builder makes one kernel of them."""
        makers = {tensor.name: one for one in self._engine.network.layers for tensor in one.outputs}
        operands = [makers.get(tensor.name) for tensor in layer.inputs[:2]]
        if len(operands) == 2 and all(one is not None and one.type is LayerType.DEQUANTIZE for one in operands):
            return DataType.INT8
        return layer.inputs[0].dtype

    def _told(self, tensor: Tensor) -> dict[str, Any]:
        known = -1 not in tensor.shape or (self.execution_context is not None and self.execution_context.shapes)
        told = FORMATS.get(tensor.dtype, tensor.dtype.name) if known else "N/A due to dynamic shapes"
        return {
            "Name": tensor.name,
            "Location": "Device",
            "Dimensions": list(tensor.shape),
            "Format/Datatype": told,
        }
