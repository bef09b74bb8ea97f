"""parity.html: what it shows of made answers, judged as an export judges them."""

from __future__ import annotations

import base64
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge.backends import Answers, BackendInfo
from edge.manifest import Artifact, Precision, RejectionClaim, Remedy, Verdict
from edge.parity import MOST_CLASS_LOSS, compare, judge
from edge.preprocess import Pixels
from export.report.axis import axis_over
from export.report.flips import Said, Side, find_flips
from export.report.page import PICTURES, Judged, Shown, parity_page
from tests.made import KINDS, draw
from tests.pages import Elements, assert_asks_nothing_of_others
from train.insight.words import points

TRUTH = np.repeat(np.arange(3), 10)
REMEDIES = (
    Remedy("min and max", 40, 0.9, 0.85, 0.25, passed=False),
    Remedy("percentile 99.99", 40, 0.99, 0.95, 0.00042, passed=True),
)
MINUS = "\N{MINUS SIGN}"


def answers(said: Sequence[int] | np.ndarray, confidence: dict[int, float] | None = None) -> Answers:
    """Give each of these answers 0.9 and the next label the rest; `confidence`: by photo, where it is another."""
    said = np.asarray(said)
    sure = np.full(len(said), 0.9, dtype=np.float32)
    for index, its in (confidence or {}).items():
        sure[index] = its
    probabilities = np.zeros((len(said), 3), dtype=np.float32)
    rows = np.arange(len(said))
    probabilities[rows, said] = sure
    probabilities[rows, (said + 1) % 3] += 1 - sure
    return Answers(probabilities)


def pytorch() -> Answers:
    """Right, but for the first photo of bars and the last of ring."""
    said = TRUTH.copy()
    said[0], said[29] = 1, 0
    return answers(said)


def flipped() -> Answers:
    """Lost: 5 and 6. Gained: 0. Wrong either way: 29."""
    said = TRUTH.copy()
    said[5] = said[6] = 2
    said[29] = 1
    return answers(said, {5: 0.6, 6: 0.8})


def ruin() -> Answers:
    """Take every disc for a ring."""
    said = TRUTH.copy()
    said[TRUTH == 1] = 2
    return answers(said)


def judged(
    got: Answers,
    precision: Precision = Precision.INT8,
    file: str = "model.int8.onnx",
    *,
    reference: Answers | None = None,
    truth: np.ndarray = TRUTH,
    labels: tuple[str, ...] = KINDS,
) -> Judged:
    info = BackendInfo("onnxruntime", file, precision, "CPUExecutionProvider", 0, ())
    parity = compare(info, reference or pytorch(), got, truth, labels)
    verdict, reason = judge(parity, precision)
    artifact = Artifact(precision, ("onnxruntime",), file, 20, parity, verdict, reason)
    return Judged(artifact, 2_345_678, got)


def altered(one: Judged, **changes: object) -> Judged:
    return replace(one, artifact=replace(one.artifact, **changes))


def photo(index: int) -> Pixels:
    return draw(KINDS[index % 3], index)


def shown(*artifacts: Judged, labels: tuple[str, ...] = KINDS, name: str = "waste") -> Shown:
    return Shown(name, labels, "resnet18", TRUTH, pytorch(), artifacts, photo)


def page(*artifacts: Judged) -> str:
    return parity_page(shown(*artifacts)).decode()


def text_of(html: str, start: str, end: str) -> str:
    text = Elements(html).text
    return text[text.index(start) :].split(end)[0]


def line(html: str, name: str) -> list[str]:
    """Return the cells of a line of the table of figures."""
    row = next(row for row in html.split("<tr>") if f">{name}<" in row)
    return [Elements(cell).text for cell in re.findall(r"<td>(.*?)</td>", row, re.S)]


def style(html: str, kind: str, name: str) -> list[float]:
    """Return a length in the style of all marks of a kind, 0 to 1."""
    return [float(one) / 100 for one in re.findall(rf'<i class="{kind}"[^>]*{name}:([\d.]+)%', html)]


