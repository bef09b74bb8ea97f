"""edge-export --tensorrt: engines built and proven where there is a GPU, foretold where there is none."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.backends import Options
from edge.backends.trt import cudart as binding
from edge.bundle import Bundle, load
from edge.manifest import Verdict
from edge.proven import open_proven
from export.engines import make_engines
from tests.conftest import TinyRun
from tests.edge.fake_gpu import FakeCudart, FakeTensorRT
from tests.made import command

FILES = ["model.fp32.onnx", "model.fp16.onnx"]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    gpu = FakeCudart()
    made = FakeTensorRT(gpu)
    monkeypatch.setattr(binding, "open_library", lambda name: gpu)
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    return made


@pytest.fixture
def bundle(tiny_run: TinyRun) -> Bundle:
    return load(tiny_run.bundle)


class TestWithAGpu:
    def test_each_is_built_proven_and_kept(self, bundle: Bundle, api: FakeTensorRT, tmp_path: Path) -> None:
        options = Options(cache=tmp_path / "engines")
        made = make_engines(bundle, options)
        assert [one.file for one in made] == FILES
        assert {one.verdict for one in made} == {Verdict.PASS}
        assert not any(one.failed for one in made)
        assert api.built == 2
        with open_proven(bundle, "auto", options=options) as backend:  # as edge-run will
            assert backend.info.name == "tensorrt"
        assert api.built == 2

    def test_one_that_answers_otherwise_fails(self, bundle: Bundle, api: FakeTensorRT, tmp_path: Path) -> None:
        api.distort = lambda answers: np.roll(answers, 1, axis=1)
        made = make_engines(bundle, Options(cache=tmp_path / "engines"))
        assert all(one.failed for one in made)
        assert all(one.said.startswith("self-test failed in ") for one in made)

    def test_a_verdict_that_can_not_be_kept_is_a_failure(self, bundle: Bundle, api: FakeTensorRT) -> None:
        made = make_engines(bundle, Options())
        assert all(one.failed for one in made)
        assert all("could not be kept" in one.said for one in made)

    def test_one_that_can_not_be_built_does_not_end_the_others(
        self, bundle: Bundle, api: FakeTensorRT, tmp_path: Path
    ) -> None:
        api.fails = "out of memory"
        made = make_engines(bundle, Options(cache=tmp_path / "engines"))
        assert [(one.file, one.failed) for one in made] == [(file, True) for file in FILES]


class TestWithoutAGpu:
    @pytest.fixture(autouse=True)
    def _no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gpu = FakeCudart(driver=0)
        monkeypatch.setattr(binding, "open_library", lambda name: gpu)

    def test_it_says_what_a_device_will_do(
        self, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("tensorrt", "tensorrt_rtx"):
            monkeypatch.setitem(sys.modules, name, None)
        made = make_engines(bundle, Options(cache=tmp_path / "engines"))
        assert [(one.file, one.verdict) for one in made] == [(file, None) for file in FILES]
        assert all("TensorRT is missing" in one.said for one in made)
        assert all("edge-run builds it on a device" in one.said for one in made)
        assert not (tmp_path / "engines").exists()

    @pytest.mark.skipif(not importlib.util.find_spec("tensorrt_rtx"), reason="needs the package tensorrt-rtx")
    def test_nvidias_builder_is_asked_whether_it_takes_the_graphs(self, bundle: Bundle, tmp_path: Path) -> None:
        made = make_engines(bundle, Options(cache=tmp_path / "engines"))
        assert all("no NVIDIA driver" in one.said for one in made)
        assert all(one.said.endswith("takes the graph") for one in made)
        assert all("; the builder of tensorrt_rtx " in one.said for one in made)

    def test_a_graph_that_the_builder_refuses_is_a_failure(
        self, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refusing = FakeTensorRT(FakeCudart(driver=0), refused=frozenset({"Conv"}))
        monkeypatch.setitem(sys.modules, "tensorrt", refusing)
        made = make_engines(bundle, Options(cache=tmp_path / "engines"))
        assert all(one.failed for one in made)
        assert all("operator Conv" in one.said for one in made)


def test_the_command_tells_it(tiny_run: TinyRun, tmp_path: Path) -> None:
    arguments = ("edge-export", tiny_run.run, "-o", tmp_path / "bundle", "--tensorrt")
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    (engine,) = json.loads(done.stdout)["engines"]
    assert (engine["file"], engine["precision"]) == ("model.fp32.onnx", "fp32")
    assert engine["verdict"] in (None, "PASS")
    assert engine["said"]
