from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from edge.backends import Answers, BackendInfo, Strangeness
from edge.errors import BundleError
from edge.manifest import ClassParity, Parity, Precision, Verdict
from edge.paired import tango_lower
from edge.parity import MOST_CLASS_LOSS, TOLERANCE, check_verdict, compare, judge, spread
from edge.scores import Truth

LABELS = ("glass", "metal", "paper")


def answers(said: Truth, sure: float = 0.8, strangeness: Strangeness | None = None) -> Answers:
    """Give the label `said` the probability `sure`, and the others equal parts of the rest."""
    probabilities = np.full((len(said), len(LABELS)), (1 - sure) / (len(LABELS) - 1), dtype=np.float32)
    probabilities[np.arange(len(said)), said] = sure
    return Answers(probabilities, strangeness)


def judged(
    reference: Answers,
    got: Answers,
    truth: Truth,
    precision: Precision = Precision.FP16,
    tolerance: float | None = None,
) -> tuple[Parity, Verdict, str]:
    info = BackendInfo("onnxruntime", "model.onnx", precision, "CPUExecutionProvider", 0, ())
    parity = compare(info, reference, got, truth, LABELS, tolerance)
    return parity, *judge(parity, precision)


def with_flips(
    images: int, lost: int = 0, gained: int = 0, other: int = 0, sure: float = 0.8, **options: object
) -> tuple[Parity, Verdict, str]:
    """Judge a graph against a reference: `lost` it alone gets wrong, `gained` right; of `other` both are wrong."""
    truth = np.arange(images) % len(LABELS)
    reference, got = truth.copy(), truth.copy()
    got[:lost] = (truth[:lost] + 1) % 3
    reference[lost : lost + gained] = (truth[lost : lost + gained] + 1) % 3
    both = slice(lost + gained, lost + gained + other)
    reference[both], got[both] = (truth[both] + 1) % 3, (truth[both] + 2) % 3
    return judged(answers(reference), answers(got, sure), truth, **options)  # type: ignore[arg-type]


class TestCompare:
    def test_figures(self) -> None:
        parity, *_ = with_flips(60, lost=2, gained=1, other=3)
        assert (parity.images, parity.lost, parity.gained, parity.unanswered) == (60, 2, 1, 0)
        assert parity.agreement == pytest.approx(54 / 60)
        assert parity.accuracy == pytest.approx(55 / 60)
        assert parity.reference_accuracy == pytest.approx(56 / 60)
        assert parity.max_difference == pytest.approx(0.7, abs=1e-6)
        assert parity.mean_difference == pytest.approx(6 * 1.4 / 180, abs=1e-6)
        assert parity.mcnemar == 1.0
        assert parity.lower_bound == tango_lower(2, 1, 60)
        assert parity.interval[0] < parity.lower_bound < -1 / 60 < parity.interval[1]
        assert parity.calibration_error == pytest.approx(abs(55 / 60 - 0.8), abs=1e-6)
        assert parity.reference_calibration_error == pytest.approx(abs(56 / 60 - 0.8), abs=1e-6)
        assert (parity.backend, parity.tolerance) == ("onnxruntime", 0.01)

    def test_each_class_is_counted_by_its_own_photos(self) -> None:
        truth = np.array([0] * 20 + [1] * 20)
        reference, got = truth.copy(), truth.copy()
        got[[0, 1]], reference[20], got[21], reference[21] = 1, 0, 2, 0
        parity, *_ = judged(answers(reference), answers(got), truth)
        glass, metal, paper = (parity.per_class[label] for label in LABELS)
        assert (glass.images, glass.flips, glass.lost, glass.gained) == (20, 2, 2, 0)
        assert (metal.images, metal.flips, metal.lost, metal.gained) == (20, 2, 0, 1)
        assert glass.interval[0] < -0.1 < glass.interval[1]
        assert paper == ClassParity(0, 0, 0, 0, (-1.0, 1.0))

    def test_the_tolerance_is_the_precisions_unless_one_is_given(self) -> None:
        for precision in Precision:
            assert with_flips(10, precision=precision)[0].tolerance == TOLERANCE[precision]
        assert with_flips(10, tolerance=0.2)[0].tolerance == 0.2

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_an_answer_that_is_no_number_agrees_with_nothing(self, value: float) -> None:
        truth = np.zeros(100, dtype=np.int64)
        got = answers(truth)
        got.probabilities[3, 0] = value
        parity, verdict, reason = judged(answers(truth), got, truth)
        assert (parity.unanswered, parity.lost, parity.max_difference) == (1, 1, 1.0)
        assert parity.agreement == parity.accuracy == pytest.approx(0.99)
        assert (verdict, reason) == (Verdict.FAIL, "1 of 100 answers are no numbers")

    def test_nothing_but_no_numbers_has_figures_all_the_same(self) -> None:
        truth = np.zeros(5, dtype=np.int64)
        got = Answers(np.full((5, 3), np.nan, dtype=np.float32))
        parity, verdict, _ = judged(answers(truth), got, truth)
        assert (parity.accuracy, parity.calibration_error, verdict) == (0.0, 1.0, Verdict.FAIL)