class TestFlips:
    def test_lost_come_first_and_then_gained_and_of_each_the_surest(self) -> None:
        flips = find_flips(TRUTH, pytorch(), flipped(), KINDS)
        assert [(one.index, one.side) for one in flips] == [
            *((6, Side.LOST), (5, Side.LOST)),
            *((0, Side.GAINED), (29, Side.NEITHER)),
        ]
        assert flips[0].truth == "bars"
        assert flips[0].expected == Said("bars", pytest.approx(0.9), right=True)
        assert flips[0].got == Said("ring", pytest.approx(0.8), right=False)

    def test_an_answer_that_is_no_number_is_a_flip_even_where_pytorch_is_wrong(self) -> None:
        got = pytorch()
        got.probabilities[[0, 7]] = np.nan
        flips = find_flips(TRUTH, pytorch(), got, KINDS)
        assert [(one.index, one.side) for one in flips] == [(7, Side.LOST), (0, Side.NEITHER)]
        assert flips[0].got == Said("", math.inf, right=False)

    def test_they_are_as_many_as_parity_counts(self) -> None:
        rng = np.random.default_rng(3)
        truth = rng.integers(0, 3, 400)
        reference, got = (Answers(rng.dirichlet(np.ones(3), 400).astype(np.float32)) for _ in range(2))
        got.probabilities[::50] = np.nan
        parity = judged(got, reference=reference, truth=truth).artifact.parity
        flips = find_flips(truth, reference, got, KINDS)
        sides = Counter(one.side for one in flips)
        assert (sides[Side.LOST], sides[Side.GAINED]) == (parity.lost, parity.gained)
        assert len(flips) == sum(one.flips for one in parity.per_class.values())
        assert parity.unanswered == 8


class TestAxis:
    @pytest.mark.parametrize(
        ("differences", "most", "marks"),
        [
            ((-0.0081, 0.004, -0.01), 6, [f"{MINUS}1", f"{MINUS}0.5", "0", "+0.5"]),
            ((-0.0301,), 6, [f"{MINUS}4", f"{MINUS}3", f"{MINUS}2", f"{MINUS}1", "0"]),
            ((-0.7, 0.12), 4, [f"{MINUS}100", f"{MINUS}50", "0", "+50"]),
            ((-1.0, 1.0), 4, [f"{MINUS}100", f"{MINUS}50", "0", "+50", "+100"]),
            ((), 6, ["0", "+0.1"]),
        ],
    )
    def test_it_ends_at_round_numbers(self, differences: tuple[float, ...], most: int, marks: list[str]) -> None:
        axis = axis_over(differences, most)
        assert [tick.text for tick in axis.ticks] == marks
        assert (axis.ticks[0].share, axis.ticks[-1].share) == (0, 1)
        assert all(axis.low - 1e-9 <= one <= axis.high + 1e-9 for one in (0, *differences))

    def test_what_lies_beyond_stands_at_the_end(self) -> None:
        axis = axis_over((-0.04, 0.02))
        assert [axis.place(one) for one in (-0.5, -0.04, 0.02, 0.5)] == [0, 0, 1, 1]
        assert axis.place(0) == pytest.approx(2 / 3)


class TestVerdicts:
    def test_each_file_has_its_verdict_with_the_reason_and_the_judge(self) -> None:
        good, bad = judged(pytorch(), Precision.FP16, "model.fp16.onnx"), judged(ruin())
        assert [one.artifact.verdict for one in (good, bad)] == [Verdict.PASS, Verdict.FAIL]
        html = page(good, bad)
        assert re.findall(r'class="verdict (\w+)"', html) == ["pass", "fail"]
        for one in (good, bad):
            its = one.artifact
            told = f"{its.verdict.value} {its.file} \N{EN DASH} {its.reason}. Judged by ONNX Runtime on the CPU."
            assert told in Elements(html).text
        assert "A verdict speaks for the backend that ran the graph here, and for no other" in Elements(html).text
        assert "edge-run needs the same flag" not in html

    def test_an_engine_that_has_not_judged_its_file_is_named(self) -> None:
        its = altered(judged(pytorch(), file="model.int8.trt.onnx"), runtimes=("tensorrt",))
        text = Elements(page(its)).text
        assert (
            "Judged by ONNX Runtime on the CPU. TensorRT, which takes this file, has not judged it: let "
            "edge-eval BUNDLE --parity do that on the device." in text
        )
        both = altered(its, runtimes=("onnxruntime", "tensorrt", "openvino"))
        assert "TensorRT and OpenVINO, which take this file too, have not judged it" in Elements(page(both)).text
        assert "has not judged it" not in Elements(page(judged(pytorch()))).text

    def test_too_few_photos_and_a_failure_that_was_allowed_are_told(self) -> None:
        said = pytorch().probabilities.argmax(axis=1)
        unsure = judged(answers(said, {3: 0.85}))
        assert unsure.artifact.verdict is Verdict.INCONCLUSIVE, "30 photos can't show 3 points"
        allowed = altered(judged(ruin()), failure_allowed=True)
        unsure_text, allowed_text = Elements(page(unsure)).text, Elements(page(allowed)).text
        assert "INCONCLUSIVE model.int8.onnx" in unsure_text
        assert "edge-run runs it, and warns" in unsure_text
        assert "edge-run runs it, and warns" not in allowed_text
        assert "edge-run needs the same flag" in allowed_text


