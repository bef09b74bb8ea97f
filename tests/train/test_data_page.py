from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from PIL import Image

from edge.images import Photo, Role
from edge.preprocess import glance
from edge.waste import write_dataset
from tests.made import draw
from tests.pages import Elements, assert_asks_nothing_of_others
from train.dataset.examine import Broken, Examined, Record, Sample
from train.dataset.findings import Finding, Kind
from train.dataset.survey import Survey, survey
from train.report import thumbs
from train.report.data_json import as_json
from train.report.data_page import write_report
from train.report.gallery import FILES, FINDINGS, choose_findings, choose_samples
from train.report.kinds import ABOUT
from train.report.spread import spread_of_brightness, spread_of_size
from train.report.strips import STRIPS, chart_of_brightness, chart_of_size
from train.report.tally import tally
from train.report.templates import in_bytes
from train.report.thumbs import MOST_BYTES, SIDE, draw_thumbs

NASTY = "<u>&\"'"
RECORD = Record(
    sha256="0" * 64,
    key="1" * 32,
    bytes=2_345,
    width=64,
    height=48,
    format="JPEG",
    frames=1,
    grey=False,
    camera="",
    colour=(90.0, 100.0, 110.0),
    brightness=100.0,
    contrast=40.0,
)


def sample(root: Path, name: str, record: Record = RECORD) -> Sample:
    *_, label, _ = name.split("/")
    first = name.split("/", maxsplit=1)[0]
    role = Role(first) if first in ("train", "val", "test") else None
    return Sample(Photo(root / name, name, label, role), record)


def survey_of(
    root: Path, names: Iterable[str], findings: Iterable[Finding] = (), broken: Iterable[Broken] = ()
) -> Survey:
    samples = tuple(sample(root, name) for name in sorted(names))
    broken = tuple(broken)
    labels = sorted({one.photo.label for one in samples} | {one.label for one in broken})
    examined = Examined(root, tuple(labels), samples, broken, np.zeros((len(samples), 32, 32), dtype=np.uint8))
    return Survey(examined, (), tuple(findings))


def with_records(found: Survey, records: Iterable[Record]) -> Survey:
    samples = tuple(replace(one, record=it) for one, it in zip(found.examined.samples, records, strict=True))
    return replace(found, examined=replace(found.examined, samples=samples))


