from __future__ import annotations

import base64
import csv
import io
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.intervals import wilson
from edge.preprocess import InputSpec, Resize
from edge.scores import Scores, calibration_error, score
from tests.pages import Elements, assert_asks_nothing_of_others
from train.balance import ClassShare
from train.insight.curve import LearningCurve
from train.insight.doubling import Doubling
from train.recipe import Imbalance
from train.report.doubt import Doubt, Strangers, reliability, tolls
from train.report.doubt_figures import draw_reliability, draw_risk_coverage, draw_strangeness
from train.report.doubt_part import doubt_part, draw_doubt
from train.report.figures import draw_curve, draw_results
from train.report.page import BalancePart, CurvePart, Gallery, Page, RoleLine, Shot, SuspectPart, write_page
from train.report.rows import EpochRow, best_epoch, write_csv
from train.report.thumbs import Thumb
from train.report.views import draw_view

NAN = float("nan")
THUMB = Thumb("data:image/jpeg;base64,AAAA", 16, 12)
STRANGE = Strangers(np.linspace(0, 1, 40, dtype=np.float32), np.array([0.99] + [0.1] * 9, dtype=np.float32), 0.97)
DOUBLING = Doubling(60, 0.8, 0.841, 0.79, 0.9)
HEADER = (
    "epoch,seconds,images_per_second,learning_rate,train_loss,train_accuracy,val_loss,val_accuracy,"
    "phase,backbone_rate"
)


def row(epoch: int, val_accuracy: float = 0.5, val_loss: float = 1.0, phase: str = "all") -> EpochRow:
    return EpochRow(epoch, 12.34567, 1 / 3, 1e-4 / 3, 0.1 + 0.2, 0.875, val_loss, val_accuracy, phase, 1e-5 / 3)


def scores(labels: tuple[str, ...] = ("glass", "paper", "trash")) -> Scores:
    """10 photos: 8 right, two of paper taken for glass; no photo of the last class."""
    truth = np.array([0] * 4 + [1] * 6)
    answers = np.array([0] * 6 + [1] * 4)
    return score(truth, np.eye(len(labels), dtype=np.float32)[answers], labels)


@dataclass(frozen=True)
class Kept:
    """What a threshold keeps."""

    threshold: float | None
    bound: float = 0.3
    reached: bool = True
    priced: bool = False


@dataclass(frozen=True)
class Curve:
    """What rejection buys, where the surest half is right."""

    coverage: np.ndarray
    risk: np.ndarray
    low: np.ndarray
    high: np.ndarray


def doubt(kept: Kept = Kept(0.6), strangers: Strangers | None = STRANGE) -> Doubt:
    """10 photos: 8 right, two of paper taken for glass with 0.5 and 0.9; the first of glass is a stranger."""
    answers, confidence = np.array([0] * 6 + [1] * 4), np.array([0.95] * 4 + [0.5, 0.9] + [0.95] * 4)
    probabilities = np.full((10, 3), 0.0, dtype=np.float32)
    probabilities[:, 2] = 1 - confidence
    probabilities[np.arange(10), answers] = confidence
    before = np.full((10, 3), 0.01, dtype=np.float32)
    before[np.arange(10), answers] = 0.98
    share = np.linspace(0.1, 1, 10)
    curve = Curve(share, np.maximum(0, share - 0.8), np.zeros(10), np.minimum(1, share + 0.1))
    return Doubt(
        truth=np.array([0] * 4 + [1] * 6),
        probabilities=probabilities,
        before=before,
        answers=answers,
        scores=confidence,
        rejection=kept,
        told="accepting from 0.600 on keeps the error below 30 %",
        curve=curve,
        strangers=strangers,
    )


@pytest.fixture
def page(tmp_path: Path) -> Page:
    draw_doubt(doubt(), tmp_path)
    figures = []
    for name, size in (("matrix", (50, 40)), ("results", (900, 60))):
        Image.new("RGB", size, "teal").save(tmp_path / f"{name}.png")
        figures.append((f"The {name}", tmp_path / f"{name}.png"))
    return Page(
        title="Waste",
        command="edge-train data -o runs/waste",
        facts=(("model", "mobilenet_v2"), ("seed", "7")),
        scores=scores(),
        best_epoch=2,
        findings=("2 files were skipped.",),
        rows=(row(1, 0.5, phase="head"), row(2, 0.9), row(3, 0.8)),
        figures=tuple(figures),
        roles=(RoleLine("train", 70, "fits the weights"), RoleLine("test", 10, "judges, once")),
        balance=BalancePart(
            Imbalance.WEIGHTS, (ClassShare("glass", 60, 0.5, 60.0), ClassShare("paper", 6, 5.0, 6.0))
        ),
        mistakes=Gallery((Shot("paper/1.jpg", "test", "glass, 97 %", "labelled paper", THUMB),), 2, 10),
        suspects=SuspectPart(
            Gallery((Shot("glass/2.jpg", "val", "labelled glass", "rather paper", THUMB),), 3, 80), 0.75
        ),
        curve=CurvePart(
            "doubling the photos should help", figures[0][1], 56, (("glass", DOUBLING), ("paper", None))
        ),
        doubt=doubt_part(doubt(), ("glass", "paper", "trash"), tmp_path),
        notes=("the features come from elsewhere",),
    )