class TestFigures:
    def test_they_are_those_of_parity(self) -> None:
        one = judged(flipped())
        its = one.artifact.parity
        html = page(judged(pytorch(), Precision.FP16, "model.fp16.onnx"), one)
        low, high = (points(end, 2) for end in its.interval)
        loss = points(its.lower_bound, 2)
        for name, cell in {
            "Verdict": one.artifact.verdict.value,
            "Runs on": "ONNX Runtime",
            "Judged by": "ONNX Runtime on the CPU",
            "Size, MB": "2.3",
            "Photos": "30",
            "Same answer, %": "86.7 4 differ",
            "Accuracy, %": "90.0 PyTorch 93.3",
            "Difference, points": f"{MINUS}3.33 {low} to {high}",
            "Lower bound, points": f"{loss} not above {MINUS}3.00",
            "p (McNemar)": "1.000",
            "Largest difference of a probability": f"{its.max_difference:.2g}",
            "Mean difference": f"{its.mean_difference:.2g}",
            "Calibration error, %": (
                f"{100 * its.calibration_error:.1f} PyTorch {100 * its.reference_calibration_error:.1f}"
            ),
            "Rejects below": "nothing",
            "Accepts, %": "\N{EN DASH}",
        }.items():
            cells = line(html, name)
            assert len(cells) == 2, name
            assert cells[1] == cell, name
        assert "stranger" not in html.lower()
        assert "no numbers" not in html

    def test_tolerance_thresholds_and_strangers_are_told_as_they_are(self) -> None:
        claim = RejectionClaim(0.05, 0.0412, 0.95, 0.913, 30, reached=True)
        one = judged(flipped())
        parity = replace(one.artifact.parity, max_strangeness_difference=0.25, unanswered=3, tolerance=0.5)
        changed = altered(one, parity=parity, reject_threshold=0.62134, rejection=claim, stranger_threshold=17.256)
        html = page(one, changed)
        low = points(parity.lower_bound, 2)
        assert line(html, "Lower bound, points") == [f"{low} not above {MINUS}3.00", f"{low} above {MINUS}50.00"]
        assert line(html, "Rejects below") == ["nothing", "0.6213"]
        assert line(html, "Accepts, %") == ["\N{EN DASH}", "91.3 risk at most 4.1"]
        assert line(html, "Strangers lie above") == ["\N{EN DASH}", "17.26"]
        assert line(html, "Largest difference of strangeness") == ["\N{EN DASH}", "0.25"]
        assert line(html, "Answers that are no numbers") == ["0", "3"]

    def test_the_picture_of_the_differences_is_true_to_scale(self) -> None:
        files = [judged(flipped()), judged(pytorch(), Precision.FP16, "model.fp16.onnx")]
        html = page(*files).split('class="gaps"')[1].split("</div>\n</div>")[0]
        parities = [one.artifact.parity for one in files]
        ends = [end for its in parities for end in (*its.interval, its.lower_bound, -its.tolerance)]
        axis = axis_over(ends)
        for mark, name, values in (
            ("at", "left", [its.accuracy - its.reference_accuracy for its in parities]),
            ("bound", "left", [its.lower_bound for its in parities]),
            ("reach", "left", [its.interval[0] for its in parities]),
            ("over", "width", [-its.tolerance for its in parities]),
        ):
            assert style(html, mark, name) == pytest.approx([axis.place(one) for one in values], abs=6e-4), mark
        low, high = parities[0].interval
        assert style(html, "reach", "width")[0] == pytest.approx(axis.place(high) - axis.place(low), abs=6e-4)


