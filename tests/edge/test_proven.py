"""What may serve: the manifest's verdict where it speaks of this engine, this device's own elsewhere."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge import backends, verdicts
from edge.backends import Answers, Backend, BackendInfo, Graph, Opener, Options, onnxruntime
from edge.bundle import Bundle, load
from edge.errors import BackendError, BundleError, GoldenError
from edge.manifest import Verdict
from edge.preprocess import Pixels
from edge.proven import known, open_proven
from tests.tiny import make_bundle, with_verdict

IMAGES = 90
"""Of each label: enough for a PASS of an engine that answers the same."""


class Other:
    """Another engine: ONNX Runtime under another name, which may answer wrongly or not at all."""

    def __init__(self) -> None:
        self.wrong = False
        """All its answers are another label's."""
        self.wrong_alone = False
        """Those to single photos are, and the self-test's batch is answered right."""
        self.version = "1"
        self.asked = 0

    def open(self, graph: Graph, options: Options) -> Backend:
        backend = onnxruntime.open_cpu(graph, options)
        backend.info = replace(backend.info, name="cuda", provider="Other", versions=(("other", self.version),))
        answer = backend.infer

        def infer(batch: Pixels) -> Answers:
            self.asked += 1
            made = answer(batch)
            if self.wrong or (self.wrong_alone and len(batch) == 1):
                return Answers(np.roll(made.probabilities, 1, axis=1), made.strangeness)
            return made

        backend.infer = infer  # type: ignore[method-assign]
        return backend


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle", parity_images=IMAGES)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(cache=tmp_path / "cache")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Other:
    made = Other()
    monkeypatch.setitem(backends.OPENERS, "cuda", Opener(made.open))
    return made


def _asked(other: Other, bundle: Bundle, options: Options) -> int:
    """Open and prove it, and return how often it was asked for that."""
    before = other.asked
    with open_proven(bundle, "cuda", options=options):
        return other.asked - before


class TestTheManifests:
    def test_its_own_engine_is_not_judged_again(self, bundle: Bundle, options: Options) -> None:
        with open_proven(bundle, "onnxruntime", options=options) as backend:
            assert backend.info.name == "onnxruntime"
        assert options.cache
        assert not options.cache.exists()

    def test_fail_is_refused(self, bundle: Bundle, tmp_path: Path) -> None:
        failed = load(with_verdict(bundle, tmp_path / "failed", Verdict.FAIL, "3 points are lost"))
        with pytest.raises(BundleError, match=r"is FAIL \(3 points are lost\); take another --precision"):
            open_proven(failed, "onnxruntime")
        open_proven(failed, "onnxruntime", allow_failed=True).close()


class TestThisDevices:
    def test_an_engine_is_judged_once(
        self, bundle: Bundle, options: Options, other: Other, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            assert _asked(other, bundle, options) == 3 * IMAGES + 1
        assert "parity was not judged on this device yet" in caplog.text
        caplog.clear()
        assert _asked(other, bundle, options) == 1  # the self-test
        assert not caplog.records

    def test_another_version_or_bundle_is_judged_anew(
        self, bundle: Bundle, options: Options, other: Other, tmp_path: Path
    ) -> None:
        _asked(other, bundle, options)
        other.version = "2"
        assert _asked(other, bundle, options) > IMAGES
        other.version = "1"
        assert _asked(other, bundle, options) == 1
        renewed = make_bundle(tmp_path / "renewed", parity_images=IMAGES + 1)
        assert _asked(other, renewed, options) > IMAGES

    def test_without_a_cache_it_is_judged_every_time(self, bundle: Bundle, other: Other) -> None:
        assert _asked(other, bundle, Options()) == _asked(other, bundle, Options()) > IMAGES

    def test_a_damaged_verdict_is_found_again(
        self, bundle: Bundle, options: Options, other: Other, caplog: pytest.LogCaptureFixture
    ) -> None:
        _asked(other, bundle, options)
        assert options.cache
        (file,) = options.cache.glob("verdict-*.json")
        whole = file.read_bytes()
        file.write_bytes(whole[:-5])
        assert _asked(other, bundle, options) > IMAGES
        assert "can't be read" in caplog.text
        # What somebody copied from another device speaks of that one.
        file.write_bytes(file.read_bytes().replace(b'"Other"', b'"Else!"'))
        assert _asked(other, bundle, options) > IMAGES

    def test_a_cache_that_can_not_be_written_costs_the_verdict_alone(
        self, bundle: Bundle, other: Other, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        assert _asked(other, bundle, Options(cache=tmp_path / "file" / "cache")) > IMAGES
        assert "can't be kept" in caplog.text

    def test_a_fail_is_remembered(self, bundle: Bundle, options: Options, other: Other) -> None:
        other.wrong_alone = True
        with pytest.raises(BundleError, match="parity with PyTorch is FAIL"):
            open_proven(bundle, "cuda", options=options)
        before = other.asked
        with pytest.raises(BundleError, match="parity with PyTorch is FAIL"):
            open_proven(bundle, "cuda", options=options)
        assert other.asked == before  # neither tested nor judged again
        open_proven(bundle, "cuda", options=options, allow_failed=True).close()


def test_the_oldest_verdicts_go(bundle: Bundle, options: Options, other: Other, tmp_path: Path) -> None:
    assert options.cache
    options.cache.mkdir()
    for number in range(verdicts.MOST):
        old = options.cache / f"verdict-{number:016x}.json"
        old.write_text("{}")
        os.utime(old, (number, number))
    _asked(other, bundle, options)
    left = {path.name for path in options.cache.glob("verdict-*.json")}
    assert len(left) == verdicts.MOST
    assert f"verdict-{0:016x}.json" not in left
    assert _asked(other, bundle, options) == 1


class TestAuto:
    def test_one_that_is_refused_gives_way_and_is_named(
        self, bundle: Bundle, options: Options, other: Other, caplog: pytest.LogCaptureFixture
    ) -> None:
        other.wrong = True
        with open_proven(bundle, "auto", options=options) as backend:
            assert backend.info.name == "onnxruntime"
        assert "cuda does not serve: self-test failed in" in caplog.text

    def test_the_first_that_is_ready(self, bundle: Bundle, options: Options, other: Other) -> None:
        with open_proven(bundle, "auto", options=options) as backend:
            assert backend.info.provider == "Other"

    def test_one_that_lacks_something_is_not_tried(
        self, bundle: Bundle, options: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(graph: Graph, its: Options) -> Backend:
            raise BackendError("it was tried")

        monkeypatch.setitem(backends.OPENERS, "cuda", Opener(refuse, lacks=lambda *_: "it has no driver"))
        with caplog.at_level(logging.DEBUG), open_proven(bundle, "auto", options=options) as backend:
            assert backend.info.name == "onnxruntime"
        assert "cuda is not taken: it has no driver" in caplog.text

    def test_what_is_asked_for_is_what_runs_or_an_error(self, bundle: Bundle, other: Other) -> None:
        other.wrong = True
        with pytest.raises(GoldenError):
            open_proven(bundle, "cuda")


def test_what_is_known(bundle: Bundle, options: Options, other: Other) -> None:
    info = BackendInfo("onnxruntime", "model.fp32.onnx", bundle.manifest.recommended, "CPU", 0, ())
    found = known(bundle, info, options)
    assert found
    assert (found.verdict, found.reason) == (Verdict.PASS, "")
    assert known(bundle, replace(info, name="cuda"), options) is None