def write(page: Page, tmp_path: Path) -> str:
    write_page(tmp_path / "report.html", page)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class TestRows:
    def test_csv_has_the_header_and_gives_back_every_digit(self, tmp_path: Path) -> None:
        rows = [row(1, phase="head"), row(2, val_loss=NAN)]
        write_csv(tmp_path / "results.csv", rows)
        text = (tmp_path / "results.csv").read_bytes().decode()
        assert text.splitlines()[0] == HEADER
        assert "\r" not in text
        read = [
            EpochRow(int(epoch), *map(float, numbers), phase, float(backbone))
            for epoch, *numbers, phase, backbone in list(csv.reader(text.splitlines()))[1:]
        ]
        assert read[0] == rows[0]
        assert replace(read[1], val_loss=0) == replace(rows[1], val_loss=0)
        assert math.isnan(read[1].val_loss)

    def test_best_epoch(self) -> None:
        assert best_epoch([row(1, 0.5), row(2, 0.9), row(3, 0.8)]) == 2
        assert best_epoch([row(1, 0.9, 0.5), row(2, 0.9, 0.4), row(3, 0.9, 0.4)]) == 2
        assert best_epoch([row(1, NAN), row(2, 0.1, NAN), row(3, 0.1, 5.0)]) == 3


class TestDrawResults:
    @pytest.mark.parametrize(
        "rows",
        [
            [row(1)],
            [row(1, phase="head")],
            [row(1, phase="head"), row(2, 0.9), row(3, 0.7)],
            [row(1, NAN, NAN), row(2, NAN, NAN)],
            [replace(row(1), learning_rate=0.0)],
            [row(epoch) for epoch in range(1, 101)],
        ],
        ids=["one", "head only", "both phases", "diverged", "no learning rate", "many"],
    )
    def test_draws(self, rows: list[EpochRow], tmp_path: Path) -> None:
        draw_results(rows, tmp_path / "results.png")
        with Image.open(tmp_path / "results.png") as image:
            assert image.format == "PNG"
            assert image.size == (1320, 840)
            assert len(set(image.convert("RGB").resize((300, 200)).tobytes())) > 20

    def test_marks_the_best_epoch_and_the_end_of_the_frozen_phase(self, tmp_path: Path) -> None:
        def pixels(phase: str) -> np.ndarray:
            draw_results([row(1, 0.2, phase=phase), row(2, 0.9)], tmp_path / "r.png")
            return np.asarray(Image.open(tmp_path / "r.png").convert("RGB")).astype(int)

        orange = np.abs(pixels("all") - [0xD9, 0x77, 0x06]).sum(axis=2) < 30
        assert orange[:420, 660:].sum() > 50, "the accuracy panel has the mark"
        assert orange[:420, :660].sum() > 50, "and that of the loss"
        assert orange[420:].sum() == 0
        assert (pixels("all") != pixels("head")).any()


class TestDrawCurve:
    def test_draws_what_is_measured_and_what_is_expected(self, tmp_path: Path) -> None:
        curve = LearningCurve((50, 100, 200), (0.6, 0.7, 0.8), (0.02, 0.01, 0.01), DOUBLING, (DOUBLING,))
        draw_curve(curve, tmp_path / "curve.png")
        pixels = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB")).astype(int)
        measured = (np.abs(pixels - [0x0C, 0x34, 0x6E]).sum(axis=2) < 30).nonzero()
        expected = (np.abs(pixels - [0xD9, 0x77, 0x06]).sum(axis=2) < 30).nonzero()
        assert len(measured[0]) > 200
        assert len(expected[0]) > 100
        assert measured[1].min() < expected[1].min(), "what is expected comes later"


