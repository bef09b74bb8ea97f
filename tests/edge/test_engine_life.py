"""An engine from its first build on: kept, refused, built again. The GPU is a fake that enforces CUDA's rules."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edge import golden
from edge.backends import Options, open_backend
from edge.backends import tensorrt as backend_module
from edge.backends.trt import cudart as binding
from edge.backends.trt.store import PLAN, Store
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError, GoldenError, Stage
from edge.manifest import Precision
from edge.proven import open_proven
from edge.serving import Serving
from tests.edge.fake_gpu import FakeCudart, FakeTensorRT
from tests.tiny import make_bundle

TENSORRT = ("onnxruntime", "tensorrt")
IMAGES = 90


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCudart]:
    gpu = FakeCudart()
    monkeypatch.setattr(binding, "open_library", lambda name: gpu)
    yield gpu
    assert not gpu.faults


@pytest.fixture
def api(cudart: FakeCudart, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    made = FakeTensorRT(cudart)
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle", runtimes=TENSORRT, parity_images=IMAGES, strangeness=True)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(cache=tmp_path / "engines")


def start(bundle: Bundle, options: Options, name: str = "tensorrt") -> str:
    """Start as a bin does, and return what serves."""
    with open_proven(bundle, name, options=options) as backend:
        return backend.info.name


def engines(options: Options) -> list[Path]:
    assert options.cache
    return sorted(options.cache.glob(f"*/{PLAN}"))


def turned(answers: np.ndarray) -> np.ndarray:
    return np.roll(answers, 1, axis=1)


class TestKept:
    def test_it_is_built_and_judged_once(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            assert start(bundle, options) == "tensorrt"
        assert [record.getMessage().partition(" of ")[0] for record in caplog.records] == [
            "building the TensorRT engine",
            "model.fp32.onnx on TensorRT: parity was not judged on this device yet; now it is",
        ]
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert start(bundle, options) == "tensorrt"
        assert not caplog.records
        assert (api.built, api.loaded) == (1, 2)

    def test_it_says_what_runs(self, bundle: Bundle, options: Options, api: FakeTensorRT) -> None:
        with open_backend(bundle, "tensorrt", options=options) as backend:
            info = backend.info
        assert (info.name, info.provider, info.device) == ("tensorrt", "TensorRT", "Fake Orin")
        assert dict(info.versions) == {"tensorrt": "10.3.0", "cuda": "12.6", "driver": "13.0"}
        assert info.megabytes == pytest.approx(engines(options)[0].stat().st_size / 1e6)
        assert info.engine.startswith(engines(options)[0].parent.name)

    def test_auto_takes_it_once_it_is_there(self, bundle: Bundle, options: Options, api: FakeTensorRT) -> None:
        assert start(bundle, options, "auto") == "onnxruntime"
        assert api.built == 0
        start(bundle, options)
        assert start(bundle, options, "auto") == "tensorrt"

    def test_without_a_cache_it_is_built_every_time(self, bundle: Bundle, api: FakeTensorRT) -> None:
        for count in (1, 2):
            assert start(bundle, Options()) == "tensorrt"
            assert api.built == count

    def test_timings_are_handed_on(self, bundle: Bundle, options: Options, api: FakeTensorRT) -> None:
        start(bundle, options)
        assert options.cache
        assert len(list(options.cache.glob("timing-*.bin"))) == 1


def test_progress_is_told_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    now = iter([0.0, 4.0, 11.0, 11.0, 12.0, 30.0, 30.0])
    progress = backend_module._Progress("model.fp32.onnx", lambda: next(now))
    with caplog.at_level(logging.INFO):
        for done in (1, 20, 30, 100):
            progress(done, 200)
    assert [text.partition(": ")[2] for text in caplog.messages] == ["10 %", "50 %"]


class TestRefusedAndBuiltAgain:
    @pytest.mark.parametrize("change", ["gpu", "version", "driver", "profile", "workspace", "bundle"])
    def test_what_is_of_something_else(
        self,
        bundle: Bundle,
        options: Options,
        cudart: FakeCudart,
        api: FakeTensorRT,
        change: str,
        tmp_path: Path,
    ) -> None:
        start(bundle, options)
        if change == "gpu":
            cudart.name = "Fake Thor"
        elif change == "version":
            api.__version__ = "10.16.2"
        elif change == "driver":
            cudart.driver = 13020
        elif change == "profile":
            options = replace(options, max_batch=4)
        elif change == "workspace":
            options = replace(options, workspace=1 << 29)
        else:
            labels = ("red", "green")
            bundle = make_bundle(tmp_path / "b", labels=labels, runtimes=TENSORRT, parity_images=2 * IMAGES)
        assert start(bundle, options) == "tensorrt"
        assert api.built == 2
        assert len(engines(options)) == 2

    @pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
    def test_what_is_damaged(
        self,
        bundle: Bundle,
        options: Options,
        api: FakeTensorRT,
        caplog: pytest.LogCaptureFixture,
        damage: str,
    ) -> None:
        start(bundle, options)
        (plan,) = engines(options)
        whole = plan.read_bytes()
        plan.write_bytes({"cut": whole[:-1], "flipped": bytes([whole[0] ^ 1]) + whole[1:], "emptied": b""}[damage])
        assert start(bundle, options) == "tensorrt"
        assert "is refused" in caplog.text
        assert api.built == 2
        assert plan.read_bytes() == whole

    def test_what_the_library_does_not_load(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its record is right, and yet it is another version's: as after an update that kept its number."""
        start(bundle, options)
        key = _key(bundle, options)
        assert options.cache
        Store(options.cache).keep(key, engines(options)[0].read_bytes()[:-1])
        assert start(bundle, options) == "tensorrt"
        assert "was kept is of no use: the engine of model.fp32.onnx does not load in TensorRT" in caplog.text
        assert api.built == 2

    def test_what_answers_otherwise_than_it_did(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, caplog: pytest.LogCaptureFixture
    ) -> None:
        start(bundle, options)
        api.distort = lambda answers: turned(answers) if api.built == 1 else answers
        assert start(bundle, options) == "tensorrt"
        assert "was kept is built again: self-test failed in" in caplog.text
        assert api.built == 2
        assert start(bundle, options) == "tensorrt"
        assert api.built == 2