class TestStrangeness:
    TRUTH = np.zeros(300, dtype=np.int64)
    STRANGENESS = np.linspace(5, 6, 300).astype(np.float32)

    def off_by(self, off: float) -> tuple[Parity, Verdict, str]:
        other = self.STRANGENESS.copy()
        other[7] += off
        reference = answers(self.TRUTH, strangeness=self.STRANGENESS)
        return judged(reference, answers(self.TRUTH, strangeness=other), self.TRUTH, Precision.FP16)

    @pytest.mark.parametrize(("off", "verdict"), [(0.0, Verdict.PASS), (-0.5, Verdict.PASS), (1.0, Verdict.FAIL)])
    def test_is_compared_over_its_spread(self, off: float, verdict: Verdict) -> None:
        parity, got, reason = self.off_by(off)
        assert parity.max_strangeness_difference == pytest.approx(abs(off) / 0.9, rel=1e-4)
        assert got is verdict
        assert (reason == "strangeness is off by 1.1 times its spread, allowed 1") == (verdict is Verdict.FAIL)

    def test_that_is_no_number_is_no_answer(self) -> None:
        parity, verdict, _ = self.off_by(float("nan"))
        assert (parity.unanswered, parity.max_strangeness_difference, verdict) == (1, 0.0, Verdict.FAIL)

    def test_that_one_side_lacks_is_not_compared(self) -> None:
        reference = answers(self.TRUTH, strangeness=self.STRANGENESS)
        assert judged(reference, answers(self.TRUTH), self.TRUTH)[0].max_strangeness_difference is None

    def test_photos_that_are_all_equally_strange_have_a_spread(self) -> None:
        assert spread(np.full(5, 3.0, dtype=np.float32)) == pytest.approx(0.03)


