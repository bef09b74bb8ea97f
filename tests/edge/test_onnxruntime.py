"""What ONNX Runtime is asked for, where no GPU is at hand to show it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.backends import Graph, open_graph
from edge.backends.trt import cudart
from edge.errors import BackendError
from edge.manifest import Precision
from tests.edge.fake_gpu import FakeCudart
from tests.tiny import COLOURS, make_graph

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Session:
    """An ONNX Runtime with CUDA, which remembers how it was asked for a session."""

    loads = (CUDA, CPU)
    asked: Any = None

    def __init__(self, model: bytes, options: object, providers: object) -> None:
        Session.asked = providers

    def get_providers(self) -> list[str]:
        return list(self.loads)

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image", type="tensor(uint8)")]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="probabilities", type="tensor(float)")]


class SessionOptions:
    def add_session_config_entry(self, key: str, value: str) -> None:
        pass


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = SimpleNamespace(
        __version__="1.23.0",
        InferenceSession=Session,
        SessionOptions=SessionOptions,
        __file__=str(tmp_path / "__init__.py"),
        get_available_providers=lambda: [CUDA, CPU],
        preload_dlls=lambda: print("a library was not found"),
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", module)


def graph(precision: Precision) -> Graph:
    return Graph("model.onnx", precision, make_graph(tuple(COLOURS), 32), (32, 32, 3))


@pytest.mark.parametrize("precision", Precision)
def test_cuda_multiplies_in_the_precision_of_the_graph(
    precision: Precision, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_graph(graph(precision), "cuda") as backend:
        assert backend.info.provider == CUDA
    assert capsys.readouterr().out == ""  # which belongs to --json
    assert Session.asked == [(CUDA, {"use_tf32": "0"})]


def test_the_cpu_has_no_such_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "loads", (CPU,))
    open_graph(graph(Precision.FP32), "onnxruntime").close()
    assert Session.asked == [(CPU, {})]


def test_a_fall_back_to_the_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "loads", (CPU,))
    with pytest.raises(BackendError, match=f"asked for {CUDA}, got {CPU}: .*providers_cuda.so: cannot open"):
        open_graph(graph(Precision.FP32), "cuda")


def test_the_gpu_and_its_cuda_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict of another GPU or driver speaks of something else."""
    monkeypatch.setattr(cudart, "open_library", lambda name: FakeCudart(name="Fake Orin"))
    with open_graph(graph(Precision.FP32), "cuda") as backend:
        assert backend.info.device == "Fake Orin"
        assert dict(backend.info.versions) == {"onnxruntime": "1.23.0", "cuda": "12.6", "driver": "13.0"}
