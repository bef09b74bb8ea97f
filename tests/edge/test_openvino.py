"""OpenVINO's real engine against ONNX Runtime's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from edge.backends import Graph, Options, open_graph, openvino
from edge.backends.openvino import OpenVino, load_openvino
from edge.errors import BackendError
from edge.manifest import Precision
from tests.edge.test_backends import outside_weights, small_model
from tests.tiny import COLOURS, infer, make_graph, solid

LABELS = tuple(COLOURS)
SHAPE = (32, 32, 3)


def graph(model: bytes, precision: Precision = Precision.FP32, shape: tuple[int, int, int] = SHAPE) -> Graph:
    return Graph(f"model.{precision.value}.onnx", precision, model, shape)


def opened(asked: Graph, threads: int = 1) -> OpenVino:
    backend = open_graph(asked, "openvino", Options(threads=threads))
    assert isinstance(backend, OpenVino)
    return backend


def compiled(backend: OpenVino) -> Any:
    return backend._request.get_compiled_model()


@pytest.mark.parametrize("strangeness", [False, True])
@pytest.mark.parametrize("images", [1, 2, 3, 9])
def test_answers_as_onnx_runtime_does(images: int, strangeness: bool) -> None:
    model = make_graph(LABELS, 32, strangeness=strangeness)
    batch = np.random.default_rng(images).integers(0, 256, (images, *SHAPE)).astype(np.uint8)
    expected = infer(model, batch)
    with opened(graph(model)) as backend:
        got = backend.infer(batch)
        assert backend.info.strangeness == strangeness
    assert got.probabilities.dtype == np.float32
    assert got.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    if expected.strangeness is None:
        assert got.strangeness is None
    else:
        assert got.strangeness is not None
        assert got.strangeness.shape == (images,)
        assert got.strangeness == pytest.approx(expected.strangeness, abs=1e-4)


def test_an_answer_is_kept_when_the_next_one_comes() -> None:
    with opened(graph(make_graph(LABELS, 32, strangeness=True))) as backend:
        first = backend.infer(solid("red")[None])
        told = first.probabilities.copy(), np.copy(first.strangeness)
        backend.infer(solid("blue")[None] // 3)
    assert np.array_equal(first.probabilities, told[0])
    assert np.array_equal(first.strangeness, told[1])


def test_pictures_in_any_memory_are_read_as_they_look() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    batch[..., 0] = 0
    with opened(graph(make_graph(LABELS, 32))) as backend:
        own = backend.allocate(2)
        own[...] = batch[..., ::-1]
        expected = backend.infer(own).probabilities
        assert np.array_equal(backend.infer(batch[..., ::-1]).probabilities, expected)
        assert not np.allclose(backend.infer(batch).probabilities, expected)


def test_says_what_really_runs() -> None:
    model = make_graph(LABELS, 32)
    with opened(graph(model)) as backend:
        info = backend.info
        assert compiled(backend).get_property("ENABLE_CPU_PINNING") is False
    assert (info.name, info.provider, info.threads) == ("openvino", "OpenVINO CPU", 1)
    assert (info.file, info.precision, info.megabytes) == ("model.fp32.onnx", Precision.FP32, len(model) / 1e6)
    assert info.versions[0][0] == "openvino"
    assert load_openvino().__version__.startswith(info.versions[0][1] + "-")
    assert info.device


@pytest.mark.parametrize("threads", [0, 1, 1000])
def test_threads_are_those_asked_for_or_all_there_are(threads: int) -> None:
    with opened(graph(make_graph(LABELS, 32)), threads) as backend:
        got = compiled(backend).get_property("INFERENCE_NUM_THREADS")
        assert backend.info.threads == (got if threads else 0)
    assert got == 1 if threads == 1 else 1 <= got <= (os.cpu_count() or 1)
    asked = openvino._settings(Precision.FP32, threads, ())
    assert asked.get("INFERENCE_NUM_THREADS", 0) == threads  # where there is only one core, all are the same


def test_another_precision_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if "FP16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU computes in fp16")
    # What it does not have it replaces by what it has, in silence.
    monkeypatch.setattr(openvino, "_settings", lambda *_: {"INFERENCE_PRECISION_HINT": "f16"})
    with pytest.raises(BackendError, match=r"compute model.fp32.onnx in f16, got (bf16|f32): take --backend"):
        opened(graph(make_graph(LABELS, 32)))


@pytest.mark.parametrize(
    ("precision", "has", "expected"),
    [
        (Precision.FP32, ("BF16", "FP16", "FP32"), "f32"),
        (Precision.INT8, ("BF16", "FP16", "INT8"), "f32"),
        (Precision.FP16, ("BF16", "FP16", "FP32"), "f16"),
        (Precision.FP16, ("BF16", "FP32"), "f32"),
    ],
)
def test_fp16_is_for_fp16_graphs_on_cpus_that_have_it(
    precision: Precision, has: tuple[str, ...], expected: str
) -> None:
    assert openvino._settings(precision, 1, has)["INFERENCE_PRECISION_HINT"] == expected


class TestRefusal:
    @pytest.mark.parametrize("model", [b"", b"no graph", bytes(1000)], ids=["empty", "text", "zeros"])
    def test_bytes_that_are_no_graph(self, model: bytes) -> None:
        with pytest.raises(BackendError, match=r"^model.fp32.onnx does not load") as caught:
            opened(graph(model))
        assert "\n" not in str(caught.value)

    def test_a_truncated_graph(self) -> None:
        whole = make_graph(LABELS, 32)
        for kept in (len(whole) // 4, len(whole) // 2, len(whole) - 1):
            with pytest.raises(BackendError):
                opened(graph(whole[:kept]))

    @pytest.mark.parametrize(
        "model",
        [
            small_model([("images", TensorProto.UINT8)]),
            small_model([("image", TensorProto.FLOAT)]),
            small_model([("image", TensorProto.UINT8)], "logits"),
        ],
        ids=["input name", "input type", "output name"],
    )
    def test_a_graph_with_another_contract(self, model: bytes) -> None:
        with pytest.raises(BackendError, match=r"expected .*'image'.*'probabilities'.*: export the run again"):
            opened(graph(model))

    def test_a_graph_of_another_size(self) -> None:
        # OpenVINO would reshape it, and answer.
        with pytest.raises(BackendError, match=r"takes \[.*16,16,3\]; the manifest says \[1, 32, 32, 3\]"):
            opened(graph(make_graph(LABELS, 16)))

    def test_weights_in_another_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        weights = np.ones((3, 3), dtype=np.float32).tobytes()
        (tmp_path / "weights.bin").write_bytes(weights)
        with pytest.raises(BackendError, match=r"model.fp32.onnx keeps weights in another file"):
            opened(graph(outside_weights("weights.bin", len(weights))))

    @pytest.mark.parametrize(
        "batch",
        [
            np.zeros((1, *SHAPE), dtype=np.float32),
            np.zeros(SHAPE, dtype=np.uint8),
            np.zeros((1, 32, 31, 3), dtype=np.uint8),
            np.zeros((1, 1, 1, 3), dtype=np.uint8),
            np.zeros((0, *SHAPE), dtype=np.uint8),
        ],
        ids=lambda batch: f"{batch.dtype}{batch.shape}",
    )
    def test_another_batch(self, batch: np.ndarray) -> None:
        with opened(graph(make_graph(LABELS, 32))) as backend, pytest.raises(BackendError) as caught:
            backend.infer(batch)
        assert f"batch is {batch.dtype} {list(batch.shape)}; expected uint8 [n, 32, 32, 3]" in str(caught.value)

    def test_after_close_and_close_may_come_twice(self) -> None:
        backend = opened(graph(make_graph(LABELS, 32)))
        backend.close()
        backend.close()
        with pytest.raises(BackendError, match=r"OpenVINO CPU failed on model.fp32.onnx"):
            backend.infer(solid("red")[None])

    def test_a_library_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(__version__="2021.4"))
        with pytest.raises(
            BackendError, match=r"OpenVINO 2021.4 .*: pip install --upgrade 'binsight\[openvino\]'"
        ):
            opened(graph(make_graph(LABELS, 32)))


PROGRAM = """
import sys
from pathlib import Path
if sys.argv[2:]:
    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name == "openvino":
                raise ImportError("No module named openvino")
    sys.meta_path.insert(0, Blocker())
