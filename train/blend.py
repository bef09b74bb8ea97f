"""Two photos made one, with the labels of both: mixup and CutMix, on a whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train.recipe import Recipe


@torch.no_grad()
def blend(
    images: Tensor, targets: Tensor, classes: int, recipe: Recipe, key: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Blend each picture with its neighbour: uint8 [k, h, w, 3] and float32 [k, classes], the labels' shares.

    mixup lays one over the other (Zhang et al. 2018), CutMix pastes a rectangle of the one into the other (Yun et
    al. 2019); where the recipe has both, each batch gets one of the two, by chance. Where it has neither, the
    pictures stay as they are. `key` (seed, epoch, step) alone decides what is drawn; all pictures of a batch
    share it, as is usual for both.
    """
    shares = functional.one_hot(targets, classes).to(torch.float32)
    if not recipe.mixup and not recipe.cutmix:
        return images, shares
    rng = np.random.default_rng(list(key))
    mixes = recipe.mixup > 0 and (recipe.cutmix <= 0 or rng.random() < 0.5)
    kept = float(rng.beta(*(recipe.mixup if mixes else recipe.cutmix,) * 2))
    if mixes:
        images = _lay_over(images, kept)
    else:
        images, kept = _paste(images, kept, rng)
    return images, shares.mul(kept).add(shares.roll(1, 0), alpha=1 - kept)


def _lay_over(images: Tensor, kept: float) -> Tensor:
    """Return `kept` of each picture and the rest of its neighbour's."""
    levels = images.to(torch.float32)
    return torch.lerp(levels.roll(1, 0), levels, kept).round_().to(torch.uint8)


def _paste(images: Tensor, kept: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Return pictures with a rectangle of their neighbours', and the share of the pixels that stayed.

    The rectangle's centre lies anywhere, so that some of it may be cut off: what stayed is more than `kept` then.
    """
    height, width = images.shape[1:3]
    side = math.sqrt(1 - kept)
    (top, bottom), (left, right) = (_span(length, side, rng) for length in (height, width))
    pasted = images.clone()
    pasted[:, top:bottom, left:right] = images.roll(1, 0)[:, top:bottom, left:right]
    return pasted, 1 - (bottom - top) * (right - left) / (height * width)


def _span(length: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """Return where `share` of a length begins and ends about a random centre, as far as it lies within."""
    centre, half = int(rng.integers(length)), round(length * share) // 2
    return max(0, centre - half), min(length, centre + half)