class TestClasses:
    def test_each_class_has_its_flips_and_its_interval(self) -> None:
        one = judged(flipped())
        text = text_of(page(one), "Class by class", "Flips: photos")
        its = one.artifact.parity.per_class["bars"]
        low, high = (points(end) for end in its.interval)
        assert f"bars 10 3 2 1 {MINUS}10.0 {low} to {high}" in text
        assert "disc 10 0 0 0 0.0" in text
        assert "ring 10 1 0 0 0.0" in text
        assert "ruined" not in text

    def test_a_ruined_class_is_marked_and_no_other(self) -> None:
        one = judged(ruin())
        upper = {label: its.interval[1] for label, its in one.artifact.parity.per_class.items()}
        assert [label for label, its in upper.items() if its < -MOST_CLASS_LOSS] == ["disc"]
        html = page(one)
        assert re.findall(r'<tr class="ruined"><td[^>]*><bdi>(\w+)</bdi> <em>ruined</em>', html) == ["disc"]
        assert html.count("<em>ruined</em>") == 1

    def test_a_table_without_a_flip_is_shut_and_a_class_without_photos_has_no_figures(self) -> None:
        labels = (*KINDS, "tin")
        reference = Answers(np.pad(pytorch().probabilities, ((0, 0), (0, 1))))
        same, other = (
            judged(Answers(np.pad(got.probabilities, ((0, 0), (0, 1)))), reference=reference, labels=labels)
            for got in (pytorch(), flipped())
        )
        html = parity_page(replace(shown(same, other, labels=labels), reference=reference)).decode()
        assert re.findall(r"<details( open)?>", html) == ["", " open"]
        row = html[html.index("<bdi>tin</bdi>") :].split("</tr>")[0]
        assert re.findall(r"<td>(.*?)</td>", row) == ["0", *["\N{EN DASH}"] * 3, ""]


class TestRemedies:
    def test_they_are_told_in_order_and_the_last_is_the_one_taken(self) -> None:
        html = page(judged(flipped()), altered(judged(pytorch()), remedies=REMEDIES))
        text = text_of(html, "What was tried", "In the order")
        assert "min and max no 90.0 85.0 0.25 40 percentile 99.99 taken yes 99.0 95.0 0.00042 40" in text
        assert html.count('class="remedies"') == 1

    def test_without_any_there_is_no_such_part(self) -> None:
        assert "What was tried" not in page(judged(flipped()))


