"""Labels that other photos contradict: found, ranked, and never judged by a probe that saw them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edge.errors import TrainError
from edge.scores import Truth
from train.insight.draws import Groups, alone, places
from train.insight.features import Features
from train.insight.probe import FOLDS, compress, fit, unseen
from train.insight.suspects import find_suspects


def cloud(per_class: Sequence[int], apart: float = 5.0, width: int = 24, seed: int = 0) -> tuple[Features, Truth]:
    """Draw a ball of points for each class, of deviation 1 and about `apart` from one another."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(per_class)), per_class).astype(np.int64)
    centres = rng.normal(size=(len(per_class), width)) * apart / np.sqrt(2 * width)
    features = centres[labels] + rng.normal(size=(len(labels), width))
    return features.astype(np.float32), labels


class TestPlaces:
    def test_folds_have_the_classes_in_equal_parts(self) -> None:
        labels = np.repeat([0, 1, 2], [50, 23, 7])
        fold = (places(labels, alone(80), np.random.default_rng(0)) * FOLDS).astype(int)
        for label, size in ((0, 50), (1, 23), (2, 7)):
            counts = np.bincount(fold[labels == label], minlength=FOLDS)
            assert counts.min() >= size // FOLDS
            assert counts.max() <= -(-size // FOLDS) + 1

    def test_subsets_are_stratified(self) -> None:
        labels = np.repeat([0, 1], [800, 80])
        place = places(labels, alone(880), np.random.default_rng(0))
        assert np.sum(place[labels == 0] < 0.25) == pytest.approx(200, abs=1)
        assert np.sum(place[labels == 1] < 0.25) == pytest.approx(20, abs=1)

    def test_a_group_stays_together_whatever_its_labels(self) -> None:
        rng = np.random.default_rng(0)
        labels, groups = rng.integers(0, 4, 200), rng.integers(0, 30, 200)
        place = places(labels, groups, rng)
        for group in range(30):
            assert len(np.unique(place[groups == group])) == 1
        assert len(np.unique(place)) == len(np.unique(groups))
        assert np.all((place >= 0) & (place < 1))

    def test_two_photos_of_a_class_are_never_in_one_fold(self) -> None:
        labels = np.repeat([0, 1], [2, 30])
        for seed in range(50):
            place = places(labels, alone(32), np.random.default_rng(seed))
            assert len(np.unique((place[:2] * FOLDS).astype(int))) == 2

    def test_the_seed_decides(self) -> None:
        labels = np.repeat([0, 1], 20)
        first, same, other = (places(labels, alone(40), np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)


class TestProbe:
    def test_tells_clouds_apart(self) -> None:
        features, labels = cloud((300, 300, 300))
        probe = fit(features[::2], labels[::2], 3)
        assert np.mean(probe.logits(features[1::2]).argmax(axis=1) == labels[1::2]) > 0.9

    def test_learns_from_as_few_photos_as_there_are_features(self) -> None:
        """Where a covariance that is fully believed answers by chance."""
        features, labels = cloud((100, 100), apart=4, width=100)
        probe = fit(features[::2], labels[::2], 2)
        assert np.mean(probe.logits(features[1::2]).argmax(axis=1) == labels[1::2]) > 0.85

    def test_a_class_that_was_not_seen_is_never_answered(self) -> None:
        features, labels = cloud((20, 20, 20))
        logits = fit(features[labels != 1], labels[labels != 1], 3).logits(features)
        assert np.all(np.isneginf(logits[:, 1]))
        assert np.all(np.isfinite(logits[:, [0, 2]]))

    def test_without_a_photo_there_is_no_answer(self) -> None:
        probe = fit(np.empty((0, 4), dtype=np.float32), np.empty(0, dtype=np.int64), 2)
        assert np.all(np.isneginf(probe.logits(np.ones((3, 4), dtype=np.float32))))

    @pytest.mark.parametrize("groups", [alone(90), np.arange(90) // 3], ids=["alone", "in threes"])
    def test_no_photo_is_judged_by_its_own_label_or_its_groups(self, groups: Groups) -> None:
        """Whatever the labels of a group are, the answers to that group stay, to the bit."""
        features, labels = cloud((30, 30, 30))
        place = places(labels, groups, np.random.default_rng(0))
        before = unseen(features, labels, 3, place)
        for group in (0, 7, 29):
            changed = labels.copy()
            changed[groups == group] = (changed[groups == group] + 1) % 3
            after = unseen(features, changed, 3, place)
            assert np.array_equal(after[groups == group], before[groups == group])
            assert not np.array_equal(after, before)

    def test_compressing_keeps_what_varies(self) -> None:
        features, _ = cloud((400, 400), width=30)
        dull = np.concatenate([features, np.full((800, 3), 7, dtype=np.float32), features[:, :5]], axis=1)
        compressed = compress(dull)
        assert compressed.shape == (800, 30), "constants and copies bring nothing"
        assert compressed.dtype == np.float32
        assert np.allclose(compressed.mean(axis=0), 0, atol=1e-3)
        wide = np.random.default_rng(0).normal(size=(900, 700)).astype(np.float32)
        assert compress(wide).shape == (900, 512)


class TestSuspects:
    def test_swapped_labels_come_first(self) -> None:
        features, labels = cloud((150, 150, 150))
        wrong = np.random.default_rng(1).choice(450, 20, replace=False)
        labels[wrong] = (labels[wrong] + 1) % 3
        suspects = find_suspects(compress(features), labels, alone(450), 3, 0)
        assert np.isin(wrong, suspects.order[:30]).mean() >= 0.9
        assert 15 <= suspects.flagged <= 40
        first = suspects.at(0)
        assert first.label == labels[first.index]
        assert first.suggested == (first.label - 1) % 3
        assert first.given < 0.1
        assert first.better > 0.9
        assert suspects.agreement > 0.9

    def test_all_photos_are_ranked_once(self) -> None:
        features, labels = cloud((40, 30), apart=0.5)
        suspects = find_suspects(features, labels, alone(70), 2, 0)
        assert sorted(suspects.order) == list(range(70))
        scores = [suspects.at(rank).score for rank in range(70)]
        assert scores == sorted(scores)
        for rank in range(70):
            one = suspects.at(rank)
            assert one.suggested != one.label
            assert one.given + one.better == pytest.approx(1, abs=1e-5)

    def test_good_labels_of_easy_photos_are_not_doubted(self) -> None:
        features, labels = cloud((100, 100), apart=12)
        assert find_suspects(features, labels, alone(200), 2, 0).flagged == 0

    def test_the_same_seed_gives_the_same_order(self) -> None:
        features, labels = cloud((40, 40), apart=1)
        orders = [find_suspects(features, labels, alone(80), 2, seed).order for seed in (1, 1, 2)]
        assert np.array_equal(orders[0], orders[1])
        assert not np.array_equal(orders[0], orders[2])

    @pytest.mark.parametrize("small", [2, 3, 4])
    def test_classes_of_a_few_photos_are_judged(self, small: int) -> None:
        features, labels = cloud((30, small, 30), apart=3)
        suspects = find_suspects(features, labels, alone(60 + small), 3, 0)
        assert np.all(suspects.scores[labels == 1] < 1)
        assert np.all(suspects.probabilities[labels == 1, 1] > 0)

    def test_who_has_no_kin_can_t_be_judged_and_comes_last(self) -> None:
        features, labels = cloud((30, 1, 30, 2), apart=9)
        groups = alone(63)
        groups[-1] = groups[-2]
        suspects = find_suspects(features, labels, groups, 4, 0)
        assert set(suspects.order[-3:]) == {30, 61, 62}
        assert suspects.flagged <= 60
        assert suspects.at(62).score == 1

    def test_labels_without_a_photo_do_no_harm(self) -> None:
        features, labels = cloud((30, 30), apart=9)
        suspects = find_suspects(features, labels * 2 + 1, alone(60), 5, 0)
        assert {suspects.at(rank).suggested for rank in range(60)} == {1, 3}

    def test_twins_with_one_wrong_label_do_not_vouch_for_each_other(self) -> None:
        """A picture that lies in a folder many times is no witness for itself."""
        features, labels = cloud((60, 60), apart=9)
        features[:40] = features[60]  # forty copies of a photo of class 1, called 0
        groups = alone(120)
        groups[:40] = groups[60] = 0
        known = find_suspects(features, labels, groups, 2, 0)
        unknown = find_suspects(features, labels, alone(120), 2, 0)
        assert np.mean(known.scores[:40]) < 0.3
        assert np.mean(unknown.scores[:40]) > 0.6

    def test_too_few_photos_are_an_error_that_says_so(self) -> None:
        features, labels = cloud((10, 9))
        with pytest.raises(TrainError, match=r"19 photos are too few to tell which labels are wrong.*at least 20"):
            find_suspects(features, labels, alone(19), 2, 0)

    def test_one_class_can_t_be_judged(self) -> None:
        features, labels = cloud((30,))
        with pytest.raises(TrainError, match="fewer than two classes"):
            find_suspects(features, labels, alone(30), 3, 0)
