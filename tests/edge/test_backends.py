from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.backends import Answers, BackendInfo, Graph, Options, open_backend, open_graph
from edge.backends.base import check_answers
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError, UsageError
from edge.manifest import Precision
from tests.tiny import COLOURS, IR_VERSION, OPSET, infer, make_bundle, make_graph, solid

LABELS = tuple(COLOURS)
SHAPE = (32, 32, 3)
HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("backends") / "bundle", precisions=(Precision.INT8, Precision.FP32))


def graph(model: bytes) -> Graph:
    return Graph("model.fp32.onnx", Precision.FP32, model, SHAPE)


def small_model(inputs: list[tuple[str, int]], output: str = "probabilities") -> bytes:
    """Cast and reduce: a graph with inputs of any name and type."""
    nodes = [
        helper.make_node("Cast", [inputs[0][0]], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels"], [output], axes=None, keepdims=0),
    ]
    values = [helper.make_tensor_value_info(name, kind, ["batch", *SHAPE]) for name, kind in inputs]
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, [])
    made = helper.make_model(
        helper.make_graph(nodes, "small", values, [answer]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    data: bytes = made.SerializeToString()
    return data


class TestOpen:
    @pytest.mark.parametrize("name", ["auto", "onnxruntime"])
    def test_says_what_really_runs(self, bundle: Bundle, name: str) -> None:
        if name == "auto" and HAS_CUDA:
            pytest.skip("this ONNX Runtime knows CUDA")
        with open_backend(bundle, name, options=Options(threads=1)) as backend:
            info = backend.info
        assert (info.name, info.provider) == ("onnxruntime", "CPUExecutionProvider")
        assert (info.file, info.precision, info.threads) == ("model.int8.onnx", Precision.INT8, 1)
        assert info.versions == (("onnxruntime", onnxruntime.__version__),)

    def test_takes_the_recommended_precision_or_the_one_asked_for(self, bundle: Bundle) -> None:
        with open_backend(bundle) as backend:
            assert backend.info.precision is Precision.INT8
        with open_backend(bundle, precision=Precision.FP32) as backend:
            assert backend.info.file == "model.fp32.onnx"
        with pytest.raises(BundleError, match="no fp16 graph"):
            open_backend(bundle, precision=Precision.FP16)

    def test_answers_as_onnx_runtime_does(self, bundle: Bundle) -> None:
        batch = np.stack([solid(label) for label in LABELS])
        with open_backend(bundle) as backend:
            made = backend.infer(batch)
            answers, one = made.probabilities, backend.infer(batch[1:2]).probabilities
        assert made.strangeness is None
        assert answers.dtype == np.float32
        assert np.array_equal(answers, infer(bundle.read("model.int8.onnx"), batch).probabilities)
        assert answers.argmax(axis=1).tolist() == [0, 1, 2]
        assert np.allclose(answers.sum(axis=1), 1)
        assert np.allclose(one, answers[1:2], atol=1e-6)

    @pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime knows CUDA")
    def test_cuda_on_a_cpu_build_names_the_extra(self, bundle: Bundle) -> None:
        with pytest.raises(BackendError, match=r"install binsight\[gpu\].*--backend onnxruntime"):
            open_backend(bundle, "cuda")

    @pytest.mark.parametrize(("name", "near"), [("onnx-runtime", "onnxruntime"), ("cudaa", "cuda"), ("", "auto")])
    def test_unknown_backend_names_the_nearest(self, bundle: Bundle, name: str, near: str) -> None:
        with pytest.raises(UsageError, match=f"nearest: .*{near}"):
            open_backend(bundle, name)

    @pytest.mark.parametrize("model", [b"", b"no graph", bytes(1000)], ids=["empty", "text", "zeros"])
    def test_bytes_that_are_no_graph(self, model: bytes) -> None:
        with pytest.raises(BackendError, match=r"model.fp32.onnx does not load"):
            open_graph(graph(model))

    def test_a_truncated_graph(self) -> None:
        whole = make_graph(LABELS, 32)
        for kept in (len(whole) // 4, len(whole) // 2, len(whole) - 1):
            with pytest.raises(BackendError):
                open_graph(graph(whole[:kept]))

    @pytest.mark.parametrize(
        "model",
        [
            small_model([("images", TensorProto.UINT8)]),
            small_model([("image", TensorProto.FLOAT)]),
            small_model([("image", TensorProto.UINT8)], "logits"),
            small_model([("image", TensorProto.UINT8), ("extra", TensorProto.UINT8)]),
        ],
        ids=["input name", "input type", "output name", "two inputs"],
    )
    def test_a_graph_with_another_contract(self, model: bytes) -> None:
        with pytest.raises(BackendError, match=r"expected .*'image'.*'probabilities'.*: export the run again"):
            open_graph(graph(model))


class TestStrangeness:
    """The second output, which a graph may have or not."""

    def test_is_answered_beside_the_probabilities(self) -> None:
        batch = np.stack([solid("red"), solid("red") // 2])
        with open_graph(graph(make_graph(LABELS, 32, strangeness=True))) as backend:
            assert backend.info.strangeness
            answers = backend.infer(batch)
        assert answers.strangeness is not None
        assert (answers.strangeness.dtype, answers.strangeness.shape) == (np.float32, (2,))
        assert answers.strangeness == pytest.approx([0, 0.5], abs=0.01)
        assert np.array_equal(answers.probabilities, infer(make_graph(LABELS, 32), batch).probabilities)

    def test_a_graph_of_one_output_says_so(self) -> None:
        with open_graph(graph(make_graph(LABELS, 32))) as backend:
            assert not backend.info.strangeness

    def test_a_threshold_without_the_output_is_refused(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle", stranger_threshold=0.25)
        words = (
            r'model.fp32.onnx has the stranger_threshold 0.25 and no output "strangeness".*: export the run again'
        )
        with pytest.raises(BundleError, match=words):
            open_backend(bundle)

    def test_the_output_without_a_threshold_is_taken(self, tmp_path: Path) -> None:
        with open_backend(make_bundle(tmp_path / "bundle", strangeness=True)) as backend:
            assert backend.info.strangeness

    def test_outputs_in_another_order_or_of_another_name_are_refused(self) -> None:
        for change in ("reverse", "rename", "double"):
            model = onnx.load_from_string(make_graph(LABELS, 32, strangeness=True))
            outputs = list(model.graph.output)
            if change == "reverse":
                outputs.reverse()
            elif change == "double":
                outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]))
            del model.graph.output[:]
            model.graph.output.extend(outputs)
            if change == "rename":
                model.graph.node[-1].output[0] = model.graph.output[1].name = "distance"
            with pytest.raises(
                BackendError, match=r"expected .*'probabilities'.*'strangeness'.*: export the run again"
            ):
                open_graph(graph(model.SerializeToString()))


@pytest.mark.parametrize(
    ("probability", "strangeness", "sound"),
    [(0.5, 1.0, True), (np.nan, 1.0, False), (0.5, np.nan, False), (0.5, np.inf, False), (0.5, None, True)],
)
def test_what_is_no_number_is_seen_in_either_output(
    probability: float, strangeness: float | None, sound: bool
) -> None:
    probabilities = np.array([[0.5, 0.5], [probability, 0.5]], dtype=np.float32)
    strange = None if strangeness is None else np.array([1.0, strangeness], dtype=np.float32)
    answers = Answers(probabilities, strange)
    info = BackendInfo("onnxruntime", "m.onnx", Precision.FP32, "Engine", 0, ())
    assert answers.sound.tolist() == [True, sound]
    if sound:
        check_answers(answers, info)
    else:
        with pytest.raises(BackendError, match=r"Engine answered .*(nan|inf).*expected numbers"):
            check_answers(answers, info)


class TestInfer:
    @pytest.mark.parametrize(
        "batch",
        [
            np.zeros((1, *SHAPE), dtype=np.float32),
            np.zeros((1, *SHAPE), dtype=np.int8),
            np.zeros(SHAPE, dtype=np.uint8),
            np.zeros((1, 3, 32, 32), dtype=np.uint8),
            np.zeros((1, 32, 31, 3), dtype=np.uint8),
            np.zeros((0, *SHAPE), dtype=np.uint8),
        ],
        ids=lambda batch: f"{batch.dtype}{batch.shape}",
    )
    def test_another_type_or_shape_is_refused_with_both(self, bundle: Bundle, batch: np.ndarray) -> None:
        with open_backend(bundle) as backend, pytest.raises(BackendError) as caught:
            backend.infer(batch)
        assert f"batch is {batch.dtype} {list(batch.shape)}; expected uint8 [n, 32, 32, 3]" in str(caught.value)

    def test_a_failure_of_the_engine_is_a_backend_error(self) -> None:
        # The graph takes 16 x 16, the manifest says 32 x 32.
        with (
            open_graph(graph(make_graph(LABELS, 16))) as backend,
            pytest.raises(BackendError, match=r"CPUExecutionProvider failed on model.fp32.onnx"),
        ):
            backend.infer(solid("red")[None])

    def test_after_close_is_a_backend_error_and_close_may_come_twice(self, bundle: Bundle) -> None:
        backend = open_backend(bundle)
        backend.close()
        backend.close()
        with pytest.raises(BackendError):
            backend.infer(solid("red")[None])


def outside_weights(location: str, length: int) -> bytes:
    """The tiny graph with its weights in a file beside it."""
    model = onnx.load_from_string(make_graph(LABELS, 32))
    for tensor in model.graph.initializer:
        if tensor.name == "weights":
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize("where", ["weights.bin", "./weights.bin", "../weights.bin", "absolute"])
def test_weights_in_another_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    # Their bytes are in no digest of the manifest.
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    weights = np.ones((3, 3), dtype=np.float32).tobytes()
    for place in (tmp_path, inside):
        (place / "weights.bin").write_bytes(weights)
    location = str(inside / "weights.bin") if where == "absolute" else where
    with pytest.raises(BackendError, match=r"model.fp32.onnx keeps weights in another file"):
        open_graph(graph(outside_weights(location, len(weights))))


def outside_tensor(*, entry: bool = True, location: int = TensorProto.EXTERNAL) -> onnx.TensorProto:
    tensor = TensorProto(name="t", dims=[3], data_type=TensorProto.FLOAT, data_location=location)
    if entry:
        tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def node_with(value: object) -> onnx.NodeProto:
    return helper.make_node("Custom", [], ["c"], value=value)


def hidden_in(place: str) -> onnx.ModelProto:
    """A model with a tensor in another file at a place where a runtime would find it."""
    tensor = outside_tensor()
    sparse = onnx.SparseTensorProto(values=tensor)
    inner = helper.make_graph([], "inner", [], [], [tensor])
    model = onnx.load_from_string(make_graph(LABELS, 32))
    if place == "sparse initializer":
        model.graph.sparse_initializer.append(sparse)
    elif place == "indices":
        model.graph.sparse_initializer.add(indices=tensor)
    elif place == "function":
        model.functions.append(helper.make_function("local", "f", [], ["c"], [node_with(tensor)], []))
    elif place == "function's attribute":
        default = helper.make_attribute("value", tensor)
        model.functions.append(helper.make_function("local", "f", [], ["c"], [], [], attribute_protos=[default]))
    elif place == "training":
        model.training_info.add().initialization.CopyFrom(inner)
    elif place == "algorithm":
        model.training_info.add().algorithm.CopyFrom(inner)
    elif place in ONLY:
        model.graph.initializer.append(ONLY[place])
    else:
        outer = helper.make_graph([node_with(inner)], "outer", [], [])
        values = {
            "tensor": tensor,
            "tensors": [tensor],
            "graph in a graph": outer,
            "graphs": [inner],
            "sparse": sparse,
            "list of sparse": [sparse],
        }
        model.graph.node.append(node_with(values[place]))
    return model


ONLY = {"location": outside_tensor(entry=False), "entry": outside_tensor(location=TensorProto.DEFAULT)}
"""Either of the two marks of a tensor in another file, without the other."""


@pytest.mark.parametrize(
    "place",
    [
        *("tensor", "tensors", "graph in a graph", "graphs", "sparse", "list of sparse", "sparse initializer"),
        *("indices", "function", "function's attribute", "training", "algorithm", *ONLY),
    ],
)
def test_weights_in_another_file_are_found_wherever_they_hide(place: str) -> None:
    with pytest.raises(BackendError, match="in another file"):
        open_graph(graph(hidden_in(place).SerializeToString()))


def test_a_graph_nested_deeper_than_the_stack_is_no_fault_of_ours() -> None:
    # Graph, node, attribute, graph: 5000 times, as raw protobuf.
    message = b""
    for _ in range(5000):
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            size, digits = len(message), b""
            while size > 127:
                digits, size = digits + bytes((size & 127 | 128,)), size >> 7
            message = tag + digits + bytes((size,)) + message
    size, digits = len(message), b""
    while size > 127:
        digits, size = digits + bytes((size & 127 | 128,)), size >> 7
    with pytest.raises(BackendError):
        open_graph(graph(b"\x3a" + digits + bytes((size,)) + message))


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "onnxruntime":
            raise ImportError("No module named onnxruntime")
sys.meta_path.insert(0, Blocker())
from pathlib import Path
from edge.backends import open_backend
from edge.bundle import load
from edge.errors import BackendError
bundle = load(Path(sys.argv[1]))
for name in ("auto", "onnxruntime", "cuda"):
    try:
        open_backend(bundle, name)
    except BackendError as error:
        print(name, error)
"""


def int8_model() -> bytes:
    """Weights of 127 over the levels of an image: two channels of 255 add up to 64770, beyond 16 bits."""
    constants = [
        numpy_helper.from_array(value, name)
        for name, value in {
            "one": np.float32(1),
            "step": np.float32(600),
            "none": np.uint8(0),
            "zero": np.int8(0),
            "integers": np.full((4, 3, 1, 1), 127, dtype=np.int8),
        }.items()
    ]
    nodes = [
        helper.make_node("Transpose", ["image"], ["levels"], perm=(0, 3, 1, 2)),
        helper.make_node("DequantizeLinear", ["levels", "one", "none"], ["values"]),
        helper.make_node("DequantizeLinear", ["integers", "one", "zero"], ["weights"]),
        helper.make_node("Conv", ["values", "weights"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "step", "none"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "step", "none"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["means"], axes=(2, 3), keepdims=0),
        helper.make_node("Identity", ["means"], ["probabilities"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *SHAPE])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])]
    made = helper.make_graph(nodes, "int8", inputs, outputs, initializer=constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=IR_VERSION)
    return model.SerializeToString()


def test_int8_does_not_overflow_on_a_cpu_without_vnni() -> None:
    with open_graph(Graph("model.int8.onnx", Precision.INT8, int8_model(), SHAPE), "onnxruntime") as backend:
        got = backend.infer(np.full((1, *SHAPE), 255, dtype=np.uint8)).probabilities
    assert got == pytest.approx(3 * 127 * 255, abs=300)


def test_missing_runtime_names_the_extra(bundle: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, bundle.folder], capture_output=True, text=True, timeout=60, check=True
    )
    said = done.stdout.splitlines()
    assert [line.split()[0] for line in said] == ["auto", "onnxruntime", "cuda"]
    for line in said:
        assert "ONNX Runtime is missing" in line
        assert "pip install 'binsight[cpu]'" in line


def test_both_runtimes_at_once_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    # pip keeps a record of each: that is how it shows.
    for name in ("onnxruntime", "onnxruntime_gpu"):
        record = tmp_path / f"{name}-1.23.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.23.0\n"
        )
    program = (
        "import sys\nsys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from edge.backends import open_backend\nfrom edge.bundle import load\n"
        "from edge.errors import BackendError\n"
        "try:\n    open_backend(load(Path(sys.argv[1])))\nexcept BackendError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, bundle.folder, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "both installed and overwrite each other: pip uninstall -y" in done.stdout, done