class TestDrawView:
    def test_shows_what_the_network_sees(self, tmp_path: Path) -> None:
        """The middle of a wide photo, whose sides are another colour."""
        picture = np.zeros((400, 800, 3), dtype=np.uint8)
        picture[:, 210:590] = (0, 200, 0)
        Image.fromarray(picture).save(tmp_path / "wide.png")
        thumb = draw_view(tmp_path / "wide.png", InputSpec(224, 224, Resize.CROP, 256))
        data = base64.b64decode(thumb.source.partition(",")[2])
        shown = np.asarray(Image.open(io.BytesIO(data)))
        assert (thumb.width, thumb.height) == (160, 160)
        assert shown.shape == (160, 160, 3)
        assert np.all(shown[..., 1] > 150)


class TestPage:
    def test_says_the_numbers(self, page: Page, tmp_path: Path) -> None:
        text = Elements(write(page, tmp_path)).text
        low, high = wilson(8, 10)
        assert f"Test accuracy 80.0 % 95 % interval: {100 * low:.1f} to {100 * high:.1f} %" in text
        assert "Best epoch 2 of 3" in text
        low, high = wilson(4, 6)
        assert f"66.7 {100 * low:.1f} to {100 * high:.1f}" in text, "recall of paper"
        assert "paper taken for glass (2)." in text
        assert "2 files were skipped." in text
        assert page.command in text

    def test_parts_come_in_order(self, page: Page, tmp_path: Path) -> None:
        text = Elements(write(page, tmp_path)).text
        parts = [
            *("Test accuracy", "Classes", "The matrix", "The results"),
            *(
                "Is it as sure",
                "What rejection buys",
                "What it takes for strangers",
                "The most confident mistakes",
            ),
            *("Labels that look wrong", "Would more photos help?", "2 files", "Fits the weights"),
            *("Balance of the classes", "Epochs", page.command),
        ]
        places = [text.index(part) for part in parts]
        assert places == sorted(places)

    def test_class_without_photos_has_no_figures(self, page: Page, tmp_path: Path) -> None:
        html = write(page, tmp_path)
        line = html[html.index("trash</td>") :].split("</tr>")[0]
        assert re.findall(r"<td>(.*?)</td>", line) == ["\N{EN DASH}"] * 3 + ["0"]

    def test_only_the_best_epoch_is_shaded(self, page: Page, tmp_path: Path) -> None:
        assert re.findall(r'class="best"><td>(\d+)', write(page, tmp_path)) == ["2"]

    def test_escapes_every_text(self, page: Page, tmp_path: Path) -> None:
        nasty = "<b>&\"'"
        html = write(
            replace(
                page,
                title=nasty,
                command=nasty,
                facts=((nasty, nasty),),
                scores=scores((nasty, "paper", "trash")),
                findings=(nasty,),
                rows=(row(1, phase=nasty),),
                figures=((nasty, page.figures[0][1]),),
                roles=(RoleLine(nasty, 1, nasty),),
                balance=BalancePart(Imbalance.NONE, (ClassShare(nasty, 1, 1, 1),)),
                mistakes=Gallery((Shot(nasty, nasty, nasty, nasty, THUMB),), 1, 1),
                suspects=SuspectPart(Gallery((Shot(nasty, nasty, nasty, nasty, THUMB),), 1, 1), 1),
                curve=CurvePart(nasty, page.figures[0][1], 1, ((nasty, DOUBLING),)),
                doubt=doubt_part(replace(doubt(), told=nasty), (nasty, "paper", "trash"), tmp_path),
                notes=(nasty,),
            ),
            tmp_path,
        )
        assert '<b>&"' not in html
        assert html.count("&lt;b&gt;&amp;&#34;&#39;") == 11 + 3 + 2 * 5 + 3 + 2
        assert ("img", nasty) in [(tag, attributes.get("alt")) for tag, attributes in Elements(html).found]

    def test_takes_a_file_name_that_is_no_text(self, page: Page, tmp_path: Path) -> None:
        assert "glass?.jpg" in write(replace(page, findings=("glass\udcff.jpg",)), tmp_path)

    def test_holds_every_figure_whole(self, page: Page, tmp_path: Path) -> None:
        images = [attributes for tag, attributes in Elements(write(page, tmp_path)).found if tag == "img"]
        names = ["The matrix", "The results", "Reliability diagram", "Risk against coverage", "Strangeness"]
        names += ["paper/1.jpg", "glass/2.jpg", "Learning curve"]
        assert [image["alt"] for image in images] == names
        files = [file for _, file in page.figures]
        for image, file in zip([*images[:2], images[7]], [*files, files[0]], strict=True):
            kind, _, data = (image["src"] or "").partition(",")
            assert kind == "data:image/png;base64"
            assert base64.b64decode(data) == file.read_bytes()

    def test_asks_nothing_of_others(self, page: Page, tmp_path: Path) -> None:
        assert_asks_nothing_of_others(write(page, tmp_path))

    def test_does_without_what_is_missing(self, page: Page, tmp_path: Path) -> None:
        text = Elements(write(replace(page, findings=(), figures=(), rows=(), facts=()), tmp_path)).text
        assert "Pictures" not in text
        assert "Nothing to report." in text

    def test_shows_mistakes_and_suspects(self, page: Page, tmp_path: Path) -> None:
        text = Elements(write(page, tmp_path)).text
        assert "2 test photos of 10 are answered wrongly; these are the 1 with the highest confidence" in text
        assert "glass, 97 % labelled paper paper/1.jpg, test" in text
        assert "Confident learning doubts 3 labels of 80, of all roles; these are the 1 most suspect" in text
        assert "would have given 75.0 % of the photos" in text
        assert "labelled glass rather paper glass/2.jpg, val" in text

    def test_says_what_more_photos_bring(self, page: Page, tmp_path: Path) -> None:
        text = Elements(write(page, tmp_path)).text
        assert "Doubling the photos should help." in text
        assert "glass 60 80.0 84.1 79.0 to 90.0 +4.1 paper too few photos to tell" in text
        assert "The features come from elsewhere." in text

    def test_says_what_roles_and_classes_get(self, page: Page, tmp_path: Path) -> None:
        text = Elements(write(page, tmp_path)).text
        assert "test 10 Judges, once" in text
        assert "--imbalance weights" in text
        assert "paper 6 5.00 6" in text
        even = replace(page, balance=replace(page.balance, imbalance=Imbalance.SAMPLING))
        assert "--imbalance sampling" in write(even, tmp_path)

    def test_says_where_there_is_nothing_to_show(self, page: Page, tmp_path: Path) -> None:
        bare = replace(page, mistakes=Gallery((), 0, 10), suspects=None, curve=None, notes=("too few photos",))
        text = Elements(write(bare, tmp_path)).text
        assert "No test photo is answered wrongly." in text
        assert text.count("Not told, for the reason below.") == 2
        assert "Too few photos." in text

    def test_missing_figure_leaves_no_page(self, page: Page, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"gone\.png"):
            write_page(tmp_path / "report.html", replace(page, figures=(("gone", tmp_path / "gone.png"),)))
        assert not (tmp_path / "report.html").exists()


