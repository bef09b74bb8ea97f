import io
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edge.errors import ExportError, TrainError
from train import strangers
from train.strangers import StrangerScore, fit_strangers, strangeness, stranger_threshold

Numbers = npt.NDArray[np.float32]


class World:
    """Known classes on a plane of 8 directions in 64 features, behind a last layer that tells them apart."""

    def __init__(self, classes: int = 4, per_class: int = 60, width: int = 64, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.plane = np.linalg.qr(self.rng.normal(size=(width, 8)))[0].T
        self.means = self.rng.normal(0, 4, (classes, 8))
        self.classes, self.width = classes, width
        self.train, self.val, self.test = (self.known(per_class) for _ in range(3))
        self.weight = (self.means @ self.plane).astype(np.float32)
        self.bias = (-0.5 * (self.means**2).sum(axis=1)).astype(np.float32)

    def known(self, per_class: int) -> Numbers:
        inside = np.repeat(self.means, per_class, axis=0) + self.rng.normal(size=(self.classes * per_class, 8))
        return self._lift(inside)

    def off_the_plane(self, count: int) -> Numbers:
        """Answered as strongly as known ones, but with something else in their features."""
        away = self.rng.normal(0, 0.6, (count, self.width)).astype(np.float32)
        return self.known(count)[:count] + away - (away @ self.plane.T @ self.plane).astype(np.float32)

    def unanswered(self, count: int) -> Numbers:
        """On the plane, and between the classes."""
        return self._lift(self.means.mean(axis=0) + 0.3 * self.rng.normal(size=(count, 8)))

    def _lift(self, inside: npt.NDArray[np.float64]) -> Numbers:
        noise = self.rng.normal(0, 0.1, (len(inside), self.width))
        return (inside @ self.plane + noise).astype(np.float32)

    def fit(self) -> StrangerScore:
        return fit_strangers(self.train, self.weight, self.bias, self.val)

    def strange(self, score: StrangerScore, features: Numbers) -> Numbers:
        return strangeness(score, features, self.weight, self.bias)


def auroc(known: Numbers, strange: Numbers) -> float:
    return float(np.mean(strange[:, None] > known[None, :]))


def test_both_kinds_of_strangers_are_told_where_the_softmax_tells_one() -> None:
    world = World()
    score = world.fit()
    known = world.strange(score, world.test)
    off = world.off_the_plane(200)
    assert auroc(known, world.strange(score, off)) > 0.97
    assert auroc(known, world.strange(score, world.unanswered(200))) > 0.97

    def unsure(features: Numbers) -> Numbers:
        logits = torch.from_numpy(features @ world.weight.T + world.bias)
        return (1 - torch.softmax(logits.double(), dim=1).amax(dim=1)).float().numpy()

    assert auroc(unsure(world.test), unsure(off)) < 0.7


def test_the_threshold_rejects_the_share_that_was_allowed() -> None:
    world = World(per_class=250)
    score = world.fit()
    limit = stranger_threshold(world.strange(score, world.val), 0.05)
    assert np.mean(world.strange(score, world.known(2000)) > limit) == pytest.approx(0.05, abs=0.02)


def test_a_state_makes_the_same_score_again() -> None:
    world = World()
    score = world.fit()
    file = io.BytesIO()
    torch.save({"strangers": score.state_dict()}, file)
    file.seek(0)
    again = StrangerScore.from_state(torch.load(file, weights_only=True)["strangers"])
    assert not again.training
    assert (world.strange(again, world.test) == world.strange(score, world.test)).all()


def test_a_state_that_does_not_hold_together_is_refused() -> None:
    state = World().fit().state_dict()
    for broken in ({}, {**state, "centre": torch.zeros(7)}, {**state, "basis": torch.zeros(3)}, {"basis": 7}):
        with pytest.raises(ExportError, match="train again") as caught:
            StrangerScore.from_state(broken)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)


def test_the_same_photos_give_the_same_score_and_others_random_numbers_stay() -> None:
    world = World()
    torch.manual_seed(3)
    first = world.fit().state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(4)
    second = world.fit().state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize(
    ("classes", "per_class"),
    [
        pytest.param(2, 5, id="few photos"),
        pytest.param(3, 1, id="one each"),
        pytest.param(1000, 2, id="1,000 classes"),
    ],
)
def test_any_number_of_photos_and_classes_gives_a_finite_score(classes: int, per_class: int) -> None:
    world = World(classes, per_class)
    world.train[:, 5] = world.val[:, 5] = 0  # a feature that never moves
    for held_out in (world.val, None, world.val[:0]):
        score = fit_strangers(world.train, world.weight, world.bias, held_out)
        assert np.isfinite(world.strange(score, world.test)).all()
        assert np.isfinite(world.strange(score, np.zeros((1, 64), dtype=np.float32))).all()


def test_photos_that_are_all_alike_give_a_finite_score() -> None:
    world = World()
    for same in (np.zeros((20, 64), dtype=np.float32), np.ones((20, 64), dtype=np.float32)):
        score = fit_strangers(same, world.weight, world.bias)
        found = world.strange(score, np.concatenate([same, world.test]))
        assert np.isfinite(found).all()


def test_more_photos_and_wider_features_take_no_more_than_300_kilobytes() -> None:
    rng = np.random.default_rng(0)
    for width in (1280, 2048):
        features = rng.normal(size=(300, width)).astype(np.float32)
        score = fit_strangers(features, np.zeros((2, width), dtype=np.float32), np.zeros(2, dtype=np.float32))
        basis = score.get_buffer("basis")
        assert 4 * basis.numel() <= 300_000
        assert torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4)


def test_what_is_no_number_is_refused() -> None:
    world = World()
    broken = world.train.copy()
    broken[3, 3] = math.nan
    for features, weight, bias, held_out in (
        (broken, world.weight, world.bias, world.val),
        (world.train, world.weight, world.bias, broken),
        (world.train, world.weight * np.float32(math.inf), world.bias, None),
        (world.train[:0], world.weight, world.bias, None),
        (world.train[:, :5], world.weight, world.bias, None),
        (world.train, world.weight, world.bias[:2], None),
    ):
        with pytest.raises(TrainError, match="expected"):
            fit_strangers(features, weight, bias, held_out)


def test_the_conformal_quantile() -> None:
    values = np.arange(99.0)
    assert stranger_threshold(values, 0.02) == 97  # ceil(100 * 0.98) = 98th smallest
    assert stranger_threshold(values[:49], 0.02) == 48
    assert stranger_threshold(values[:48], 0.02) == math.inf
    assert stranger_threshold([], 0.5) == math.inf
    assert stranger_threshold(values, 0.0) == math.inf
    assert stranger_threshold(values, 1.0) == -math.inf
    for bad, share in (([0.0, math.nan], 0.1), ([[0.0]], 0.1), ([0.0], 1.5), ([0.0], math.nan)):
        with pytest.raises(TrainError, match="expected"):
            stranger_threshold(bad, share)


def test_half_precision_inputs_are_scored_in_single() -> None:
    world = World()
    score = world.fit()
    features = torch.from_numpy(world.test * 60)  # the sum of their squares does not fit into float16
    logits = torch.from_numpy(world.test @ world.weight.T)
    exact = score(features, logits)
    half = score(features.half(), logits.half())
    assert half.dtype is torch.float32
    assert torch.allclose(half, exact, rtol=0.02, atol=0.5)


def test_the_weight_of_the_residual_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "SHARES", (1.0, 0.0, 0.0))
    world = World()
    score = world.fit()
    assert auroc(world.strange(score, world.test), world.strange(score, world.off_the_plane(200))) < 0.7