class TestPictures:
    def test_every_flip_is_shown_with_its_label_and_both_answers(self) -> None:
        html = page(judged(flipped()))
        images = Elements(html).all("img")
        names = [*(f"photo {index}, bars" for index in (6, 5, 0)), "photo 29, ring"]
        assert [one["alt"] for one in images] == names
        for image, index in zip(images, (6, 5, 0, 29), strict=True):
            data = base64.b64decode((image["src"] or "").removeprefix("data:image/jpeg;base64,"))
            drawn = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)[..., ::-1]
            assert np.abs(drawn - photo(index)).mean() < 12, index
        text = text_of(html, "Lost: 2", "Shown is what")
        assert text.startswith(
            "Lost: 2 PyTorch alone is right bars PyTorch bars, 90 % int8 ring, 80 % photo 6 "
            "bars PyTorch bars, 90 % int8 ring, 60 % photo 5"
        )
        assert "Gained: 1 the file alone is right bars PyTorch disc, 90 % int8 bars, 90 % photo 0" in text
        assert "Wrong either way: 1" in text
        assert "ring PyTorch bars, 90 % int8 disc, 90 % photo 29" in text
        marks = re.findall(r'<dd class="(\w+)">', html)
        assert marks == ["right", "wrong", "right", "wrong", "wrong", "right", "wrong", "wrong"]

    def test_no_flip_is_said_in_words(self) -> None:
        html = page(judged(pytorch()))
        assert "No answer differs: all 30 photos are answered as PyTorch answers them." in Elements(html).text
        assert "<img" not in html

    def test_an_answer_that_is_no_number_is_said_to_be_none(self) -> None:
        got = pytorch()
        got.probabilities[7] = np.inf
        assert "int8 no number photo 7" in Elements(page(judged(got))).text

    def test_they_are_few_each_drawn_once_and_the_cut_is_said(self) -> None:
        truth = np.repeat(np.arange(3), 40)
        reference, got = answers(truth), answers((truth + 1) % 3)
        drawn: list[int] = []

        def picture(index: int) -> Pixels:
            drawn.append(index)
            return photo(index)

        files = [
            judged(got, precision, f"model.{precision.value}.onnx", reference=reference, truth=truth)
            for precision in (Precision.FP16, Precision.INT8)
        ]
        html = parity_page(Shown("waste", KINDS, "resnet18", truth, reference, tuple(files), picture)).decode()
        assert len(Elements(html).all("img")) == 2 * PICTURES
        assert len(drawn) == len(set(drawn)) == PICTURES
        assert Elements(html).text.count("120 of 120 photos; the first 60 are shown") == 2
        assert Elements(html).text.count("Lost: 120 PyTorch alone is right; 60 shown") == 2

    def test_a_kind_that_had_no_room_is_counted(self) -> None:
        truth = np.repeat(np.arange(3), 40)
        was = answers(np.concatenate([[1], truth[1:]]))
        html = parity_page(
            Shown(
                *("waste", KINDS, "resnet18", truth, was),
                (judged(answers(np.concatenate([[0], (truth[1:] + 1) % 3])), reference=was, truth=truth),),
                photo,
            )
        ).decode()
        assert "Gained: 1 the file alone is right; none shown" in Elements(html).text


class TestWhole:
    def test_parts_come_in_order(self) -> None:
        text = Elements(page(altered(judged(flipped()), remedies=REMEDIES))).text
        parts = (
            *("Judged by", "The figures", "Is accuracy lost?", "Class by class", "What was tried", "min and max"),
            *("The photos that are answered otherwise", "Lost: 2", "Gained: 1", "Wrong either way: 1"),
            *("How to repeat it on a device", "edge-eval BUNDLE --parity The bundle"),
        )
        places = [text.index(part) for part in parts]
        assert places == sorted(places)

    def test_it_asks_nothing_of_others_and_its_links_lead_somewhere(self) -> None:
        html = page(altered(judged(flipped()), remedies=REMEDIES), judged(ruin()))
        assert_asks_nothing_of_others(html)
        elements = Elements(html)
        places = {attributes.get("id") for _, attributes in elements.found}
        assert {(link["href"] or "").removeprefix("#") for link in elements.all("a")} == {"repeat"} <= places

    def test_every_text_is_escaped(self) -> None:
        nasty = "<u>&\"'"
        labels = (nasty, "disc", "ring")
        one = altered(
            judged(flipped(), labels=labels),
            file=f"{nasty}.onnx",
            runtimes=(nasty,),
            reason=nasty,
            remedies=(replace(REMEDIES[0], name=nasty),),
        )
        one = altered(one, parity=replace(one.artifact.parity, backend=nasty))
        html = parity_page(replace(shown(one, labels=labels, name=nasty), model=nasty)).decode()
        assert "<u>" not in html
        assert "\"'" not in html
        elements = Elements(html)
        assert {image["alt"] for image in elements.all("img")} == {f"photo {at}, {nasty}" for at in (0, 5, 6)} | {
            "photo 29, ring"
        }
        banner = f"FAIL {nasty}.onnx \N{EN DASH} {nasty}. Judged by {nasty}."
        for part in (banner, f"{nasty} 10 3 2 1", f"{nasty} taken no", f"PyTorch {nasty}, 90 %", f"model {nasty}"):
            assert part in elements.text, part

    def test_a_name_that_is_no_text_is_taken(self) -> None:
        assert b"waste?" in parity_page(shown(judged(flipped()), name="waste\udcff"))

    def test_it_is_the_same_each_time(self) -> None:
        assert page(judged(flipped())) == page(judged(flipped()))