class TestDoubt:
    def test_bins_are_those_of_the_calibration_error(self) -> None:
        its = doubt()
        bins = reliability(its.truth, its.probabilities)
        assert [(index, one.right.some, one.right.of) for index, one in enumerate(bins) if one] == [
            (7, 0, 1),
            (13, 0, 1),
            (14, 8, 8),
        ]
        error = sum(abs(one.right.share - one.confidence) * one.right.of / 10 for one in bins if one)
        assert error == pytest.approx(calibration_error(its.truth, its.probabilities))

    def test_rejection_takes_the_unsure_and_the_strange(self) -> None:
        total, (glass, paper, trash) = tolls(doubt(), 3)
        assert (total.accepted.some, total.accepted.of) == (8, 10)
        assert (total.wrong.some, total.wrong.of) == (1, 8)
        assert (total.spared.some, total.spared.of) == (1, 2)
        assert (glass.accepted.some, glass.accepted.of, glass.wrong.some) == (3, 4, 0)
        assert (paper.accepted.some, paper.accepted.of, paper.wrong.some) == (5, 6, 1)
        assert (trash.accepted.of, trash.accepted.share, trash.accepted.high) == (0, 0, 1)
        assert tolls(doubt(Kept(None), None), 3)[0].accepted.share == 1
        assert tolls(doubt(Kept(0.95), None), 3)[0].accepted.some == 8, "the threshold itself is accepted"

    def test_page_says_what_rejection_buys(self, page: Page, tmp_path: Path) -> None:
        html = write(page, tmp_path)
        text = Elements(html).text
        error = calibration_error(doubt().truth, doubt().probabilities)
        assert f"accuracy lie {100 * error:.1f} points apart" in text
        assert "before temperature scaling it was 18.0" in text
        assert "the network is 10.0 points too sure" in text
        assert "Accepting from 0.600 on keeps the error below 30 %." in text
        assert 'class="verdict"' in html
        low, high = wilson(8, 10)
        assert f"80.0 % are accepted ({100 * low:.1f} to {100 * high:.1f} %)" in text
        assert "12.5 % of these are answered wrongly" in text
        assert "Of the 2 that are rejected, 1 would have been answered wrongly; those taken for strangers" in text
        assert "also rejects 10.0 % of the test photos as strangers (1 of 10" in text
        assert "of which it rejects 5.0 %" in text
        rows = re.findall(
            r"<tr><td[^>]*><bdi>(.*?)</bdi></td><td>(\d+)</td><td>([^ <]+)",
            html[html.index('class="tolls"') :].split("</table>")[0],
        )
        assert rows == [
            ("glass", "4", "75.0"),
            ("paper", "6", "83.3"),
            ("trash", "0", "\N{EN DASH}"),
            ("All", "10", "80.0"),
        ]

    def test_page_says_where_the_target_was_not_reached(self, page: Page, tmp_path: Path) -> None:
        its = doubt(Kept(0.6, reached=False), None)
        html = write(replace(page, doubt=doubt_part(its, tuple("abc"), tmp_path)), tmp_path)
        assert 'class="verdict short"' in html
        assert "a larger --max-error" in html
        assert "strangers" not in html

    def test_page_says_where_nothing_is_rejected(self, page: Page, tmp_path: Path) -> None:
        its = replace(doubt(Kept(None, reached=False), None), before=None)
        draw_doubt(its, tmp_path)
        html = write(replace(page, doubt=doubt_part(its, tuple("abc"), tmp_path)), tmp_path)
        text = Elements(html).text
        assert 'class="verdict short"' in html
        assert "So no answer is rejected for being unsure." in text
        assert "None of the 10 test photos is rejected, and 20.0 % are answered wrongly" in text
        assert "before temperature scaling" not in text
        assert 'class="tolls"' not in html

    def test_page_does_without(self, page: Page, tmp_path: Path) -> None:
        text = Elements(write(replace(page, doubt=None), tmp_path)).text
        assert "What rejection buys" not in text
        assert "Classes" in text


