"""Building with NVIDIA's own builder: TensorRT-RTX builds without a GPU."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.backends import Graph
from edge.backends.trt import library as libraries
from edge.backends.trt.build import BuildSettings, build_engine
from edge.backends.trt.library import Library, load_library
from edge.errors import BackendError
from edge.manifest import Precision

SHAPE = (16, 16, 3)
SETTINGS = BuildSettings(max_batch=8)


@pytest.fixture(scope="module")
def rtx() -> Library:
    pytest.importorskip("tensorrt_rtx", reason="needs the package tensorrt-rtx", exc_type=ImportError)
    found = load_library()
    assert found.name == "tensorrt_rtx"
    return found


def made(nodes: Sequence[onnx.NodeProto], batch: int | str = "batch", side: int = 16, **constants: Any) -> Graph:
    """Return a graph from "image" to "probabilities" that runs `nodes` on "levels" [batch, 3, side, side]."""
    first = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["levels"], perm=(0, 3, 1, 2)),
    ]
    graph = helper.make_graph(
        [*first, *nodes],
        "made",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, side, side, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return Graph("model.fp32.onnx", Precision.FP32, model.SerializeToString(), SHAPE)


def honest(**options: Any) -> Graph:
    """Return a graph with one convolution."""
    nodes = [
        helper.make_node("Conv", ["levels", "weights"], ["maps"], name="only_conv"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return made(nodes, **options, weights=np.ones((3, 3, 3, 3), dtype=np.float32))


class TestLibrary:
    def test_names_what_is_missing_and_what_brings_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("tensorrt", "tensorrt_rtx"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(
            BackendError,
            match=r"(?s)TensorRT is missing \(tensorrt does not load.*tensorrt_rtx does not load.*"
            r"python3-libnvinfer.*--system-site-packages, never pip.*binsight\[tensorrt-rtx\]",
        ):
            load_library()

    def test_a_stub_counts_as_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
        with pytest.raises(BackendError, match="tensorrt has no Builder: a stub"):
            load_library()

    def test_a_library_that_does_not_load_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As NVIDIA's wheel does without its libraries."""

        def fail(name: str) -> ModuleType:
            raise OSError("libnvinfer.so.10: cannot open shared object file")

        monkeypatch.setattr(libraries.importlib, "import_module", fail)
        with pytest.raises(BackendError, match=r"tensorrt does not load: libnvinfer\.so\.10"):
            load_library()

    def test_tensorrt_comes_first_and_a_stub_gives_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("tensorrt", "tensorrt_rtx"):
            monkeypatch.setitem(sys.modules, name, _module(name))
        assert load_library().name == "tensorrt"
        monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
        found = load_library()
        assert (found.name, found.version) == ("tensorrt_rtx", "1.2.3")
        assert load_library().logger is found.logger, "only the first one of a process is heard"

    def test_the_logger_passes_on_warnings_and_errors_alone(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", _module("tensorrt"))
        found = load_library()
        assert found.last_error() == ""
        with caplog.at_level(logging.DEBUG, "edge.backends.trt"):
            for name in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
                found.logger.log(SimpleNamespace(name=name), f"{name} in\n two lines")
        assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
            ("DEBUG", "TensorRT: INTERNAL_ERROR in two lines"),
            ("DEBUG", "TensorRT: ERROR in two lines"),
            ("DEBUG", "TensorRT: WARNING in two lines"),
        ]
        assert found.last_error() == "ERROR in two lines"


def _module(name: str) -> ModuleType:
    """Return a module with as much of TensorRT as loading looks at."""
    module: Any = ModuleType(name)
    module.Builder = module.OnnxParser = module.IProgressMonitor = object
    module.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)
    module.ILogger = type("ILogger", (), {})
    module.__version__ = "1.2.3"
    return module


