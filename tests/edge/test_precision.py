"""What a network computes in, read from its tensors, and what an engine says of itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.backends.trt.library import Library, load_library
from edge.backends.trt.precision import Layer, Layers, check_engine, check_layers, read_layers
from edge.errors import BackendError
from edge.manifest import Precision

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


@pytest.fixture(scope="module")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx", reason="needs the package tensorrt-rtx", exc_type=ImportError)
    return load_library()


class Net:
    """A graph that grows layer by layer from "levels", [batch, 4, 8, 8]."""

    def __init__(self, dtype: int = TensorProto.FLOAT) -> None:
        self.nodes = [
            helper.make_node("Cast", ["image"], ["cast"], to=dtype),
            helper.make_node("Transpose", ["cast"], ["levels"], perm=(0, 3, 1, 2)),
        ]
        self.constants: list[onnx.TensorProto] = []
        self.outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])]

    def add(self, operator: str, read: str, made: str, *more: Any, **options: Any) -> Net:
        """Add a node that reads a tensor, and constants or other tensors after it."""
        names = []
        for index, one in enumerate(more):
            names.append(one if isinstance(one, str) else f"{made}_{index}")
            if not isinstance(one, str):
                self.constants.append(numpy_helper.from_array(np.asarray(one), names[-1]))
        self.nodes.append(helper.make_node(operator, [read, *names], [made], name=made, **options))
        return self

    def convolution(self, read: str, made: str, dtype: type = np.float32) -> Net:
        return self.add("Conv", read, made, np.ones((4, 4, 1, 1), dtype=dtype))

    def cast(self, read: str, made: str, dtype: int) -> Net:
        return self.add("Cast", read, made, to=dtype)

    def rounded(self, read: str, made: str) -> Net:
        """Add Quantize and Dequantize."""
        scale, zero = np.float32(0.5), np.int8(0)
        self.add("QuantizeLinear", read, f"{made}_q", scale, zero)
        return self.add("DequantizeLinear", f"{made}_q", made, scale, zero)

    def int8_convolution(self, read: str, made: str) -> Net:
        weights, scales = np.ones((4, 4, 1, 1), dtype=np.int8), np.ones(4, dtype=np.float32)
        self.nodes.append(
            helper.make_node("DequantizeLinear", [f"{made}_w", f"{made}_s"], [f"{made}_weights"], axis=0)
        )
        self.constants.append(numpy_helper.from_array(weights, f"{made}_w"))
        self.constants.append(numpy_helper.from_array(scales, f"{made}_s"))
        return self.rounded(read, f"{made}_in").add("Conv", f"{made}_in", made, f"{made}_weights")

    def answer(self, read: str) -> Net:
        self.add("ReduceMean", read, "mean", np.array([2, 3]), keepdims=0)
        return self.add("Softmax", "mean", "probabilities", axis=1)

    def layers(self, rtx: Library) -> Layers:
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 8, 8, 4])
        graph = helper.make_graph(self.nodes, "net", [image], self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        builder = rtx.api.Builder(rtx.logger)
        network = builder.create_network(1 << int(rtx.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = rtx.api.OnnxParser(network, rtx.logger)
        assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
        return read_layers(network, rtx)


def float_net() -> Net:
    return Net().convolution("levels", "one").convolution("one", "two").answer("two")


def half_net() -> Net:
    net = Net().cast("levels", "half", TensorProto.FLOAT16)
    net.convolution("half", "one", np.float16).convolution("one", "two", np.float16)
    return net.cast("two", "full", TensorProto.FLOAT).answer("full")


def int8_net() -> Net:
    return Net().int8_convolution("levels", "one").int8_convolution("one", "two").answer("two")


NETS: dict[Precision, Callable[[], Net]] = {FP32: float_net, FP16: half_net, INT8: int8_net}


class TestLayers:
    @pytest.mark.parametrize("asked", list(Precision))
    @pytest.mark.parametrize("given", list(Precision))
    def test_a_network_is_what_it_says_or_is_refused(
        self, rtx: Library, asked: Precision, given: Precision
    ) -> None:
        layers = NETS[given]().layers(rtx)
        if asked is given:
            return check_layers(layers, asked)
        dtype = {FP32: "float32", FP16: "float16", INT8: "int8"}[given]
        match = rf"model was to be {asked.value} and has 2 {dtype}.*\(first: one\): export the run again"
        with pytest.raises(BackendError, match=match):
            check_layers(layers, asked, "model")
        return None

    def test_one_layer_in_float_is_too_much_for_fp16(self, rtx: Library) -> None:
        net = Net().convolution("levels", "one").cast("one", "half", TensorProto.FLOAT16)
        net.convolution("half", "two", np.float16).cast("two", "full", TensorProto.FLOAT).answer("full")
        with pytest.raises(BackendError, match=r"fp16 and has 1 float32, 1 float16.*\(first: one\)"):
            check_layers(net.layers(rtx), FP16)

    def test_what_strangeness_alone_needs_stays_in_float(self, rtx: Library) -> None:
        net = half_net().add("MatMul", "mean", "apart", np.ones((4, 2), dtype=np.float32))
        net.add("ReduceSum", "apart", "strangeness", np.array([1]), keepdims=0)
        net.outputs.append(helper.make_tensor_value_info("strangeness", TensorProto.FLOAT, ["batch"]))
        layers = net.layers(rtx)
        assert str(layers) == "2 float16"
        check_layers(layers, FP16)

    def test_a_tensor_of_half_precision_is_too_much_for_fp32(self, rtx: Library) -> None:
        net = Net().convolution("levels", "one").cast("one", "half", TensorProto.FLOAT16)
        net.cast("half", "full", TensorProto.FLOAT).answer("full")
        with pytest.raises(BackendError, match="fp32 and has 1 float32, and tensors of float16: export"):
            check_layers(net.layers(rtx), FP32)

    def test_int8_needs_its_weights_in_int8_too(self, rtx: Library) -> None:
        net = Net().rounded("levels", "in").convolution("in", "one").answer("one")
        layers = net.layers(rtx)
        assert str(layers) == "1 float32"
        with pytest.raises(BackendError, match="int8 and has 1 float32, and tensors of int8"):
            check_layers(layers, INT8)

    def test_weights_that_only_pass_for_int8_are_found(self, rtx: Library) -> None:
        net, half = Net().rounded("levels", "in"), np.full((4, 4, 1, 1), 0.5, dtype=np.float32)
        net.constants.append(numpy_helper.from_array(half, "half"))
        net.add("Mul", "half", "weights", half).add("Conv", "in", "one", "weights").answer("one")
        with pytest.raises(BackendError, match="int8 and has 1 float32"):
            check_layers(net.layers(rtx), INT8)

    def test_half_precision_between_int8_layers_is_refused(self, rtx: Library) -> None:
        net = Net().int8_convolution("levels", "one").cast("one", "half", TensorProto.FLOAT16)
        net.cast("half", "full", TensorProto.FLOAT).int8_convolution("full", "two").answer("two")
        with pytest.raises(BackendError, match="int8 and has 2 int8, and tensors of float16, int8: export"):
            check_layers(net.layers(rtx), INT8)

    @pytest.mark.parametrize(("in_float", "enough"), [(1, True), (2, True), (3, False)])
    def test_half_of_the_layers_may_stay_in_float(self, rtx: Library, in_float: int, enough: bool) -> None:
        """The last, which makes the logits, does not count."""
        net, last = Net(), "levels"
        for index in range(in_float):
            net.convolution(last, f"float{index}")
            last = f"float{index}"
        for index in range(4 - in_float):
            net.int8_convolution(last, f"int{index}")
            last = f"int{index}"
        net.convolution(last, "logits").answer("logits")
        layers = net.layers(rtx)
        assert (layers.count("int8"), layers.count("float32")) == (4 - in_float, in_float + 1)
        if enough:
            return check_layers(layers, INT8)
        with pytest.raises(BackendError, match="int8 and has 4 float32, 1 int8"):
            check_layers(layers, INT8)
        return None

    def test_a_product_without_weights_is_no_layer(self, rtx: Library) -> None:
        """As attention has them: nothing of it is ever int8."""
        net = Net().int8_convolution("levels", "one").add("MatMul", "one", "squared", "one").answer("squared")
        layers = net.layers(rtx)
        assert layers.computing == (Layer("one", "int8"),)
        check_layers(layers, INT8)

    @pytest.mark.parametrize("precision", [FP16, INT8])
    def test_a_network_without_layers_is_neither(self, rtx: Library, precision: Precision) -> None:
        layers = Net().answer("levels").layers(rtx)
        check_layers(layers, FP32)
        with pytest.raises(BackendError, match="has no layer with weights: export"):
            check_layers(layers, precision)


# What the engine inspector says, shortened. TensorRT 10 of a ResNet-18 (NVIDIA/TensorRT#4020), of half precision
# (#3876, #4397), with TF32 (#3583); with "N/A" where no context has given it shapes; and TensorRT-RTX 1.7, whose
# builder writes these fields to its log when it is done.


def row(
    kind: str, reads: str, weights: str = "", tactic: str = "", field: str = "Format/Datatype"
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "Name": f"{kind} of {reads}",
        "LayerType": kind,
        "Inputs": [{"Name": "in", "Location": "Device", "Dimensions": [1, 64, 56, 56], field: reads}],
        "Outputs": [{"Name": "out", "Location": "Device", "Dimensions": [1, 64, 56, 56], field: reads}],
        "TacticName": tactic,
        "StreamId": 0,
        "Metadata": "[ONNX Layer: one]\x1e[ONNX Layer: two]",
    }
    return {**made, "ParameterType": "Convolution", "Weights": {"Type": weights, "Count": 9}} if weights else made


def said(*rows: dict[str, Any] | str) -> str:
    return json.dumps({"Layers": list(rows), "Bindings": ["image", "probabilities"]})


UNTOLD = "N/A due to dynamic shapes"
I8_KERNEL = (
    "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32_tilesize32x32x64"
)
F16_KERNEL = (
    "sm80_xmma_gemm_f16f16_f16f16_f16_nn_n_tilesize32x32x64_stage6_warpsize2x2x1_tensor16x8x16_by_fusion_tactic"
)
F32_KERNEL = "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x32x8_stage3"
TF32_KERNEL = "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize64x128x16_stage4_warpsize2x2x1_tensor16x8x8"

FLOATS = [
    row("CaskGemmConvolution", "Channel major FP32 format where channel % 4 == 0", "Float", F32_KERNEL),
    row("CaskConvolution", "Row major linear FP32", "Float"),
    row("CaskConvolution", UNTOLD, "Float"),
    row("gemm", "Float", tactic=F32_KERNEL),
    row("correlation", "Float", field="Datatype", tactic="__myelin_CASK_STUB"),
]
HALVES = [
    row("CaskConvolution", "Channel major FP16 format where channel % 8 == 0", "Half"),
    row("CaskConvolution", UNTOLD, "Half"),
    row("fusion", "Half", tactic=F16_KERNEL),
    row("gemm", "Half"),
    row("correlation", "Half", field="Datatype", tactic="__myelin_CASK_STUB"),
]
INTEGERS = [
    row("CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format", "Int8", I8_KERNEL),
    row("CaskConvActPool", "Row major Int8 format", "Int8"),
    row("CaskConvolution", UNTOLD, "Int8"),
    row("CaskConvolution", UNTOLD, tactic=I8_KERNEL),
    row("correlation", "Int8", field="Datatype", tactic="__myelin_CASK_STUB"),
]
AROUND = [
    row("Reformat", "Row major UINT8 format"),
    row("kgen", "UInt8", field="Datatype"),
    row("NoOp", UNTOLD),
    row("shape_call", "Int32", field="Datatype"),
]
ENGINES = {FP32: ("float32", FLOATS), FP16: ("float16", HALVES), INT8: ("int8", INTEGERS)}


class TestEngine:
    @pytest.mark.parametrize("place", range(5))
    @pytest.mark.parametrize("precision", list(Precision))
    def test_every_way_of_telling_is_understood(self, precision: Precision, place: int) -> None:
        dtype, rows = ENGINES[precision]
        layers = check_engine(said(*AROUND, rows[place]), precision)
        assert [layer.dtype for layer in layers.computing] == [dtype]
        for other in set(Precision) - {precision}:
            with pytest.raises(BackendError, match=rf"engine was to be {other.value} and has 1 {dtype} \(first: "):
                check_engine(said(*AROUND, rows[place]), other)

    def test_what_fp16_keeps_in_float_is_no_fault(self) -> None:
        check_engine(said(*HALVES, FLOATS[3], row("kgen", "Float")), FP16)

    def test_int8_with_layers_in_float_is_no_fault(self) -> None:
        layers = check_engine(said(*INTEGERS, FLOATS[0]), INT8)
        assert str(layers) == "5 int8, 1 float32"

    def test_one_layer_of_half_precision_is_too_much_for_fp32(self) -> None:
        with pytest.raises(BackendError, match="has 5 float32, 1 float16"):
            check_engine(said(*FLOATS, HALVES[0]), FP32)
        with pytest.raises(BackendError, match="engine was to be fp32"):
            check_engine(said(*FLOATS, row("kgen", "Half")), FP32)

    def test_tf32_is_not_fp32(self) -> None:
        with pytest.raises(BackendError, match="has 1 tf32"):
            check_engine(said(row("gemm", "Float", tactic=TF32_KERNEL)), FP32)

    @pytest.mark.parametrize("rows", [(), ("conv1 + relu1",), (row("CaskConvolution", UNTOLD), *AROUND)])
    def test_an_engine_that_tells_nothing_is_said(
        self, rows: tuple[Any, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "edge.backends.trt"):
            assert check_engine(said(*rows), FP16, "model.fp16.onnx's engine").computing == ()
        assert "model.fp16.onnx's engine does not tell what its layers compute in" in caplog.text

    @pytest.mark.parametrize("text", ["", "no json", "[]", '{"Layers": 3}', '{"Bindings": []}'])
    def test_what_is_no_list_of_layers_is_refused(self, text: str) -> None:
        with pytest.raises(BackendError, match="engine can't be inspected"):
            check_engine(text, FP32)