class TestVerdict:
    def test_enough_photos_without_a_difference_pass(self) -> None:
        _, verdict, reason = with_flips(400, sure=0.9)  # probabilities move by 0.1: it is not for being the same
        assert verdict is Verdict.PASS
        assert reason == "at most 0.67 points of accuracy are lost, with 95 % confidence"

    def test_268_photos_do_and_267_do_not(self) -> None:
        assert with_flips(268, sure=0.9)[1] is Verdict.PASS
        _, verdict, reason = with_flips(267, sure=0.9)
        assert (verdict, reason.endswith("; 268 like them would")) == (Verdict.INCONCLUSIVE, True)

    def test_losses_may_be_made_up_for(self) -> None:
        assert with_flips(2000, lost=8, gained=8)[1] is Verdict.PASS
        assert with_flips(2000, lost=8)[1] is Verdict.PASS
        assert with_flips(2000, lost=20)[1] is Verdict.FAIL

    def test_flips_of_wrong_answers_to_wrong_ones_cost_no_accuracy(self) -> None:
        parity, verdict, _ = with_flips(400, other=10)
        assert (parity.agreement, verdict) == (pytest.approx(0.975), Verdict.PASS)

    @pytest.mark.parametrize(
        ("images", "lost", "gained", "precision"),
        [(30, 0, 0, Precision.INT8), (150, 1, 0, Precision.FP16), (120, 4, 2, Precision.INT8)],
    )
    def test_too_few_photos_are_inconclusive_and_the_number_that_is_named_suffices(
        self, images: int, lost: int, gained: int, precision: Precision
    ) -> None:
        _, verdict, reason = with_flips(images, lost, gained, sure=0.9, precision=precision)
        assert verdict is Verdict.INCONCLUSIVE
        small_loss = f"less than {TOLERANCE[precision] * 100:.2f} points of accuracy are lost"
        named = re.fullmatch(rf"{images} photos can't show that {small_loss}; (\d+) like them would", reason)
        assert named
        times = -(-int(named[1]) // images)  # the same photos so many times over are at least as many
        assert times > 1
        for verdict, factor in ((Verdict.PASS, times), (Verdict.INCONCLUSIVE, times // 2)):
            got = with_flips(images * factor, lost * factor, gained * factor, sure=0.9, precision=precision)
            assert got[1] is verdict, got

    def test_a_loss_of_the_tolerance_fails_however_few_the_photos(self) -> None:
        for images in (100, 1000):
            _, verdict, reason = with_flips(images, lost=images // 100)
            assert (verdict, reason) == (Verdict.FAIL, "1.00 points of accuracy are lost, allowed 1.00")
        assert with_flips(100, lost=3, precision=Precision.INT8)[1] is Verdict.FAIL
        assert with_flips(5, lost=1, precision=Precision.INT8)[1] is Verdict.FAIL

    def test_another_tolerance_moves_the_line(self) -> None:
        assert with_flips(400, lost=4)[1] is Verdict.FAIL
        assert with_flips(400, lost=4, tolerance=0.03)[1] is Verdict.PASS
        assert with_flips(400, lost=4, precision=Precision.INT8, tolerance=0.005)[1] is Verdict.FAIL

    def test_one_ruined_class_fails_in_a_mean_that_would_pass(self) -> None:
        truth = np.array([0] * 30 + [1] * 1485 + [2] * 1485)
        got = truth.copy()
        got[:10] = 1
        parity, verdict, reason = judged(answers(truth), answers(got), truth)
        assert parity.lower_bound > -0.01
        assert parity.per_class["glass"].interval[1] < -MOST_CLASS_LOSS
        assert (verdict, reason) == (Verdict.FAIL, "glass: certainly worse by more than 5 points")

    def test_a_class_that_may_be_worse_does_not_fail(self) -> None:
        truth = np.array([0] * 30 + [1] * 1485 + [2] * 1485)
        got = truth.copy()
        got[:3] = 1
        assert judged(answers(truth), answers(got), truth)[1] is Verdict.PASS

    @pytest.mark.parametrize(
        ("precision", "moved", "verdict"),
        [
            (Precision.FP16, 0.009, Verdict.PASS),
            (Precision.FP16, 0.011, Verdict.INCONCLUSIVE),
            (Precision.FP32, 0.0009, Verdict.PASS),
            (Precision.FP32, 0.0011, Verdict.INCONCLUSIVE),
            (Precision.INT8, 0.0001, Verdict.INCONCLUSIVE),
        ],
    )
    def test_few_photos_do_where_answers_are_the_same(
        self, precision: Precision, moved: float, verdict: Verdict
    ) -> None:
        _, got, reason = with_flips(12, sure=0.8 + moved, precision=precision)
        assert got is verdict
        assert reason.startswith("no answer differs") == (verdict is Verdict.PASS)

    def test_one_flip_is_not_the_same_however_little_moved(self) -> None:
        truth = np.zeros(150, dtype=np.int64)
        reference, got = answers(truth), answers(truth)
        reference.probabilities[0], got.probabilities[0] = (0.334, 0.333, 0.333), (0.333, 0.334, 0.333)
        parity, verdict, _ = judged(reference, got, truth)
        assert parity.max_difference < 0.01
        assert (parity.lost, verdict) == (1, Verdict.INCONCLUSIVE)


class TestCheckVerdict:
    FILE = "model.fp16.onnx"

    def test_what_passed_is_opened_without_a_word(self, caplog: pytest.LogCaptureFixture) -> None:
        check_verdict(self.FILE, Verdict.PASS, "no answer differs", allow_failed=False)
        assert caplog.messages == []

    def test_what_failed_is_refused_with_the_reason_unless_it_is_allowed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        failed = (self.FILE, Verdict.FAIL, "3 points are lost")
        with pytest.raises(
            BundleError, match=r"model.fp16.onnx: .*FAIL \(3 points are lost\).*--allow-failed-parity"
        ):
            check_verdict(*failed, allow_failed=False)
        with caplog.at_level(logging.WARNING):
            check_verdict(*failed, allow_failed=True)
        assert caplog.messages == ["model.fp16.onnx: parity with PyTorch is FAIL (3 points are lost)"]

    def test_what_is_not_known_is_warned_of_in_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            check_verdict(self.FILE, Verdict.INCONCLUSIVE, "10 photos can't show it", allow_failed=False)
        assert caplog.messages == [
            "model.fp16.onnx: parity with PyTorch is INCONCLUSIVE (10 photos can't show it)"
        ]