from edge.backends import Graph, open_graph
from edge.errors import BackendError
from edge.manifest import Precision
try:
    graph = Graph("model.onnx", Precision.FP32, Path(sys.argv[1]).read_bytes(), (32, 32, 3))
    print(open_graph(graph, "openvino").infer(graph and __import__("numpy").zeros((1, 32, 32, 3), "uint8")))
except BackendError as error:
    print(error)
print("openvino_telemetry" in sys.modules)
import openvino_telemetry
"""


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Open a graph in a new process that has an empty home and a telemetry package which says so."""
    (tmp_path / "home").mkdir()
    package = tmp_path / "packages" / "openvino_telemetry"
    (package / "backend").mkdir(parents=True)
    (package / "__init__.py").write_text("print('TELEMETRY')\nclass Telemetry: pass\n")
    (package / "backend" / "__init__.py").write_text("backend_ga4 = None\n")
    (tmp_path / "model.onnx").write_bytes(make_graph(LABELS, 32))
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "XDG_CACHE_HOME")}
    environment["HOME"] = str(tmp_path / "home")
    environment["PYTHONPATH"] = os.pathsep.join(
        (str(tmp_path / "packages"), str(Path.cwd()), os.environ.get("PYTHONPATH", ""))
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, tmp_path / "model.onnx", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_nobody_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    done = run(tmp_path)
    # Whoever wants the package afterwards gets it.
    answered, imported, later = done.stdout.splitlines()
    assert answered.startswith("Answers(probabilities=array")
    assert (imported, later, done.stderr) == ("False", "TELEMETRY", "")
    assert list((tmp_path / "home").iterdir()) == []


def test_missing_library_names_the_extra(tmp_path: Path) -> None:
    said = run(tmp_path, "blocked").stdout.splitlines()[0]
    assert said == "OpenVINO is missing (No module named openvino): pip install 'binsight[openvino]'"