class TestRefused:
    def test_one_that_answers_wrongly_never_serves(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, caplog: pytest.LogCaptureFixture
    ) -> None:
        api.distort = turned
        with pytest.raises(GoldenError, match="self-test failed in labels"):
            start(bundle, options)
        built = api.built
        with pytest.raises(BundleError, match="FAIL"):  # remembered: not built again
            start(bundle, options)
        assert api.built == built == 1
        assert start(bundle, options, "auto") == "onnxruntime"
        assert "tensorrt does not serve: model.fp32.onnx on TensorRT: parity with PyTorch is FAIL" in caplog.text

    def test_one_that_passes_the_self_test_and_fails_parity(
        self, bundle: Bundle, options: Options, api: FakeTensorRT
    ) -> None:
        asked: list[int] = []

        def later(answers: np.ndarray) -> np.ndarray:
            asked.append(len(answers))
            return turned(answers) if len(asked) > len(bundle.manifest.labels) + 1 else answers

        api.distort = later
        with pytest.raises(BundleError, match=r"on TensorRT: parity with PyTorch is FAIL \(.* certainly worse"):
            start(bundle, options)

    def test_a_graph_of_another_precision_than_it_claims(
        self, tmp_path: Path, options: Options, api: FakeTensorRT
    ) -> None:
        bundle = make_bundle(tmp_path / "b", runtimes=TENSORRT, precisions=(Precision.FP16,))
        with pytest.raises(BackendError, match="was to be fp16 and has 1 float32"):
            start(bundle, options)
        assert api.built == 0

    def test_a_builder_out_of_memory(self, bundle: Bundle, options: Options, api: FakeTensorRT) -> None:
        api.fails = "Requested amount of GPU memory could not be allocated"
        with pytest.raises(BackendError, match="could not be allocated; free memory, or lower --workspace"):
            start(bundle, options)
        assert not engines(options)
        assert start(bundle, options, "auto") == "onnxruntime"

    def test_a_graph_that_the_parser_refuses(self, bundle: Bundle, options: Options, cudart: FakeCudart) -> None:
        sys.modules["tensorrt"] = FakeTensorRT(cudart, refused=frozenset({"ReduceMean"}))
        try:
            with pytest.raises(BackendError, match="operator ReduceMean"):
                start(bundle, options)
        finally:
            del sys.modules["tensorrt"]

    def test_a_cache_that_can_not_be_written_is_said_before_anything_is_built(
        self, bundle: Bundle, api: FakeTensorRT, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(BackendError, match=r"keeps its TensorRT engines, can't be written \(.*make room"):
            start(bundle, Options(cache=tmp_path / "file" / "engines"))
        assert api.built == 0

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"driver": 0}, "no NVIDIA driver"),
            ({"driver": 11080}, "update the driver"),
            ({"devices": 0}, "no GPU"),
        ],
    )
    def test_a_machine_that_can_not(
        self,
        bundle: Bundle,
        options: Options,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        how: dict[str, int],
        words: str,
    ) -> None:
        gpu = FakeCudart(**how)  # type: ignore[arg-type]
        monkeypatch.setattr(binding, "open_library", lambda name: gpu)
        monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRT(gpu))
        with pytest.raises(BackendError, match=words):
            start(bundle, options)
        with caplog.at_level(logging.DEBUG):
            assert start(bundle, options, "auto") == "onnxruntime"
        assert "tensorrt is not taken" in caplog.text
        assert words in caplog.text
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    def test_a_gpu_without_room_costs_no_engine(
        self, bundle: Bundle, options: Options, cudart: FakeCudart, api: FakeTensorRT
    ) -> None:
        start(bundle, options)
        cudart.memory = 100
        with pytest.raises(BackendError, match="memory"):
            start(bundle, options)
        cudart.memory = 1 << 30
        assert start(bundle, options) == "tensorrt"
        assert api.built == 1

    def test_another_decoder_is_not_held_against_it(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise GoldenError("another Pillow", Stage.DECODE)

        for count in range(2):  # of a device that has none yet, and of one that has
            with monkeypatch.context() as patch:
                patch.setattr(golden, "_check_decoding", fail)
                with pytest.raises(GoldenError, match="another Pillow"):
                    start(bundle, options)
            assert start(bundle, options) == "tensorrt", count
        assert api.built == 1

    def test_a_cache_that_can_be_read_alone(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start(bundle, options)

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("edge.backends.trt.store.os.utime", refuse)
        assert start(bundle, options, "auto") == "tensorrt"

    def test_an_old_tensorrt(self, bundle: Bundle, options: Options, cudart: FakeCudart) -> None:
        old = ModuleType("tensorrt")
        old.__dict__.update(Builder=object, OnnxParser=object, __version__="8.6.1")
        sys.modules["tensorrt"], sys.modules["tensorrt_rtx"] = old, ModuleType("tensorrt_rtx")
        try:
            with pytest.raises(BackendError, match=r"tensorrt 8\.6\.1 is too old: expected 10\.3 or later"):
                start(bundle, options)
        finally:
            del sys.modules["tensorrt"], sys.modules["tensorrt_rtx"]

    def test_a_tensorrt_without_kernels_for_orin(
        self, bundle: Bundle, options: Options, cudart: FakeCudart, api: FakeTensorRT
    ) -> None:
        cudart.runtime, cudart.driver = 13000, 13000
        api.__version__ = "10.13.3.9"
        with pytest.raises(BackendError, match=r"has no kernels for Fake Orin: expected 10\.16\.1 or later"):
            start(bundle, options)
        api.__version__ = "10.16.2"
        assert start(bundle, options) == "tensorrt"


class TestServing:
    """Nothing is built in the daemon itself."""

    def _serve(self, bundle: Bundle, options: Options, name: str) -> tuple[str, bool]:
        """Return what serves, and whether an engine is built meanwhile."""
        serving = Serving(bundle, name, None, options, allow_failed=False)
        with serving.open() as backend:
            return backend.info.name, serving.maker(backend) is not None

    def test_a_bin_builds_what_it_could_have(self, bundle: Bundle, options: Options, api: FakeTensorRT) -> None:
        for name, builds in (("auto", True), ("tensorrt", True), ("onnxruntime", False)):
            assert self._serve(bundle, options, name) == ("onnxruntime", builds)
        assert api.built == 0
        start(bundle, options)
        for name in ("auto", "tensorrt"):
            assert self._serve(bundle, options, name) == ("tensorrt", False)
        assert self._serve(bundle, Options(), "auto") == ("onnxruntime", False)

    def test_nothing_is_built_where_nothing_can_be(
        self, bundle: Bundle, options: Options, cudart: FakeCudart, api: FakeTensorRT
    ) -> None:
        cudart.driver = 0
        assert self._serve(bundle, options, "auto") == ("onnxruntime", False)
        with pytest.raises(BackendError, match="no NVIDIA driver"):
            self._serve(bundle, options, "tensorrt")

    def test_a_bundle_without_a_graph_for_it(self, tmp_path: Path, options: Options, api: FakeTensorRT) -> None:
        bundle = make_bundle(tmp_path / "b")
        assert self._serve(bundle, options, "auto") == ("onnxruntime", False)

    def test_a_damaged_engine_is_built_beside_the_loop(
        self, bundle: Bundle, options: Options, api: FakeTensorRT
    ) -> None:
        start(bundle, options)
        (plan,) = engines(options)
        plan.write_bytes(plan.read_bytes()[:-1])
        assert self._serve(bundle, options, "auto") == ("onnxruntime", True)
        assert api.built == 1

    def test_so_is_one_that_went_bad(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, caplog: pytest.LogCaptureFixture
    ) -> None:
        start(bundle, options)
        api.distort = turned
        assert self._serve(bundle, options, "tensorrt") == ("onnxruntime", True)
        assert api.built == 1
        assert "TensorRT does not serve: self-test failed in" in caplog.text

    def test_a_refused_engine_is_said_and_not_built_again(
        self, bundle: Bundle, options: Options, api: FakeTensorRT, caplog: pytest.LogCaptureFixture
    ) -> None:
        api.distort = turned
        with pytest.raises(GoldenError):
            start(bundle, options)
        assert self._serve(bundle, options, "tensorrt") == ("onnxruntime", False)
        assert caplog.records[0].levelno == logging.ERROR
        assert "TensorRT does not serve" in caplog.messages[0]
        assert api.built == 1


def _key(bundle: Bundle, options: Options) -> backend_module.Key:
    from edge.backends import graph_of

    return backend_module._key(graph_of(bundle, "tensorrt"), backend_module.machine(), options)
