"""mixup and CutMix: the labels' shares are the pixels' shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from train.blend import blend
from train.recipe import Recipe

CLASSES = 4
NEITHER, MIXUP, CUTMIX = Recipe(), Recipe(mixup=0.4), Recipe(cutmix=1.0)
BOTH = Recipe(mixup=0.4, cutmix=1.0)


def _plain() -> tuple[Tensor, Tensor]:
    """Return four plain pictures of levels 0, 80, 160 and 240, each of a class of its own."""
    targets = torch.arange(CLASSES)
    return (targets.to(torch.uint8) * 80)[:, None, None, None].repeat(1, 32, 40, 3), targets


def _is_mixed(images: Tensor) -> bool:
    return len(images[1].unique()) == 1


@pytest.mark.parametrize("recipe", [MIXUP, CUTMIX, BOTH])
def test_labels_are_shared_as_the_pixels_are(recipe: Recipe) -> None:
    images, targets = _plain()
    for step in range(60):
        blended, shares = blend(images, targets, CLASSES, recipe, (0, 1, step))
        assert blended.dtype == torch.uint8
        assert blended.shape == images.shape
        assert shares.dtype == torch.float32
        assert torch.allclose(shares.sum(1), torch.ones(CLASSES))
        # Plain pictures: the mean level is that of the labels in their shares.
        exact = not _is_mixed(blended)
        expected = shares @ (targets * 80.0)
        assert torch.allclose(blended.float().mean((1, 2, 3)), expected, atol=1e-3 if exact else 0.51)


@pytest.mark.parametrize("recipe", [MIXUP, CUTMIX])
def test_the_other_part_is_the_neighbours(recipe: Recipe) -> None:
    images, targets = _plain()
    _, shares = blend(images, targets, CLASSES, recipe, (0, 0, 3))
    for one in range(CLASSES):
        assert set(shares[one].nonzero().flatten().tolist()) <= {one, (one - 1) % CLASSES}
    assert shares.max() < 1


def test_cutmix_pastes_one_rectangle() -> None:
    images, targets = _plain()
    sizes = set()
    for step in range(20):
        blended, _ = blend(images, targets, CLASSES, CUTMIX, (0, 0, step))
        pasted = (blended[1] != images[1]).all(-1)
        assert int(pasted.any(0).sum()) * int(pasted.any(1).sum()) == int(pasted.sum())
        assert torch.equal(blended[1][pasted], images[0][pasted])
        sizes.add(int(pasted.sum()))
    assert len(sizes) > 10


def test_where_there_are_both_each_batch_gets_one() -> None:
    images, targets = _plain()
    mixed = [_is_mixed(blend(images, targets, CLASSES, BOTH, (5, 0, step))[0]) for step in range(100)]
    assert 25 <= sum(mixed) <= 75  # 50, with a standard deviation of 5


def test_shares_are_drawn_from_beta() -> None:
    images, targets = _plain()
    kept = [float(blend(images, targets, CLASSES, MIXUP, (0, 0, step))[1][0, 0]) for step in range(400)]
    # Beta(0.4, 0.4): mean 1/2, variance 1 / (4 (2 * 0.4 + 1)).
    assert np.mean(kept) == pytest.approx(0.5, abs=5 * 0.373 / 20)
    assert np.var(kept) == pytest.approx(1 / 7.2, rel=0.15)


def test_the_key_alone_decides() -> None:
    images, targets = _plain()
    torch.manual_seed(1)
    first = blend(images, targets, CLASSES, BOTH, (1, 2, 3))
    torch.manual_seed(2)
    again, other = (blend(images, targets, CLASSES, BOTH, key) for key in ((1, 2, 3), (1, 2, 4)))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_neither_leaves_all_as_it_is() -> None:
    images, targets = _plain()
    blended, shares = blend(images, targets, CLASSES, NEITHER, (0, 0, 0))
    assert torch.equal(blended, images)
    assert torch.equal(shares, torch.eye(CLASSES))