def write_photo(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", draw("disc", seed))[1].tobytes())


NAMES = tuple(
    f"{role}/{label}/{number}.jpg" for role in ("train", "test") for label in "ab" for number in range(6)
)


@pytest.fixture
def planted(tmp_path: Path) -> Survey:
    """24 photos in two classes and two splits, a broken one, and a finding of each kind."""
    root = tmp_path / "photos"
    for seed, name in enumerate(NAMES):
        write_photo(root / name, seed)
    broken = Broken("train/a/cut.jpg", "a", Role.TRAIN, "it is truncated")
    groups = {
        Kind.UNREADABLE: ("train/a/cut.jpg",),
        Kind.LABEL_CONFLICT: ("train/a/0.jpg", "train/b/0.jpg"),
        Kind.SPLIT_LEAK: ("test/a/1.jpg", "train/a/1.jpg"),
        Kind.DUPLICATE: ("train/b/1.jpg", "train/b/2.jpg", "train/b/3.jpg"),
        Kind.SHORTCUT: (),
        Kind.IMBALANCE: (),
    }
    every = [
        Finding(kind, groups.get(kind, (NAMES[at],)), f"detail of {kind.value}") for at, kind in enumerate(Kind)
    ]
    return survey_of(root, NAMES, every, [broken])


def write(found: Survey, folder: Path, data: str = "photos.zip") -> str:
    write_report(folder, found, data, f"edge-data {data}")
    return (folder / "report.html").read_text(encoding="utf-8")


class TestPage:
    def test_names_every_file_and_tells_every_finding(self, planted: Survey, tmp_path: Path) -> None:
        text = Elements(write(planted, tmp_path)).text.split("What edge-train does with them")[1]
        for finding in planted.findings:
            assert finding.detail in text
            for name in finding.files:
                assert name in text, finding

    def test_shows_the_pictures_of_a_finding_side_by_side(self, planted: Survey, tmp_path: Path) -> None:
        html = write(planted, tmp_path)
        section = html[html.index('id="duplicate"') :].split("</section>")[0]
        shown = Elements(section).all("img")
        assert [image["alt"] for image in shown] == ["train/b/1.jpg", "train/b/2.jpg", "train/b/3.jpg"]
        for image, number in zip(shown, (1, 2, 3), strict=True):
            data = base64.b64decode((image["src"] or "").removeprefix("data:image/jpeg;base64,"))
            drawn = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
            original = np.asarray(Image.open(planted.examined.root / f"train/b/{number}.jpg")).astype(int)
            assert np.abs(drawn - original).mean() < 6, number

    def test_says_class_and_split_where_they_matter(self, planted: Survey, tmp_path: Path) -> None:
        html = write(planted, tmp_path)
        for kind, tags in (("label_conflict", ["a", "b"]), ("split_leak", ["test", "train"]), ("tiny", [])):
            section = html[html.index(f'id="{kind}"') :].split("</section>")[0]
            assert re.findall(r"<b>(.*?)</b>", section) == tags

    def test_explains_every_kind_and_what_training_does(self, planted: Survey, tmp_path: Path) -> None:
        html = write(planted, tmp_path)
        text = Elements(html).text
        assert set(ABOUT) == set(Kind)
        for kind, about in ABOUT.items():
            assert f'id="{kind.value}"' in html
            for words in (about.meaning, about.advice, about.training[1:]):
                assert words in text, kind

    def test_numbers_and_verdict(self, planted: Survey, tmp_path: Path) -> None:
        text = Elements(write(planted, tmp_path)).text
        assert (
            "3 findings would spoil training: 1 picture in more than one class, 1 picture in more than one split, "
            "1 class with too few photos" in text
        )
        assert "Photos 25" in text
        assert "Would spoil training 3" in text
        assert "Imbalance 1.0 : 1" in text
        assert "Fit to train" not in text

    def test_fit_to_train_on(self, planted: Survey, tmp_path: Path) -> None:
        some = replace(planted, findings=(Finding(Kind.TINY, (NAMES[0],), "small"),))
        text = Elements(write(some, tmp_path)).text
        assert "Fit to train on. Nothing here would spoil training; 1 finding is worth a look." in text
        text = Elements(write(replace(planted, findings=()), tmp_path)).text
        assert "Fit to train on. Nothing was found that should worry you." in text
        assert re.search(r"Tiny pictures\s*none", text)
        assert ABOUT[Kind.SUSPECT_LABEL].many not in text.lower(), "only a trained network looks for these"

    def test_counts_what_can_t_be_read(self, tmp_path: Path) -> None:
        broken = [Broken(f"b/{number}.jpg", "b", None, "empty") for number in range(3)]
        findings = [Finding(Kind.UNREADABLE, (one.name,), one.reason) for one in broken]
        html = write(survey_of(tmp_path, ["a/1.jpg", "b/x.jpg"], findings, broken), tmp_path / "out")
        text = Elements(html).text
        assert "3 findings would spoil training: 3 files that can't be read." in text
        assert html.count(">can't be read</span>") == 3 + 2, "of findings, and of samples that are gone by now"
        assert "Can't be read 3" in text
        rows = re.findall(r"<td[^>]*>(\d[\d.]*)</td>", html[: html.index("Samples")])
        assert rows == ["1", "20.0", "0", "4", "80.0", "3"], "photos, share, can't be read"

    def test_links_lead_somewhere(self, planted: Survey, tmp_path: Path) -> None:
        page = Elements(write(planted, tmp_path))
        places = {attributes.get("id") for _, attributes in page.found}
        targets = {(link["href"] or "").removeprefix("#") for link in page.all("a")}
        assert {"label_conflict", "split_leak", "grey"} <= targets <= places

    def test_asks_nothing_of_others(self, planted: Survey, tmp_path: Path) -> None:
        assert_asks_nothing_of_others(write(planted, tmp_path))

    def test_escapes_every_text(self, planted: Survey, tmp_path: Path) -> None:
        files = (f"{NASTY}/{NASTY}1.jpg", f"{NASTY}/{NASTY}2.jpg")
        write_photo(tmp_path / files[0])
        found = survey_of(
            tmp_path,
            [*files, "b/1.jpg"],
            [Finding(kind, files, NASTY) for kind in Kind],
            [Broken(f"{NASTY}/{NASTY}.jpg", NASTY, None, NASTY)],
        )
        record = replace(RECORD, camera=NASTY, format=NASTY)
        html = write(with_records(found, [record, replace(record, width=9), record]), tmp_path / "out", NASTY)
        page = Elements(html)
        assert "<u>" not in html
        assert "\"'" not in html
        assert page.text.count(NASTY) > 4 * len(Kind)
        assert {image["alt"] for image in page.all("img")} == {files[0]}

    def test_takes_names_that_are_no_text(self, tmp_path: Path) -> None:
        name = "a/bad\udcff.jpg"
        html = write(survey_of(tmp_path, [name, "b/1.jpg"], [Finding(Kind.GREY, (name,), name)]), tmp_path / "out")
        assert Elements(html).text.count("bad\\udcff.jpg") == 2

    def test_says_where_the_rest_is(self, tmp_path: Path) -> None:
        names = [f"a/{number:03}.jpg" for number in range(100)]
        findings = [Finding(Kind.DUPLICATE, (one, two), "equal") for one, two in pairwise(names)]
        long = Finding(Kind.TINY, tuple(names), "tiny")
        html = write(survey_of(tmp_path, [*names, "b/1.jpg"], [*findings, long]), tmp_path / "out")
        text = Elements(html).text
        assert f"{99 - FINDINGS} more of this kind stand in report.json" in text
        assert f"and {100 - FILES} files more in report.json" in text
        assert html.count('<div class="card"') == FINDINGS + 1
        tiny = text[text.index("100 tiny pictures") :]
        assert [name for name in names if name in tiny] == names[:FILES]
        report = json.loads((tmp_path / "out" / "report.json").read_bytes())
        assert len(report["findings"]) == 100
        assert report["findings"][-1]["files"] == names

    def test_stays_small_whatever_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        names = [f"class {label:03}/{number}{'x' * 80}.png" for label in range(150) for number in range(8)]
        root = tmp_path / "photos"
        Image.fromarray(noise).save(tmp_path / "noise.png")
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(tmp_path / "noise.png", root / name)
        decoded: list[int] = []
        monkeypatch.setattr(thumbs, "glance", lambda data, side: decoded.append(len(data)) or glance(data, side))
        findings = [Finding(kind, tuple(names[at : at + 300]), "d" * 80) for kind in Kind for at in range(200)]
        html = write(survey_of(root, names, findings), tmp_path / "out")
        assert len(html) < 5_000_000
        images = Elements(html).all("img")
        assert 200 < len(images) <= 300
        assert len(decoded) == len({image["alt"] for image in images}), "each once, and none that is not shown"

    def test_is_the_same_each_time(self, planted: Survey, tmp_path: Path) -> None:
        assert write(planted, tmp_path / "1") == write(planted, tmp_path / "2")

    def test_draws_sizes_only_where_they_differ(self, tmp_path: Path) -> None:
        found = survey_of(tmp_path, ["a/1.jpg", "b/1.jpg"])
        text = Elements(write(found, tmp_path / "out")).text
        assert "Brightness, 0 to 255" in text
        assert "All photos have the same size." in text
        assert "Size, megapixels" not in text
        text = Elements(write(with_records(found, [RECORD, replace(RECORD, width=640)]), tmp_path / "out")).text
        assert "Size, megapixels" in text
        assert "the same size" not in text

    def test_nothing_can_be_read(self, tmp_path: Path) -> None:
        broken = [Broken(f"{label}/1.jpg", label, None, "empty") for label in "ab"]
        findings = [Finding(Kind.UNREADABLE, (one.name,), one.reason) for one in broken]
        text = Elements(write(survey_of(tmp_path, [], findings, broken), tmp_path / "out")).text
        assert "Samples" not in text
        assert "Size and brightness" not in text

    def test_one_class(self, tmp_path: Path) -> None:
        text = Elements(write(survey_of(tmp_path, ["a/1.jpg"]), tmp_path / "out")).text
        assert "One class only." in text
        assert "Fit to train on" not in text

    def test_of_a_real_survey(self, tmp_path: Path) -> None:
        write_dataset(tmp_path / "photos", per_class=4, seed=1, size=96)
        classes = sorted(folder.name for folder in (tmp_path / "photos").iterdir())
        original = tmp_path / "photos" / classes[0] / f"{classes[0]}_0001.jpg"
        (tmp_path / "photos" / classes[1] / "also.jpg").write_bytes(original.read_bytes())
        html = write(survey(tmp_path / "photos", tmp_path / "cache"), tmp_path / "out")
        section = html[html.index('id="label_conflict"') :].split("</section>")[0]
        assert f"{classes[1]}/also.jpg" in Elements(section).text
        assert len(Elements(section).all("img")) == 2


class TestWriting:
    def test_makes_the_folder_and_replaces_what_lies_there(self, planted: Survey, tmp_path: Path) -> None:
        write(planted, tmp_path / "a" / "b", "first.zip")
        html = write(planted, tmp_path / "a" / "b", "second.zip")
        assert "second.zip" in html
        assert "first.zip" not in html
        assert sorted(file.name for file in (tmp_path / "a" / "b").iterdir()) == ["report.html", "report.json"]

    @pytest.mark.parametrize("folder", ["file", "file/below"])
    def test_folder_that_can_t_be_made(self, folder: str, planted: Survey, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OSError, match="file"):
            write_report(tmp_path / folder, planted, "photos.zip", "edge-data")

    def test_file_that_can_t_be_written(self, planted: Survey, tmp_path: Path) -> None:
        (tmp_path / "report.html" / "x").mkdir(parents=True)
        with pytest.raises(OSError, match=r"report\.html"):
            write_report(tmp_path, planted, "photos.zip", "edge-data")
        assert {file.name for file in tmp_path.iterdir()} == {"photos", "report.html"}, "no temporary file is left"


class TestJson:
    def test_contract(self, planted: Survey, tmp_path: Path) -> None:
        write(planted, tmp_path)
        report = json.loads((tmp_path / "report.json").read_bytes())
        assert report == as_json(planted, "photos.zip")
        assert report["data"] == "photos.zip"
        assert report["images"] == 25
        assert report["unreadable"] == 1
        assert report["classes"] == {"a": 13, "b": 12}
        assert report["readable"] == {"a": 12, "b": 12}
        assert report["splits"] == {"train": {"a": 7, "b": 6}, "test": {"a": 6, "b": 6}}
        assert report["imbalance_ratio"] == 1.0
        assert report["spoiling"] == 3
        assert [one["kind"] for one in report["findings"]] == [kind.value for kind in Kind]
        assert report["findings"][1] == {
            "kind": "label_conflict",
            "files": ["train/a/0.jpg", "train/b/0.jpg"],
            "detail": "detail of label_conflict",
        }
        assert sum(report["distributions"]["brightness"]["classes"]["a"]) == 12

    def test_not_split_and_a_class_without_photos(self, tmp_path: Path) -> None:
        found = survey_of(tmp_path, ["a/1.jpg"], (), [Broken("b/1.jpg", "b", None, "empty")])
        report = as_json(found, "x")
        assert report["classes"] == {"a": 1, "b": 1}
        assert report["readable"] == {"a": 1, "b": 0}
        assert report["splits"] == {}
        assert report["imbalance_ratio"] is None

    def test_strict_readers_take_names_that_are_no_text(self, tmp_path: Path) -> None:
        name = "\udcfe/bad\udcff\n\x01.jpg"
        write(survey_of(tmp_path, [name, "é/1.jpg"], [Finding(Kind.GREY, (name,), name)]), tmp_path / "out")
        report = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes())
        assert report["findings"][0]["files"] == ["\\udcfe/bad\\udcff\n\x01.jpg"]
        assert set(report["classes"]) == {"\\udcfe", "é"}


