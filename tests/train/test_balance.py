"""What small classes get: weights in the loss, draws an epoch, and the recall that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tests.train.jobs import make_job
from train.backbone import make_classifier
from train.balance import Picks, balanced_weights, class_shares, draw_evenly, shuffle
from train.fit import fit
from train.judge import answer
from train.loaders import TrainBatch
from train.photos import LabelledFile, open_pictures
from train.recipe import Augmentation, Imbalance, Recipe
from train.tuning import FineTuning

TARGETS = [0] * 100 + [1] * 10 + [3] * 40
HUES = {"green": 70, "blue": 100}


def test_classes_weigh_the_same_together() -> None:
    weights = balanced_weights(TARGETS, 4)
    assert weights == pytest.approx([150 / (3 * 100), 150 / (3 * 10), 0, 150 / (3 * 40)])
    assert np.mean(weights[TARGETS]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("imbalance", "weights", "draws"),
    [
        (Imbalance.NONE, [1, 1], [100, 10]),
        (Imbalance.WEIGHTS, [0.55, 5.5], [100, 10]),
        (Imbalance.SAMPLING, [1, 1], [55, 55]),
    ],
)
def test_says_what_each_class_gets(imbalance: Imbalance, weights: list[float], draws: list[float]) -> None:
    shares = class_shares(TARGETS[:110], ("disc", "ring"), imbalance)
    assert [(share.label, share.photos) for share in shares] == [("disc", 100), ("ring", 10)]
    assert [share.weight for share in shares] == pytest.approx(weights)
    assert [share.draws for share in shares] == pytest.approx(draws)


def test_every_class_is_drawn_as_often() -> None:
    drawn = np.zeros(4)
    for epoch in range(40):
        picks = draw_evenly(TARGETS, 3, epoch)
        assert picks.shape == (150, 2)
        drawn += np.bincount(np.array(TARGETS)[picks[:, 0]], minlength=4)
    # 6,000 draws, 2,000 a class with a standard deviation of 37: five of them.
    assert drawn[2] == 0
    assert drawn[[0, 1, 3]] == pytest.approx([2000, 2000, 2000], abs=185)


@pytest.mark.parametrize("order", [lambda seed, epoch: draw_evenly(TARGETS, seed, epoch), partial(shuffle, 150)])
def test_order_depends_on_seed_and_epoch_alone(order: Callable[[int, int], Picks]) -> None:
    start = order(1, 0)
    assert np.array_equal(order(1, 0), start)
    assert not np.array_equal(order(1, 1), start)
    assert not np.array_equal(order(2, 0), start)


def test_a_photo_drawn_again_is_another_pick() -> None:
    """Or the few photos of a small class would be shown with the same augmentation over and over."""
    picks = [tuple(pick) for pick in draw_evenly(TARGETS, 0, 0).tolist()]
    assert len(set(picks)) == len(picks)
    for number in {number for number, _ in picks}:
        copies = [copy for one, copy in picks if one == number]
        assert copies == list(range(len(copies)))
    assert max(copy for _, copy in picks) > 1


def test_a_shuffle_has_every_photo_once() -> None:
    picks = shuffle(50, 1, 0)
    assert sorted(picks[:, 0].tolist()) == list(range(50))
    assert set(picks[:, 1].tolist()) == {0}


def _files(folder: Path, per_class: dict[str, int], seed: int) -> list[LabelledFile]:
    """Draw plain colours, green and blue, which overlap: nobody tells all of them apart."""
    rng, files = np.random.default_rng(seed), []
    folder.mkdir()
    for target, (kind, count) in enumerate(per_class.items()):
        for number in range(count):
            hue = np.clip(rng.normal(HUES[kind], 20), 0, 179)
            pixels = np.full((40, 40, 3), (hue, 200, 200), dtype=np.uint8)
            path = folder / f"{kind}{number}.png"
            cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_HSV2BGR))
            files.append(LabelledFile(path, target))
    return files


def test_weights_change_the_loss_as_they_should() -> None:
    torch.manual_seed(0)
    classifier, recipe = (
        make_classifier("resnet18", 2).eval(),
        Recipe(weights="none", img_size=32, augment=Augmentation.NONE),
    )
    images, targets = torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 0, 1])
    weights = balanced_weights(targets.tolist(), 2)
    plain, weighted = FineTuning(classifier, recipe, 1), FineTuning(classifier, recipe, 1, weights)
    losses = []
    batch = TrainBatch(images, np.ones(6, dtype=np.float32), targets, np.zeros((6, 4), dtype=np.int64))
    for tuning in (plain, weighted):
        losses.append(float(tuning.training_step(batch, 0).detach()))
    expected = nn.functional.cross_entropy(
        classifier(images), targets, torch.tensor([0.6, 3.0]), label_smoothing=recipe.label_smoothing
    )
    assert losses[1] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def _recall(folder: Path, imbalance: Imbalance) -> float:
    """Train on ten green photos for each blue one, and return the share of the blue ones that is found."""
    train = _files(folder / "train", {"green": 160, "blue": 16}, 1)
    test = _files(folder / "test", {"green": 40, "blue": 40}, 2)
    recipe = Recipe(
        model="resnet18", weights="none", img_size=32, epochs=3, batch_size=16, lr=3e-3, imbalance=imbalance
    )
    torch.manual_seed(0)
    classifier = make_classifier("resnet18", 2)
    job, about = make_job(train, test[::8], recipe, folder / "run", ("green", "blue"))
    fit(job, classifier, about)
    pictures = open_pictures(test, recipe, folder / "cache", training=False)
    truth, logits = answer(classifier, pictures, torch.device("cpu"))
    return float((logits.argmax(axis=1)[truth == 1] == 1).mean())


@pytest.mark.slow
def test_both_ways_find_a_class_that_is_lost_without(tmp_path: Path) -> None:
    recalls = {}
    for imbalance in Imbalance:
        (tmp_path / imbalance.value).mkdir()
        recalls[imbalance] = _recall(tmp_path / imbalance.value, imbalance)
    assert recalls[Imbalance.WEIGHTS] > recalls[Imbalance.NONE] + 0.4
    assert recalls[Imbalance.SAMPLING] > recalls[Imbalance.NONE] + 0.4
