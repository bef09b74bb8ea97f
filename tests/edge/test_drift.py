"""Planted drift is found, and chance is not taken for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import drift
from edge.appearance import APPEARANCE, appearance
from edge.backends import Backend, open_backend
from edge.board import Board
from edge.bundle import Bundle, write
from edge.drift import (
    CLASSES,
    CONFIDENCE,
    EACH,
    LEAST_OWN,
    LEAST_PHOTOS,
    LEAST_WINDOW,
    MOST_OWN,
    NOTHING,
    WATCHED,
    WINDOW,
    Against,
    Cut,
    DriftWatch,
    Memory,
    Rows,
    cut,
    limit,
    row_of,
    stability,
)
from edge.drift_file import DriftFile
from edge.drift_onlooker import DriftOnlooker
from edge.drift_record import DRIFT, pack
from edge.errors import BundleError
from edge.event import Event, Reporter, to_line
from edge.loop import Loop
from edge.model import Model
from edge.preprocess import Pixels, fit
from tests.edge.test_loop import Clock, Kept, Scripted
from tests.made import draw
from tests.tiny import COLOURS, make_bundle

MIX = np.array([0.19, 0.24, 0.16, 0.28, 0.09, 0.04])
RUNS, DEPOSITS = 20, 1500
SOON = 500
KEY = "a fp32"


def rows(rng: np.random.Generator, count: int, mix: np.ndarray = MIX, **moved: float) -> Rows:
    """Deposits at a bin whose network mistakes one in ten; `moved`: by how many standard deviations."""
    truth = rng.choice(len(mix), count, p=mix)
    made = rng.normal(0, 1, (count, len(WATCHED))).astype(np.float32)
    for name, by in moved.items():
        made[:, WATCHED.index(name)] += by
    made[:, 0] = np.where(rng.random(count) < 0.1, rng.integers(0, len(mix), count), truth)
    made[:, 1] = np.round(1 / (1 + np.exp(-3 - 2 * made[:, 1])), 3)
    return made


def shifted(class_: int) -> np.ndarray:
    """One class has 20 points more, which the others lose in proportion."""
    others = np.arange(len(MIX)) != class_
    mix = np.where(others, MIX * (1 - 0.2 / MIX[others].sum()), MIX + 0.2)
    assert mix.sum() == pytest.approx(1)
    return mix


def fed(watch: DriftWatch, deposits: Rows) -> int | None:
    """Return after how many deposits the first change was said; None: none was."""
    for number in range(len(deposits)):
        if watch.add(deposits[number : number + 1]):
            return number + 1
    return None


def settled(rng: np.random.Generator, own: int = MOST_OWN) -> DriftWatch:
    return DriftWatch(rows(rng, 400), Memory(rows(rng, own), rows(rng, WINDOW)))


def flagged(watch: DriftWatch) -> set[tuple[str, str]]:
    return {(one.of, one.against.value) for one in watch.drift.drifted}


class TestIndex:
    def test_it_is_the_sum_that_the_books_have(self) -> None:
        assert stability(np.array([6e5, 4e5]), np.array([4e5, 6e5])) == pytest.approx(0.4 * np.log(1.5), rel=1e-4)
        assert stability(np.array([50.0, 50.0]), np.array([500.0, 500.0])) == pytest.approx(0, abs=1e-9)
        assert np.isfinite(stability(np.array([100.0, 0.0]), np.array([0.0, 100.0])))

    @pytest.mark.parametrize("bins", [2, 5, 12])
    @pytest.mark.parametrize(("newest", "reference"), [(100, 2000), (400, 400)])
    def test_chance_passes_the_limit_as_often_as_it_says(
        self, bins: int, newest: int, reference: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drift, "CHANCE", 0.02)
        monkeypatch.setattr(drift, "MATTERS", 0.0)
        rng, shares = np.random.default_rng(bins), np.full(bins, 1 / bins)
        both = [rng.multinomial(n, shares, 4000).astype(float) for n in (reference, newest)]
        most = limit(bins, newest, reference)
        above = np.mean([stability(*pair) > most for pair in zip(*both, strict=True)])
        assert 0.01 < above < 0.03

    def test_the_limit_falls_with_more_to_go_by_but_not_below_what_matters(self) -> None:
        assert limit(5, 100, 500) > limit(5, 400, 500) > limit(5, 400, 2000)
        assert limit(5, 10**6, 10**6) == drift.MATTERS

    def test_classes_that_the_reference_hardly_has_are_counted_together(self) -> None:
        its = cut(np.array([0] * 60 + [2] * 38 + [7, 9], dtype=np.float32), named=True)
        assert its.counts.tolist() == [60, 38, 2]
        assert its.count(np.array([0, 1, 2, 2, 7, 200], dtype=np.float32)).tolist() == [1, 2, 3]

    def test_figures_are_cut_into_equal_parts_and_ties_stay_together(self) -> None:
        assert cut(np.arange(100, dtype=np.float32), named=False).counts.tolist() == [20] * 5
        sure: Cut = cut(np.array([0.5] * 10 + [0.999] * 30 + [1.0] * 60, dtype=np.float32), named=False)
        assert sure.counts.tolist() == [10, 30, 60]
        same = cut(np.full(50, 3.0, dtype=np.float32), named=False)
        assert stability(same.counts, same.count(np.full(50, 2.0, dtype=np.float32))) > 1


class TestWatch:
    def test_no_false_flag_in_20_runs_without_drift(self) -> None:
        for run in range(RUNS):
            rng = np.random.default_rng([run, 1])
            watch = DriftWatch(rows(rng, 400))
            assert fed(watch, rows(rng, DEPOSITS)) is None, (run, flagged(watch))
        assert watch.drift.own == DEPOSITS - WINDOW
        assert len(watch.drift.indices) == 2 * len(WATCHED)

    @pytest.mark.parametrize("class_", range(len(MIX)))
    def test_20_points_more_of_a_class_are_found_within_500(self, class_: int) -> None:
        for run in range(4):
            rng = np.random.default_rng([run, class_])
            watch = settled(rng)
            at = fed(watch, rows(rng, SOON, shifted(class_)))
            assert at is not None, (run, watch.drift)
            assert flagged(watch) == {(CLASSES, "itself")}

    @pytest.mark.parametrize("name", WATCHED[1:])
    def test_another_lamp_or_lens_is_found_within_200(self, name: str) -> None:
        rng = np.random.default_rng(3)
        watch = settled(rng)
        at = fed(watch, rows(rng, SOON, **{name: -1.2}))
        assert at is not None
        assert at <= 200
        for _ in range(30):
            fed(watch, rows(rng, EACH, **{name: -1.2}))
        assert flagged(watch) == {(name, "itself"), (name, "bundle")}

    def test_a_mix_other_than_that_of_the_photos_is_told_and_not_flagged(self) -> None:
        rng = np.random.default_rng(4)
        watch = DriftWatch(rows(rng, 600))
        assert fed(watch, rows(rng, 1500, shifted(5))) is None
        (told,) = (one for one in watch.drift.indices if (one.of, one.against) == (CLASSES, Against.BUNDLE))
        assert told.index > 0.2

    def test_photos_need_not_be_quite_like_the_bin(self) -> None:
        """An index of 0.09 to 450 photos is none, and one of 0.6 is."""
        for seed in range(5):
            rng = np.random.default_rng([seed, 9])
            photos = rows(rng, 450)
            assert fed(DriftWatch(photos), rows(rng, 3000, warmth=0.3)) is None
            assert fed(DriftWatch(photos), rows(rng, 500, warmth=0.8)) is not None

    def test_it_comes_and_goes_once(self) -> None:
        """What lies near the limit must not flutter: it clears at half of it."""
        rng = np.random.default_rng(5)
        watch, changes = settled(rng), []
        for moved in (0.34, 0.0):
            for _ in range(150):
                if fed(watch, rows(rng, EACH, warmth=moved)):
                    changes.append(flagged(watch))
        assert changes[-1] == set()
        assert len(changes) <= 4, changes

    def test_what_has_drifted_does_not_become_the_reference(self) -> None:
        rng = np.random.default_rng(6)
        watch = settled(rng, own=LEAST_OWN)
        for _ in range(8):
            fed(watch, rows(rng, 250, warmth=2.0))
        assert ("warmth", "itself") in flagged(watch)
        assert LEAST_OWN < watch.drift.own < LEAST_OWN + 200
        assert watch.memory.own[:, WATCHED.index("warmth")].mean() < 0.2

    def test_it_waits_until_there_is_enough_to_go_by(self) -> None:
        rng = np.random.default_rng(7)
        watch = DriftWatch(rows(rng, LEAST_PHOTOS))
        fed(watch, rows(rng, LEAST_WINDOW - EACH))
        assert watch.drift.indices == ()
        fed(watch, rows(rng, EACH))
        assert {one.against for one in watch.drift.indices} == {Against.BUNDLE}
        fed(watch, rows(rng, WINDOW + LEAST_OWN - LEAST_WINDOW))
        assert {one.against for one in watch.drift.indices} == {*Against}
        for none in (None, rows(rng, LEAST_PHOTOS - 1)):  # an old bundle, or one of few photos
            alone = DriftWatch(none, watch.memory)
            assert {one.against for one in alone.drift.indices} == {Against.ITSELF}
            assert alone.drift.photos == 0


class TestFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> DriftFile:
        return DriftFile(tmp_path / "state" / "drift.npz")

    def test_a_restart_changes_nothing(self, file: DriftFile) -> None:
        """A bin that restarts in the middle of everything says what one says that does not."""
        rng = np.random.default_rng(8)
        photos, stream = rows(rng, 400), np.concatenate((rows(rng, 960), rows(rng, 300, warmth=2.0)))
        steady, other = DriftWatch(photos), DriftWatch(photos)
        for start in range(0, len(stream), 70):
            part = stream[start : start + 70]
            assert fed(steady, part) == fed(other, part)
            file.finish(KEY, other.memory)
            memory = file.read(KEY, len(MIX))
            assert memory is not None
            other = DriftWatch(photos, memory)
            assert other.drift.drifted == steady.drift.drifted
        assert ("warmth", "itself") in flagged(other)
        assert other.memory.own.tolist() == steady.memory.own.tolist()

    def test_another_bundle_begins_anew(self, file: DriftFile) -> None:
        assert file.read(KEY, 6) is None
        file.finish(KEY, Memory(NOTHING, rows(np.random.default_rng(9), 5)))
        assert file.read("b fp32", 6) is None
        assert file.read(KEY, 6) is not None

    @pytest.mark.parametrize("what", [b"", b"PK\3\4 half a zip", b"x" * (2 << 20), "classes", "many"])
    def test_a_broken_file_is_said_and_learned_anew(
        self, file: DriftFile, tmp_path: Path, what: bytes | str, caplog: pytest.LogCaptureFixture
    ) -> None:
        its = rows(np.random.default_rng(10), WINDOW + 1 if what == "many" else 5)
        its[0, 0] = 99 if what == "classes" else 0
        file.finish(KEY, Memory(NOTHING, its))
        if isinstance(what, bytes):
            (tmp_path / "state" / "drift.npz").write_bytes(what)
        assert file.read(KEY, 6) is None
        assert "learns its deposits anew" in caplog.text

    def test_a_disk_that_takes_nothing_is_said_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "state").write_text("no folder")
        file = DriftFile(tmp_path / "state" / "drift.npz")
        for _ in range(3):
            file.finish(KEY, Memory(NOTHING, NOTHING))
        assert caplog.text.count("can't be written") == 1


class TestAppearance:
    def test_each_figure_tells_its_own(self) -> None:
        picture = cv2.resize(draw("ring", 4), (224, 224)) // 2 + 20
        plain = dict(zip(APPEARANCE, appearance(picture), strict=True))

        def of(other: Pixels) -> dict[str, float]:
            return dict(zip(APPEARANCE, appearance(other), strict=True))

        assert plain["brightness"] == pytest.approx((picture @ np.array([0.114, 0.587, 0.299])).mean(), abs=0.6)
        assert of(cv2.GaussianBlur(picture, (0, 0), 3))["sharpness"] < 0.5 * plain["sharpness"]
        warm = of((picture * np.array([0.8, 1.0, 1.2])).astype(np.uint8))
        assert warm["warmth"] > plain["warmth"] + 0.1
        dark = of((picture * 0.6).astype(np.uint8))
        assert dark["brightness"] == pytest.approx(0.6 * plain["brightness"], rel=0.02)
        assert [dark["warmth"], dark["tint"]] == pytest.approx([plain["warmth"], plain["tint"]], abs=0.01)
        assert of((picture * np.array([1.0, 1.25, 1.0])).astype(np.uint8))["tint"] > plain["tint"] + 0.1
        assert np.isfinite(appearance(np.zeros((8, 8, 3), dtype=np.uint8))).all()


def thing(rng: np.random.Generator, cast: float = 1.0) -> Pixels:
    """Draw a thing of one of the tiny bundle's colours, in no two cases the same: uint8 [40, 40, 3] BGR."""
    label = ("blue", "green", "red")[rng.integers(3)]
    levels = 0.6 * np.array(COLOURS[label]) + rng.normal(60, 12, 3)
    return np.clip(levels * (1, 1, cast) + rng.normal(0, rng.uniform(3, 9), (40, 40, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its photos are of the same kind as what `thing` draws."""
    folder = tmp_path_factory.mktemp("drift")
    plain = make_bundle(folder / "old")
    rng, photos = np.random.default_rng(11), []
    with open_backend(plain, "onnxruntime") as backend:
        for _ in range(300):
            tensor = fit(thing(rng), plain.manifest.input)
            scores = backend.infer(tensor[None]).probabilities[0]
            photos.append(row_of(int(scores.argmax()), float(scores.max()), appearance(tensor)))
    record = {backend.info.file: np.concatenate(photos)}
    return write(folder / "new", plain.manifest, {**plain.contents, DRIFT: pack(record)})


@pytest.fixture
def backend(bundle: Bundle) -> Iterator[Backend]:
    with open_backend(bundle, "onnxruntime") as backend:
        yield backend


class Bin:
    """A loop over pictures, with the onlooker on it."""

    def __init__(self, model: Model, path: Path) -> None:
        self.model, self.path = model, path
        self.board = Board("b")

    def run(self, images: list[Pixels]) -> list[Event]:
        """From start to stop. Returns what was said beside the deposits."""
        clock, sink, reporter = Clock(), Kept(), Reporter("b")
        onlooker = DriftOnlooker(lambda: self.model, self.board, reporter, DriftFile(self.path))
        loop = Loop(
            source=Scripted(images, clock, single=True), model=self.model, reporter=reporter, sinks=[sink],
            stop=threading.Event(), clock=clock, onlookers=[onlooker], board=self.board,
        )  # fmt: skip
        loop.run()
        onlooker.close()
        assert len(sink.events) >= len(images)
        return [one for one in sink.events if one.type != "binsight.deposit"]


def test_a_new_camera_is_said_through_the_loop_and_over_restarts(
    bundle: Bundle, backend: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    rng = np.random.default_rng(12)
    bin_ = Bin(Model(bundle, backend), tmp_path / "drift.npz")
    assert bin_.run([thing(rng) for _ in range(450)]) == []
    assert bin_.run([thing(rng) for _ in range(500)]) == []
    assert len(bin_.board.snapshot().drift.indices) == 2 * len(WATCHED)
    said = bin_.run([thing(rng, cast=2.0) for _ in range(430)])
    assert 1 <= len(said) < 12
    data = said[-1].data
    assert {(one.of, one.against) for one in data.indices if one.drifted} >= {("warmth", one) for one in Against}
    assert (data.bundle.version, data.photos) == (bundle.manifest.version, 300)
    assert b'"type":"binsight.drift"' in to_line(said[-1])
    assert b'"against":"itself"' in to_line(said[-1])
    assert "warmth against itself" in caplog.text
    assert bin_.run([thing(rng, cast=2.0) for _ in range(20)]) == [], "it was said before the restart"
    assert ("warmth", Against.ITSELF) in {(one.of, one.against) for one in bin_.board.snapshot().drift.drifted}


def test_another_bundle_in_the_running_bin_begins_anew(bundle: Bundle, backend: Backend, tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    bin_ = Bin(Model(bundle, backend), tmp_path / "drift.npz")
    bin_.run([thing(rng) for _ in range(120)])
    assert (bin_.board.snapshot().drift.window, bin_.board.snapshot().drift.photos) == (120, 300)
    other = make_bundle(tmp_path / "old", reject_threshold=0.1)
    with open_backend(other, "onnxruntime") as engine:
        bin_.model = Model(other, engine)
        bin_.run([thing(rng) for _ in range(30)])
    assert (bin_.board.snapshot().drift.window, bin_.board.snapshot().drift.photos) == (30, 0)


@pytest.mark.parametrize("broken", ["none", "shape", "numbers", "classes"])
def test_a_broken_reference_is_refused_before_it_serves(
    bundle: Bundle, backend: Backend, tmp_path: Path, broken: str
) -> None:
    its = rows(np.random.default_rng(14), 60, MIX[:3] / MIX[:3].sum())
    its[0, 0] = {"classes": 4}.get(broken, 3)
    its[0, 2] = np.nan if broken == "numbers" else 0
    record = {} if broken == "none" else {"model.fp32.onnx": its[:, 1:] if broken == "shape" else its}
    other = write(tmp_path / "other", bundle.manifest, {**bundle.contents, DRIFT: pack(record)})
    with pytest.raises(BundleError, match=r"drift\.npz .*export the run again"):
        Model(other, backend)
    its[0] = its[1]
    good = {**bundle.contents, DRIFT: pack({"model.fp32.onnx": its})}
    assert Model(write(tmp_path / "good", replace(bundle.manifest, name="good"), good), backend).photos is not None


def test_what_is_watched_is_named_once() -> None:
    assert (CLASSES, CONFIDENCE, *APPEARANCE) == WATCHED
    assert NOTHING.shape == (0, len(WATCHED))