class TestBuild:
    def test_gives_an_engine_and_says_what_it_computes_in(self, rtx: Library) -> None:
        percents: list[tuple[int, int]] = []
        built = build_engine(honest(), rtx, SETTINGS, lambda done, total: percents.append((done, total)))
        assert len(built.plan) > 10_000
        assert (str(built.layers), built.layers.computing[0].name) == ("1 float32", "only_conv")
        assert built.timing_cache == b"", "TensorRT-RTX has none"
        assert len(percents) > 3
        assert percents == sorted(set(percents))
        assert all(0 < done <= total == 100 for done, total in percents)

    def test_the_plan_is_for_the_batches_asked_for(self, rtx: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        api = _Watched(rtx.api)
        build_engine(honest(), replace(rtx, api=api), BuildSettings(max_batch=5, workspace=1 << 26))
        assert api.shapes == [("image", (1, *SHAPE), (1, *SHAPE), (5, *SHAPE))]
        config = api.config
        assert not config.get_flag(rtx.api.BuilderFlag.TF32)
        assert config.get_memory_pool_limit(rtx.api.MemoryPoolType.WORKSPACE) == 1 << 26
        assert config.profiling_verbosity == rtx.api.ProfilingVerbosity.DETAILED
        assert api.flags == 1 << int(rtx.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    @pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
    def test_a_timing_cache_is_kept_and_a_broken_one_does_not_end_the_build(self, rtx: Library) -> None:
        """TensorRT's calls, which TensorRT-RTX still has."""
        asked = replace(rtx, name="tensorrt")
        first = build_engine(honest(), asked, SETTINGS).timing_cache
        assert len(first) > 0
        for old in (first, first[:-1], b"broken"):
            assert build_engine(honest(), asked, replace(SETTINGS, timing_cache=old)).timing_cache

    @pytest.mark.parametrize("refused", ["create", "set"])
    def test_a_timing_cache_of_another_library_is_left(self, rtx: Library, refused: str) -> None:
        api = _Watched(rtx.api, refused)
        asked = replace(rtx, name="tensorrt", api=api)
        assert build_engine(honest(), asked, replace(SETTINGS, timing_cache=b"old")).timing_cache == b"measured"
        assert api.caches[-1] == b""

    def test_a_graph_of_another_precision_than_it_claims_is_refused(self, rtx: Library) -> None:
        claims = replace(honest(), precision=Precision.FP16, file="model.fp16.onnx")
        with pytest.raises(BackendError, match=r"model.fp16.onnx was to be fp16 and has 1 float32 \(first: only"):
            build_engine(claims, rtx, SETTINGS)

    def test_too_little_workspace_says_what_to_do(self, rtx: Library) -> None:
        with pytest.raises(
            BackendError,
            match=r"built no engine of model.fp32.onnx with a workspace of 1e-06 MB and batches of up to 8: .*"
            r"within workspace limit.*; raise --workspace",
        ):
            build_engine(honest(), rtx, replace(SETTINGS, workspace=1))

    @pytest.mark.parametrize(
        ("heard", "match"),
        [
            ("no implementation for node due to insufficient workspace", "workspace; raise --workspace"),
            ("Error Code 2: OutOfMemory (requested 9 bytes)", "free memory, or lower --workspace or --max-batch"),
            (
                "Error Code 10: no implementation for node",
                "no implementation for node; take --backend onnxruntime",
            ),
            ("", "it gave no reason"),
        ],
    )
    def test_no_engine_is_told_with_what_the_logger_heard(self, rtx: Library, heard: str, match: str) -> None:
        api = _Watched(rtx.api, fails=heard, errors=rtx.logger.errors)
        with pytest.raises(BackendError, match=match):
            build_engine(honest(), replace(rtx, api=api), SETTINGS)

    def test_a_machine_without_a_driver_is_told(self, rtx: Library) -> None:
        """As TensorRT's bindings do it."""

        def no_builder(logger: Any) -> None:
            logger.errors.append("CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

        api = _Watched(rtx.api)
        api.Builder = no_builder
        with pytest.raises(BackendError, match=r"builds nothing here: CUDA initialization.* 35; .*nvidia-smi"):
            build_engine(honest(), replace(rtx, api=api), SETTINGS)


class TestInterrupted:
    def test_a_signal_ends_the_build_early(self, rtx: Library) -> None:
        told: list[int] = []
        seen = threading.Event()

        def handler(signum: int, frame: object) -> None:
            seen.set()
            raise InterruptedError("Ctrl-C")

        def interrupt(done: int, total: int) -> None:
            if len(told) == 3:
                os.kill(os.getpid(), signal.SIGUSR1)
                assert seen.wait(10)
            told.append(done)

        old = signal.signal(signal.SIGUSR1, handler)
        try:
            with pytest.raises(InterruptedError):
                build_engine(honest(), rtx, SETTINGS, interrupt)
        finally:
            signal.signal(signal.SIGUSR1, old)
        for thread in threading.enumerate():
            if thread.name.startswith("tensorrt-build"):
                thread.join(10)
        assert len(told) < 10, "of about 40"

    def test_a_fault_in_progress_is_not_swallowed(self, rtx: Library) -> None:
        calls: list[int] = []

        def fail(done: int, total: int) -> None:
            calls.append(done)
            raise ValueError("terminal gone")

        with pytest.raises(ValueError, match="terminal gone"):
            build_engine(honest(), rtx, SETTINGS, fail)
        assert len(calls) == 1


class TestRefused:
    @pytest.mark.parametrize(
        "model", [b"garbage", b"\x7f" * 40, honest().model[:200]], ids=["text", "noise", "cut"]
    )
    def test_bytes_that_are_no_graph(self, rtx: Library, model: bytes) -> None:
        with pytest.raises(BackendError, match="does not load: it is no ONNX graph"):
            build_engine(replace(honest(), model=model), rtx, SETTINGS)

    @pytest.mark.parametrize("model", [b"", b"\x00" * 40])
    def test_a_file_without_a_graph(self, rtx: Library, model: bytes) -> None:
        """The parser takes it."""
        with pytest.raises(BackendError, match=r"has the inputs \[\]"):
            build_engine(replace(honest(), model=model), rtx, SETTINGS)

    def test_a_graph_that_is_protobuf_and_no_onnx(self, rtx: Library) -> None:
        model = onnx.ModelProto.FromString(honest().model)
        model.graph.node[0].input[0] = "another"
        with pytest.raises(BackendError, match=r"model.fp32.onnx is refused by TensorRT's parser: .*another"):
            build_engine(replace(honest(), model=model.SerializeToString()), rtx, SETTINGS)

    def test_an_operator_that_there_is_not(self, rtx: Library) -> None:
        strange = made([helper.make_node("Zorro", ["levels"], ["probabilities"], name="mask", domain="don.diego")])
        with pytest.raises(BackendError, match=r"node 'mask', operator Zorro: .*Plugin not found.*; take another"):
            build_engine(strange, rtx, SETTINGS)

    def test_an_operator_in_a_form_that_the_parser_does_not_take(self, rtx: Library) -> None:
        resize = helper.make_node(
            "Resize", ["levels", "", "scales"], ["small"], name="shrink", mode="linear", antialias=1
        )
        pool = helper.make_node("ReduceMean", ["small", "axes"], ["probabilities"], keepdims=0)
        scales, axes = np.array([1, 1, 0.5, 0.5], dtype=np.float32), np.array([2, 3])
        with pytest.raises(BackendError, match=r"node 'shrink', operator Resize: .*Antialiasing is not supported"):
            build_engine(made([resize, pool], scales=scales, axes=axes), rtx, SETTINGS)

    def test_weights_in_another_file_are_never_looked_for(self, rtx: Library) -> None:
        model = onnx.ModelProto.FromString(honest().model)
        weights = model.graph.initializer[0]
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value="weights.bin")
        api = _Watched(rtx.api)
        api.Builder = None
        with pytest.raises(BackendError, match="keeps weights in another file"):
            build_engine(replace(honest(), model=model.SerializeToString()), replace(rtx, api=api), SETTINGS)

    @pytest.mark.parametrize(
        ("options", "got"), [({"batch": 1}, r"\[1, 16, 16, 3\]"), ({"side": 20}, r"\[-1, 20, 20, 3\]")]
    )
    def test_another_shape_than_the_bundles(self, rtx: Library, options: dict[str, int], got: str) -> None:
        with pytest.raises(BackendError, match=rf"takes {got}; expected \[-1, 16, 16, 3\]"):
            build_engine(honest(**options), rtx, SETTINGS)

    def test_other_outputs_than_a_bundles(self, rtx: Library) -> None:
        model = onnx.ModelProto.FromString(honest().model)
        model.graph.node[-1].output[0] = model.graph.output[0].name = "logits2"
        with pytest.raises(BackendError, match=r"logits2.*export the run again"):
            build_engine(replace(honest(), model=model.SerializeToString()), rtx, SETTINGS)


class _Watched:
    """TensorRT's module, whose builder notes what it is asked, and can refuse."""

    def __init__(self, api: Any, refused: str = "", fails: str | None = None, errors: Any = None) -> None:
        self._api = api
        self._refused = refused
        self.shapes: list[tuple[Any, ...]] = []
        self.caches: list[bytes] = []
        self.config: Any = None
        self.flags = 0
        watched = self

        class Builder(api.Builder):  # type: ignore[misc,name-defined]
            def create_network(self, flags: int) -> Any:
                watched.flags = flags
                return super().create_network(flags)

            def create_optimization_profile(self) -> Any:
                return _Profile(super().create_optimization_profile(), watched)

            def create_builder_config(self) -> Any:
                watched.config = super().create_builder_config()
                return _Config(watched.config, watched)

            def build_serialized_network(self, network: Any, config: Any) -> Any:
                if fails is not None:
                    errors.extend([fails] if fails else [])
                    return None
                return super().build_serialized_network(network, config.inner)

        self.Builder: Any = Builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)


class _Profile:
    def __init__(self, inner: Any, watched: _Watched) -> None:
        self.inner = inner
        self._watched = watched

    def set_shape(self, *shape: Any) -> None:
        self._watched.shapes.append(shape)
        self.inner.set_shape(*shape)


class _Config:
    """A builder's config, with a timing cache that the watched library may refuse."""

    def __init__(self, inner: Any, watched: _Watched) -> None:
        self.__dict__.update(inner=inner, watched=watched)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def add_optimization_profile(self, profile: _Profile) -> int:
        return int(self.inner.add_optimization_profile(profile.inner))

    def create_timing_cache(self, old: bytes) -> bytes | None:
        return None if old and self.watched._refused == "create" else old

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.watched.caches.append(cache)
        return not (cache and self.watched._refused == "set")

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"measured")
