from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.backends import Probabilities
from edge.scores import Truth, calibration_error, score

LABELS = ("a", "b", "c")


def truth(*indices: int) -> Truth:
    return np.array(indices, dtype=np.int64)


def answers(*rows: tuple[float, ...]) -> Probabilities:
    return np.array(rows, dtype=np.float32)


class TestScore:
    def test_by_hand(self) -> None:
        # truth a a a b b c, answers a a b b c a
        result = score(
            truth(0, 0, 0, 1, 1, 2),
            answers(
                (0.8, 0.1, 0.1),
                (0.6, 0.3, 0.1),
                (0.2, 0.7, 0.1),
                (0.2, 0.5, 0.3),
                (0.1, 0.2, 0.7),
                (0.9, 0.05, 0.05),
            ),
            LABELS,
        )
        assert result.images == 6
        assert result.accuracy == pytest.approx(3 / 6)
        assert result.confusion == ((2, 1, 0), (0, 1, 1), (1, 0, 0))
        a, b, c = (result.per_class[label] for label in LABELS)
        assert (a.precision, a.recall, a.f1, a.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
        assert (b.precision, b.recall, b.f1, b.support) == pytest.approx((1 / 2, 1 / 2, 1 / 2, 2))
        assert (c.precision, c.recall, c.f1, c.support) == (0, 0, 0, 1)
        assert result.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
        expected = -sum(map(math.log, (0.8, 0.6, 0.2, 0.5, 0.2, 0.05))) / 6
        assert result.log_loss == pytest.approx(expected, rel=1e-6)

    def test_precision_and_recall_are_not_each_other(self) -> None:
        result = score(truth(0, 0, 0, 1), answers((1, 0), (0, 1), (0, 1), (0, 1)), ("a", "b"))
        assert result.per_class["a"].precision == 1
        assert result.per_class["a"].recall == pytest.approx(1 / 3)
        assert result.per_class["a"].f1 == pytest.approx(1 / 2)
        assert result.per_class["b"].precision == pytest.approx(1 / 3)
        assert result.per_class["b"].recall == 1
        assert result.confusion == ((1, 2), (0, 1)), "rows are the truth"

    def test_perfect(self) -> None:
        result = score(truth(0, 1, 2), np.eye(3, dtype=np.float32), LABELS)
        assert (result.accuracy, result.macro_f1, result.calibration_error, result.log_loss) == (1, 1, 0, 0)

    def test_all_wrong_and_sure_of_it(self) -> None:
        result = score(truth(1, 2, 0), np.eye(3, dtype=np.float32), LABELS)
        assert (result.accuracy, result.macro_f1, result.calibration_error) == (0, 0, 1)
        assert result.log_loss == pytest.approx(-math.log(1e-12)), "bounded, not infinite"

    def test_absent_class_is_in_the_table_and_not_in_the_mean(self) -> None:
        result = score(truth(0, 1), answers((1, 0, 0), (0, 1, 0)), LABELS)
        c = result.per_class["c"]
        assert (c.precision, c.recall, c.f1, c.support) == (0, 0, 0, 0)
        assert list(result.per_class) == list(LABELS)
        assert result.macro_f1 == 1

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 2**32 - 1))
    def test_what_holds_of_any_answers(self, images: int, classes: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        targets = rng.integers(0, classes, images)
        probabilities = rng.dirichlet(np.ones(classes), images).astype(np.float32)
        labels = tuple(str(number) for number in range(classes))
        result = score(targets, probabilities, labels)
        confusion = np.array(result.confusion)
        assert confusion.sum() == result.images == images
        assert confusion.trace() / images == pytest.approx(result.accuracy)
        assert confusion.sum(axis=1).tolist() == [one.support for one in result.per_class.values()]
        weighted = sum(one.recall * one.support for one in result.per_class.values()) / images
        assert weighted == pytest.approx(result.accuracy)
        for one in result.per_class.values():
            assert 0 <= min(one.precision, one.recall) <= one.f1 + 1e-12
            assert one.f1 <= max(one.precision, one.recall) + 1e-12
        assert 0 <= result.calibration_error <= 1
        order = rng.permutation(images)
        shuffled = score(targets[order], probabilities[order], labels)
        assert shuffled.confusion == result.confusion
        assert shuffled.calibration_error == pytest.approx(result.calibration_error)


class TestCalibrationError:
    def test_three_of_four_right_at_three_quarters(self) -> None:
        rows = [(0.75, 0.25)] * 4
        assert calibration_error(truth(0, 0, 0, 1), answers(*rows)) == pytest.approx(0, abs=1e-6)

    def test_half_right_at_nine_tenths(self) -> None:
        rows = [(0.9, 0.1)] * 4
        assert calibration_error(truth(0, 0, 1, 1), answers(*rows)) == pytest.approx(0.4, abs=1e-6)

    def test_bins_do_not_cancel_each_other_and_are_weighted_by_count(self) -> None:
        # Three at 0.6, all right (gap 0.4); one at 0.95, wrong (gap 0.95). Over all the gaps nearly cancel.
        rows = [(0.6, 0.4)] * 3 + [(0.95, 0.05)]
        expected = (3 * 0.4 + 1 * 0.95) / 4
        assert calibration_error(truth(0, 0, 0, 1), answers(*rows)) == pytest.approx(expected, abs=1e-6)

    def test_within_a_bin_gaps_cancel(self) -> None:
        # 0.81 and 0.85 share the bin from 12/15 to 13/15.
        assert calibration_error(truth(0, 1), answers((0.81, 0.19), (0.85, 0.15))) == pytest.approx(0.33, abs=1e-6)

    def test_fifteen_bins(self) -> None:
        # 0.72 and 0.74 lie on both sides of 11/15 = 0.7333: two gaps, not one.
        expected = (0.28 + 0.74) / 2
        assert calibration_error(truth(0, 1), answers((0.72, 0.28), (0.74, 0.26))) == pytest.approx(
            expected, abs=1e-6
        )

    def test_certainty_falls_in_the_last_bin(self) -> None:
        assert calibration_error(truth(0), answers((1.0, 0.0))) == 0