def near(path: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has nearly this colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return np.abs(pixels - colour).sum(axis=2) < 30


BLUE, ORANGE = (0x0C, 0x34, 0x6E), (0xD9, 0x77, 0x06)


class TestDoubtFigures:
    def test_few_photos_have_long_and_pale_bars(self, tmp_path: Path) -> None:
        heights = []
        for number in (4, 400):
            chances = np.full((number, 2), (0.25, 0.75), dtype=np.float32)
            truth = np.arange(number) % 4 > 0
            draw_reliability(truth.astype(np.int64), None, chances, tmp_path / "r.png")
            pixels = np.asarray(Image.open(tmp_path / "r.png").convert("RGB")).astype(int)
            column = pixels[30:400, 400:560]
            ink = (column[..., 2] - column[..., 0] > 25).any(axis=1)
            heights.append(int(ink.sum()))
            assert near(tmp_path / "r.png", BLUE)[30:400, 400:].any() == (number == 400), "pale where few"
        assert heights[0] > 3 * heights[1]

    def test_the_threshold_lies_where_it_accepts(self, tmp_path: Path) -> None:
        places = []
        for share in (0.3, 0.9):
            its = doubt().curve
            chosen = (share, 0.1)
            draw_risk_coverage(its.coverage, its.risk, its.low, its.high, chosen, None, tmp_path / "r.png")
            columns = near(tmp_path / "r.png", ORANGE)[300:420].sum(axis=0)
            places.append(int(columns.argmax()))
        assert places[1] - places[0] > 200
        draw_risk_coverage(its.coverage, its.risk, its.low, its.high, None, None, tmp_path / "r.png")
        assert not near(tmp_path / "r.png", ORANGE).any()

    @pytest.mark.parametrize("points", [1, 2, 400])
    def test_draws_any_number_of_points_and_no_mistakes(self, points: int, tmp_path: Path) -> None:
        share = np.linspace(1 / points, 1, points)
        zero = np.zeros(points)
        draw_risk_coverage(share, zero, zero, zero, (1.0, 0.0), 1.0, tmp_path / "r.png", priced=True)
        assert near(tmp_path / "r.png", ORANGE).sum() > 50

    @pytest.mark.parametrize("far", [0.0, 1e6])
    def test_strangeness_far_out_does_not_squeeze_the_rest(self, far: float, tmp_path: Path) -> None:
        known = np.linspace(0, 1, 1000, dtype=np.float32)
        judged = known.copy()
        judged[0] = far
        draw_strangeness(known, judged, 0.9, tmp_path / "s.png")
        line = near(tmp_path / "s.png", ORANGE)[200:400].sum(axis=0).argmax()
        assert 300 < line < 600

    def test_strangeness_that_is_all_the_same(self, tmp_path: Path) -> None:
        same = np.ones(3, dtype=np.float32)
        draw_strangeness(same, same[:1], 1.0, tmp_path / "s.png")
        assert near(tmp_path / "s.png", ORANGE).sum() > 50