class TestTally:
    def test_what_the_files_are(self, tmp_path: Path) -> None:
        found = survey_of(tmp_path, ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"])
        camera = replace(RECORD, camera="ACME 1", format="PNG", width=100)
        its = tally(with_records(found, [camera, camera, RECORD, RECORD]).examined)
        assert its.formats == {"PNG": 2, "JPEG": 2}
        assert its.sizes == {"100x48": 2, "64x48": 2}
        assert its.cameras == {"ACME 1": 2}
        assert its.imbalance == 3.0
        assert its.bytes == 4 * RECORD.bytes

    @pytest.mark.parametrize(
        ("number", "text"),
        [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (9_960, "10 kB"), (2.35e6, "2.4 MB"), (4e12, "4,000.0 GB")],
    )
    def test_bytes(self, number: float, text: str) -> None:
        assert in_bytes(number) == text.replace(" ", "\N{NO-BREAK SPACE}")


class TestGallery:
    def test_samples_are_evenly_spaced(self, tmp_path: Path) -> None:
        names = [f"a/{number:03}.jpg" for number in range(100)]
        chosen = choose_samples(survey_of(tmp_path, [*names, "b/1.jpg"]).examined)
        assert [one.photo.name for one in chosen["a"]] == [names[at] for at in (0, 14, 28, 42, 56, 70, 84, 99)]
        assert [one.photo.name for one in chosen["b"]] == ["b/1.jpg"]

    @pytest.mark.parametrize(("classes", "each"), [(1, 8), (15, 8), (16, 7), (60, 2), (61, 1), (120, 1), (500, 1)])
    def test_samples_are_few(self, classes: int, each: int, tmp_path: Path) -> None:
        names = [f"{label:03}/{number}.jpg" for label in range(classes) for number in range(9)]
        chosen = choose_samples(survey_of(tmp_path, names).examined)
        assert {len(its) for its in chosen.values()} == {each}
        assert len(chosen) == min(classes, 120)
        assert next(iter(chosen)) == "000"
        assert list(chosen)[-1] == f"{classes - 1:03}"

    def test_every_kind_gets_its_share(self, tmp_path: Path) -> None:
        names = [f"a/{number:03}.jpg" for number in range(90)]
        findings = [Finding(Kind.DUPLICATE, (one, two), "") for one, two in pairwise(names)]
        findings += [Finding(Kind.TINY, tuple(names), ""), Finding(Kind.GREY, tuple(names[:3]), "")]
        sections = choose_findings(findings, survey_of(tmp_path, names).examined, room=24)
        assert [sum(len(card.shown) for card in section.cards) for section in sections] == [10, 10, 3]
        assert [len(card.shown) for card in sections[0].cards] == [2] * 5 + [0] * 15
        assert [len(section.cards) + section.more for section in sections] == [89, 1, 1]
        for section in sections:
            for card in section.cards:
                assert len(card.shown) + len(card.named) <= FILES

    def test_no_group_of_one_picture(self, tmp_path: Path) -> None:
        findings = [Finding(Kind.DUPLICATE, (f"a/{at}.jpg", f"a/{at + 1}.jpg"), "") for at in range(3)]
        sections = choose_findings(findings, survey_of(tmp_path, []).examined, room=5)
        assert [len(card.shown) for card in sections[0].cards] == [2, 2, 0]

    def test_no_picture_of_what_is_none(self, tmp_path: Path) -> None:
        names = tuple(f"a/{number}.heic" for number in range(3))
        findings = [Finding(Kind.IGNORED, names, "3 files are not looked at")]
        sections = choose_findings(findings, survey_of(tmp_path, []).examined, room=9)
        assert sections[0].title == "3 files that were not looked at"
        assert [tile.name for tile in sections[0].cards[0].named] == list(names)
        assert sections[0].cards[0].shown == ()

    def test_says_why_a_file_can_t_be_read_unless_the_finding_does(self, tmp_path: Path) -> None:
        broken = [Broken("a/1.jpg", "a", None, "cut short")]
        examined = survey_of(tmp_path, [], (), broken).examined
        for detail, facts in (("1 file", "cut short"), ("it is cut short", "")):
            sections = choose_findings([Finding(Kind.UNREADABLE, ("a/1.jpg",), detail)], examined, room=9)
            assert sections[0].cards[0].shown[0].facts == facts


class TestSpread:
    def test_counts(self, tmp_path: Path) -> None:
        found = survey_of(tmp_path, ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"])
        records = [
            replace(RECORD, brightness=level, width=width, height=10)
            for level, width in ((0, 1), (6.4, 10), (255, 50), (128, 100))
        ]
        samples = with_records(found, records).examined.samples
        light = spread_of_brightness(samples, ("a", "b", "c"))
        assert [int(at) for at in np.flatnonzero(light.counts["a"])] == [0, 1, 39]
        assert [int(at) for at in np.flatnonzero(light.counts["b"])] == [20]
        assert light.medians == {"a": 6.4, "b": 128}
        assert light.counts["c"].sum() == 0
        size = spread_of_size(samples, ("a", "b"))
        assert size.edges[0] == pytest.approx(1e-5)
        assert size.edges[-1] == pytest.approx(1e-3)
        assert [int(at) for at in np.flatnonzero(size.counts["a"])] == [0, 20, 33]
        assert [int(at) for at in np.flatnonzero(size.counts["b"])] == [39]

    def test_equal_sizes_have_an_axis(self, tmp_path: Path) -> None:
        samples = survey_of(tmp_path, ["a/1.jpg", "b/1.jpg"]).examined.samples
        size = spread_of_size(samples, ("a", "b"))
        assert size.edges[-1] / size.edges[0] == pytest.approx(1.5)
        assert int(size.counts["a"].argmax()) == 20

    def test_draws_the_classes_that_differ_most(self, tmp_path: Path) -> None:
        found = survey_of(tmp_path, [f"{label:03}/{number}.jpg" for label in range(60) for number in range(3)])
        odd = {7, 33, 59}
        records = [replace(RECORD, brightness=200.0 if at // 3 in odd else 100.0 + at % 2) for at in range(180)]
        examined = with_records(found, records).examined
        chart = chart_of_brightness(spread_of_brightness(examined.samples, examined.labels))
        shown = [strip.label for strip in chart.strips]
        assert len(shown) == STRIPS
        assert shown == sorted(shown)
        assert {"007", "033", "059"} <= set(shown)
        assert chart.classes == 60
        strip = chart.strips[shown.index("033")]
        assert strip.median == "200"
        assert strip.shape.count("V0H") == 1, "all in one bin, at full height"

    def test_marks_sizes_in_round_numbers(self, tmp_path: Path) -> None:
        found = survey_of(tmp_path, ["a/1.jpg", "b/1.jpg"])
        for sides, marks in (
            (((1000, 100), (1000, 1000)), ["0.1", "0.2", "0.5", "1"]),
            (((8, 8), (10000, 9000)), ["0.0001", "0.001", "0.01", "0.1", "1", "10"]),
            (((620, 500), (630, 500)), ["0.26", "0.38"]),
        ):
            records = [replace(RECORD, width=width, height=height) for width, height in sides]
            examined = with_records(found, records).examined
            chart = chart_of_size(spread_of_size(examined.samples, examined.labels))
            assert [tick.text for tick in chart.ticks] == marks
            assert all(0 <= tick.share <= 1.0001 for tick in chart.ticks)


class TestThumbs:
    @pytest.mark.parametrize(
        ("size", "small"),
        [((640, 480), (160, 120)), ((10, 900), (2, 160)), ((30, 20), (30, 20)), ((3000, 2), (160, 1))],
    )
    def test_size(self, size: tuple[int, int], small: tuple[int, int], tmp_path: Path) -> None:
        Image.new("RGB", size, "teal").save(tmp_path / "p.png")
        thumb = draw_thumbs([tmp_path / "p.png"])[tmp_path / "p.png"]
        assert (thumb.width, thumb.height) == small
        assert max(small) <= SIDE
        with Image.open(io.BytesIO(base64.b64decode(thumb.source.partition(",")[2]))) as image:
            assert (image.format, image.size) == ("JPEG", small)

    def test_noise_fits_too(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
        Image.fromarray(noise[:160, :160]).save(tmp_path / "p.png")
        thumb = draw_thumbs([tmp_path / "p.png"])[tmp_path / "p.png"]
        assert len(base64.b64decode(thumb.source.partition(",")[2])) <= MOST_BYTES

    def test_what_can_t_be_decoded_is_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "empty.jpg").touch()
        write_photo(tmp_path / "good.jpg")
        paths = [tmp_path / name for name in ("empty.jpg", "gone.jpg", "good.jpg", "good.jpg")]
        assert list(draw_thumbs(paths)) == [tmp_path / "good.jpg"]
