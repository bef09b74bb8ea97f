"""The learning curve: its shape, its doubt, and that nobody is judged by what he learnt from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.errors import TrainError
from tests.train.test_suspects import cloud
from train.insight.curve import LearningCurve, learn_curve
from train.insight.doubling import Doubling
from train.insight.draws import alone, places
from train.insight.look import look
from train.insight.power import after
from train.insight.words import points, tell_doubling

SIZES = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])


class TestPower:
    @pytest.mark.parametrize("floor", [0.0, 0.02, 0.1])
    @pytest.mark.parametrize("exponent", [0.2, 0.5, 0.9])
    def test_finds_a_power_law_with_a_floor(self, floor: float, exponent: float) -> None:
        def error(sizes: np.ndarray) -> np.ndarray:
            return floor + 2 * sizes**-exponent

        expected = error(np.array([3200.0]))[0]
        assert after(SIZES, error(SIZES), 2) == pytest.approx(expected, rel=0.01)

    def test_a_flat_curve_stays_flat(self) -> None:
        assert after(SIZES, np.full(5, 0.3), 2) == pytest.approx(0.3)

    def test_rows_are_fitted_one_by_one(self) -> None:
        rows = np.stack([SIZES**-0.3, SIZES**-0.6])
        assert after(SIZES, rows, 2) == pytest.approx([float(after(SIZES, row, 2)) for row in rows])

    def test_noise_does_not_run_away(self) -> None:
        assert after(SIZES, np.array([0.1, 0.1, 0.1, 0.2, 0.4]), 2) <= 0.4 * 1.25
        assert after(SIZES, np.array([0.9, 0.8, 0.4, 0.1, 0.001]), 2) >= 0.001 / 2


class TestLearnCurve:
    def test_half_of_the_photos_foretell_what_all_of_them_reach(self) -> None:
        """The interval covers what is measured with twice as many, overall and mostly by class."""
        features, labels = cloud((300, 300, 300, 300), apart=2.5, width=100)
        whole = learn_curve(features, labels, alone(1200), 4, 9)
        covered, classes = 0, []
        for seed in range(5):
            half = places(labels, alone(1200), np.random.default_rng(seed)) < 0.5
            its = learn_curve(features[half], labels[half], alone(600), 4, seed)
            assert its.sizes[-1] == pytest.approx(whole.sizes[-1] / 2, abs=2)
            covered += its.overall.low <= whole.overall.now <= its.overall.high
            pairs = zip(its.classes, whole.classes, strict=True)
            classes += [one.low <= other.now <= one.high for one, other in pairs if one and other]
            assert its.overall.gain > 0.01
            assert its.overall.high - its.overall.low < 0.15
        assert covered >= 4
        assert np.mean(classes) >= 0.8

    def test_sizes_double_and_accuracy_rises(self) -> None:
        features, labels = cloud((200, 200), apart=2.5, width=60)
        curve = learn_curve(features, labels, alone(400), 2, 0)
        assert curve.sizes == pytest.approx((20, 40, 80, 160, 320), abs=1)
        assert curve.accuracy[-1] > curve.accuracy[0] + 0.05
        assert all(spread > 0 for spread in curve.spread)
        assert curve.overall.now == pytest.approx(curve.accuracy[-1], abs=1e-6)
        assert curve.overall.photos == 400
        assert curve == learn_curve(features, labels, alone(400), 2, 0)

    def test_a_problem_that_is_solved_gains_nothing(self) -> None:
        features, labels = cloud((100, 100), apart=20)
        its = learn_curve(features, labels, alone(200), 2, 0).overall
        assert its.now == 1
        assert 0.99 <= its.low <= its.then <= its.high <= 1

    def test_labels_without_sense_are_answered_by_chance(self) -> None:
        """Nothing leaks from a photo to its own answer, and nothing from its twins where they are known."""
        rng = np.random.default_rng(0)
        features = np.repeat(rng.normal(size=(200, 40)), 3, axis=0).astype(np.float32)
        labels = np.repeat(rng.integers(0, 2, 200), 3)
        known = learn_curve(features, labels, np.arange(600) // 3, 2, 0)
        assert known.overall.now == pytest.approx(0.5, abs=0.1)
        assert learn_curve(features, labels, alone(600), 2, 0).overall.now > 0.56

    def test_a_small_class_is_passed_over_and_a_large_one_told(self) -> None:
        features, labels = cloud((60, 9, 60))
        curve = learn_curve(features, labels, alone(129), 3, 0)
        assert curve.classes[1] is None
        assert [one and one.photos for one in curve.classes] == [60, None, 60]

    def test_a_class_with_few_photos_is_doubted_more(self) -> None:
        features, labels = cloud((400, 25, 400), apart=3, width=60)
        one, small, _ = learn_curve(features, labels, alone(825), 3, 0).classes
        assert one is not None
        assert small is not None
        assert small.high - small.low > 2 * (one.high - one.low)

    def test_large_data_sets_get_fewer_repeats(self) -> None:
        features, labels = cloud((6000, 6000), width=4, apart=2)
        curve = learn_curve(features, labels, alone(12_000), 2, 0)
        assert curve.overall.high - curve.overall.low < 0.03

    @pytest.mark.parametrize("per_class", [(9, 9), (3,) * 10], ids=["few", "many classes"])
    def test_too_few_photos_are_an_error_that_says_how_many_it_takes(self, per_class: tuple[int, ...]) -> None:
        features, labels = cloud(per_class)
        with pytest.raises(TrainError, match=r"too few for a learning curve, expected at least \d+; add photos"):
            learn_curve(features, labels, alone(len(labels)), len(per_class), 0)

    def test_the_number_that_it_asks_for_is_enough(self) -> None:
        with pytest.raises(TrainError, match=r"18 photos in 2 classes.*at least 20;"):
            learn_curve(*cloud((9, 9)), alone(18), 2, 0)
        assert len(learn_curve(*cloud((10, 10)), alone(20), 2, 0).sizes) == 3


class TestLook:
    def test_says_in_a_sentence_what_is_left_out(self) -> None:
        features, labels = cloud((6, 6))
        found = look(features, labels, alone(12), np.ones(12, dtype=bool), 2, 0, ("first of all",))
        assert found.suspects is None
        assert found.curve is None
        assert found.notes[0] == "first of all"
        assert "12 photos are too few to tell which labels are wrong" in found.notes[1]
        assert "12 photos in 2 classes are too few for a learning curve" in found.notes[2]

    def test_the_curve_leaves_the_judges_alone(self) -> None:
        features, labels = cloud((40, 40))
        learning = np.arange(80) % 4 > 0
        found = look(features, labels, alone(80), learning, 2, 0)
        assert found.suspects is not None
        assert found.curve is not None
        assert len(found.suspects.order) == 80
        assert found.curve.overall.photos == 60
        assert found.notes == ()


class TestWords:
    CURVE = LearningCurve(
        (10, 20, 40),
        (0.7, 0.8, 0.841),
        (0.01,) * 3,
        Doubling(200, 0.841, 0.865, 0.854, 0.876),
        (Doubling(80, 0.8, 0.841, 0.8, 0.9), None, Doubling(110, 0.9, 0.897, 0.85, 0.92)),
    )

    def test_names_who_gains_most_and_least(self) -> None:
        assert tell_doubling(self.CURVE, ("glass", "trash", "paper")) == (
            "doubling the photos should raise the accuracy of a probe from 84.1 % to 86.5 % (95 %: 85.4 to 87.6); "
            "most for glass (+4.1 points), least for paper (\N{MINUS SIGN}0.3)"
        )

    def test_promises_nothing_that_may_not_come(self) -> None:
        unsure = replace(self.CURVE, overall=Doubling(200, 0.841, 0.845, 0.838, 0.852))
        assert tell_doubling(unsure, ("glass", "trash", "paper")) == (
            "doubling the photos should bring the accuracy of a probe from 84.1 % to 84.5 % (95 %: 83.8 to 85.2), "
            "which may be nothing"
        )

    def test_points(self) -> None:
        assert [points(share) for share in (0.0211, -0.004, 0.0001, -0.0001)] == [
            "+2.1",
            "\N{MINUS SIGN}0.4",
            "0.0",
            "0.0",
        ]
