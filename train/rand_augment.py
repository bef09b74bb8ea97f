"""RandAugment on a batch: two operations a picture out of fourteen, all of one strength.

Source: Cubuk et al., "RandAugment", 2020; operations and their ranges as torchvision's, so that published
magnitudes mean the same. Beyond a turned or shifted picture its rim is drawn out; torchvision paints black there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train.chance import Chance

ROUNDS = 2
"""Operations on each picture."""
DRAWS = 2
"""Random numbers that a round takes of each picture: which operation, and its sign."""
STRONGEST = 30
"""Magnitude of the strongest operations."""

Operation = Callable[[Tensor, Tensor], Tensor]
"""Pictures float32 [k, 3, h, w] of whole levels 0 to 255 BGR, and strengths float32 [k], -1 to 1, to pictures."""


def rand_augment(views: Tensor, chance: Chance, first: int, magnitude: int) -> Tensor:
    """Return float32 [k, 3, h, w] BGR of whole levels 0 to 255, from such or from levels between.

    `first` is the number of the first random draw; the photos that drew one operation pass through it together.
    """
    views = views.round_()
    for draw in range(first, first + ROUNDS * DRAWS, DRAWS):
        kinds = (chance.uniform(draw) * len(OPERATIONS)).astype(np.int64)
        signs = np.where(chance.uniform(draw + 1) < 0.5, -1.0, 1.0) * magnitude / STRONGEST
        strengths = torch.from_numpy(signs.astype(np.float32)).to(views.device, non_blocking=True)
        for kind, operation in enumerate(OPERATIONS.values()):
            chosen = torch.from_numpy(np.flatnonzero(kinds == kind)).to(views.device, non_blocking=True)
            if len(chosen):
                views[chosen] = operation(views[chosen], strengths[chosen]).round_().clamp_(0, 255)
    return views


def _warp(views: Tensor, matrix: list[list[Tensor]]) -> Tensor:
    """Sample each picture where the 2 x 3 matrix of float32 [k] sends each pixel; the centre is the origin.

    Lengths are half of the picture's side. Written out and not as a matrix product, whose bits may depend on how
    many pictures are turned together.
    """
    count, _, height, width = views.shape
    x = ((torch.arange(width, device=views.device) * 2 + 1) / width - 1)[None, None, :]
    y = ((torch.arange(height, device=views.device) * 2 + 1) / height - 1)[None, :, None]
    axes = [a[:, None, None] * x + b[:, None, None] * y + c[:, None, None] for a, b, c in matrix]
    grid = torch.stack([axis.expand(count, height, width) for axis in axes], dim=-1)
    return functional.grid_sample(views, grid, padding_mode="border", align_corners=False)


def _shear_x(views: Tensor, strength: Tensor) -> Tensor:
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    return _warp(views, [[one, 0.3 * strength, none], [none, one, none]])


def _shear_y(views: Tensor, strength: Tensor) -> Tensor:
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    return _warp(views, [[one, none, none], [0.3 * strength, one, none]])


def _shift_x(views: Tensor, strength: Tensor) -> Tensor:
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    return _warp(views, [[one, none, strength * (2 * 150 / 331)], [none, one, none]])


def _shift_y(views: Tensor, strength: Tensor) -> Tensor:
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    return _warp(views, [[one, none, none], [none, one, strength * (2 * 150 / 331)]])


def _turn(views: Tensor, strength: Tensor) -> Tensor:
    """Turn by up to 30 degrees."""
    angle = strength * math.radians(30)
    cos, sin, none = torch.cos(angle), torch.sin(angle), torch.zeros_like(strength)
    return _warp(views, [[cos, -sin, none], [sin, cos, none]])


def _brightness(views: Tensor, strength: Tensor) -> Tensor:
    return views * (1 + 0.9 * strength)[:, None, None, None]


def _colour(views: Tensor, strength: Tensor) -> Tensor:
    return _away_from(_grey(views), views, strength)


def _contrast(views: Tensor, strength: Tensor) -> Tensor:
    # Whole levels are summed: no order of summing shows in the result.
    sums = _grey(views).to(torch.int64).sum(dim=(1, 2, 3))
    mean = (sums.to(torch.float64) / (views.shape[2] * views.shape[3])).to(torch.float32)
    return _away_from(mean[:, None, None, None], views, strength)


def _sharpness(views: Tensor, strength: Tensor) -> Tensor:
    """Move away from, or towards, the picture smoothed by [1 1 1; 1 5 1; 1 1 1] / 13; the rim stays."""
    height, width = views.shape[2:]
    total = 4 * views[:, :, 1:-1, 1:-1]
    for top in range(3):
        for left in range(3):
            total = total + views[:, :, top : top + height - 2, left : left + width - 2]
    smooth = views.clone()
    smooth[:, :, 1:-1, 1:-1] = (total / 13).round_()
    return _away_from(smooth, views, strength)


def _posterize(views: Tensor, strength: Tensor) -> Tensor:
    """Keep the highest bits: 8 at magnitude 0, 4 at 30."""
    step = 2.0 ** torch.round(4 * strength.abs())[:, None, None, None]
    return torch.floor(views / step) * step


def _solarize(views: Tensor, strength: Tensor) -> Tensor:
    """Invert the levels from a threshold on: 255 at magnitude 0, 0 at 30."""
    threshold = (255 * (1 - strength.abs()))[:, None, None, None]
    return torch.where(views >= threshold, 255 - views, views)


def _autocontrast(views: Tensor, strength: Tensor) -> Tensor:  # noqa: ARG001  an Operation
    """Spread each channel over all levels."""
    low, high = views.amin(dim=(2, 3), keepdim=True), views.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (views - low) * (255 / (high - low).clamp_min(1)), views)


def _equalize(views: Tensor, strength: Tensor) -> Tensor:  # noqa: ARG001  an Operation
    """Even out the histogram of each channel, as Pillow does."""
    levels = views.flatten(0, 1).flatten(1).to(torch.int64)  # [3 k, pixels]
    offsets = torch.arange(len(levels), device=views.device)[:, None] * 256
    counts = torch.bincount((levels + offsets).flatten(), minlength=256 * len(levels)).view(-1, 256)
    last = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (levels.shape[1] - last) // 255
    before = counts.cumsum(1) - counts
    table = ((before + step // 2) // step.clamp_min(1)).clamp_max(255)
    even = table.gather(1, levels).view(views.shape).to(torch.float32)
    return torch.where((step > 0).view(len(views), 3, 1, 1), even, views)


def _away_from(start: Tensor, views: Tensor, strength: Tensor) -> Tensor:
    """Return `views` moved away from `start` by up to 0.9 of their distance, or towards it."""
    return start + (views - start) * (1 + 0.9 * strength)[:, None, None, None]


def _grey(views: Tensor) -> Tensor:
    """Return whole levels of brightness, float32 [k, 1, h, w] (ITU-R BT.601)."""
    return (0.114 * views[:, :1] + 0.587 * views[:, 1:2] + 0.299 * views[:, 2:]).round_()


OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda views, strength: views,  # noqa: ARG005  an Operation
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "shift_x": _shift_x,
    "shift_y": _shift_y,
    "turn": _turn,
    "brightness": _brightness,
    "colour": _colour,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
"""By name, in the order of the draw."""
