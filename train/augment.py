"""What training shows the network instead of the photo itself, a batch at a time. Validation never comes here."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from edge.preprocess import Resize
from train.chance import Chance, Draws, Keys
from train.rand_augment import rand_augment
from train.recipe import Augmentation, Recipe

CANVAS_SHARE = 1.3
"""Side of the stored canvas over that of the view: what a crop of the whole photo has to spare.

A crop is sampled bilinearly, without a filter: it shrinks the canvas by 1.3 at most, and by more than the 1.2 up
to which edge.preprocess holds that harmless only where it keeps over 85 % of the area, one crop in four. On photos
of waste the whole shrunk so differs from one shrunk through a filter by 1.2 levels, root mean square.
"""
LEAST_AREA = 0.4
"""Smallest share of the photo that a random crop keeps: items stay recognizable."""
WIDEST = 4 / 3
"""Largest width over height of a crop, and its inverse the smallest."""
JITTER = 0.3
"""Brightness, contrast and saturation vary by this share. No hue: the colour of glass is what tells it."""
LEAST_ERASED, MOST_ERASED, ERASED_RATIO = 0.02, 1 / 3, 3.3
"""Share of a picture that is erased, and the largest ratio of sides (Zhong et al., "Random Erasing", 2020)."""
BLANK = (104, 116, 124)
"""What erased pixels show: ImageNet's mean, BGR levels, which excites nothing."""
LUMA = (0.114, 0.587, 0.299)
"""Weights of blue, green and red in brightness (ITU-R BT.601)."""

AT_ONCE = 4
"""Photos that a CPU works on together: what stands between two steps stays in its cache, which saves a quarter."""

Proportions = npt.NDArray[np.float32]
"""float32 [photos]: width over height of the photos as they were taken."""


class Draw(IntEnum):
    """What each random number decides. RandAugment's begin at OPERATIONS."""

    AREA = 0
    RATIO = 1
    LEFT = 2
    TOP = 3
    MIRROR = 4
    FLIP = 5
    BRIGHTNESS = 6
    CONTRAST = 7
    SATURATION = 8
    ERASE = 9
    ERASED_AREA = 10
    ERASED_RATIO = 11
    ERASED_LEFT = 12
    ERASED_TOP = 13
    OPERATIONS = 32


class Augment:
    """Random crop in true proportions, flips, light and colour; RandAugment and erasing where the recipe asks."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    @torch.no_grad()
    def __call__(self, canvases: Tensor, aspects: Proportions, keys: Keys) -> Tensor:
        """Return uint8 [k, view, view, 3] BGR, where the canvases lie, from uint8 [k, side, side, 3] BGR.

        `aspects` are the photos' own proportions, which the canvases' stretching took from them. `keys` alone
        decide the randomness: a photo of one seed and epoch looks the same whatever batch, process or place in it;
        on the CPU to the bit. Without augmentation the canvases are the graph's inputs already, and stay so.
        """
        if self._recipe.augment is Augmentation.NONE:
            return canvases
        if canvases.device.type != "cpu":
            return self._augment(canvases, aspects, keys)
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(canvases), AT_ONCE)]
        return torch.cat([self._augment(canvases[part], aspects[part], keys[part]) for part in parts])

    def _augment(self, canvases: Tensor, aspects: Proportions, keys: Keys) -> Tensor:
        chance = Chance(keys)
        views = self._crop(canvases, aspects, chance)
        if self._recipe.rand_augment:
            views = rand_augment(views, chance, Draw.OPERATIONS, self._recipe.rand_augment)
        pixels = _to_pixels(_jitter(views, chance))
        return _erase(pixels, chance, self._recipe.erasing) if self._recipe.erasing else pixels

    def _crop(self, canvases: Tensor, aspects: Proportions, chance: Chance) -> Tensor:
        """Return float32 [k, 3, view, view], levels 0 to 255, of uint8 [k, side, side, 3]."""
        if self._recipe.resize is Resize.STRETCH:  # what validates is stretched, too: a crop keeps that shape
            aspects = np.ones_like(aspects)
        width, height = crop_sizes(aspects.astype(np.float64), chance)
        left, top = (chance.between(draw, -1, 1) for draw in (Draw.LEFT, Draw.TOP))
        upright = self._recipe.augment is Augmentation.LIGHT
        mirrored = np.where(chance.uniform(Draw.MIRROR) < 0.5, -1.0, 1.0)
        flipped = np.where((chance.uniform(Draw.FLIP) < 0.5) & (not upright), -1.0, 1.0)
        numbers = np.stack((left * (1 - width), width * mirrored, top * (1 - height), height * flipped))
        x, width_, y, height_ = _to_device(numbers, canvases)
        size = self._recipe.view_size
        # Pixel centres from -1 to 1. Neither turned nor sheared, a crop is a column's x and a row's y.
        centres = (torch.arange(size, device=canvases.device, dtype=torch.float32) * 2 + 1) / size - 1
        columns, rows = x[:, None] + width_[:, None] * centres, y[:, None] + height_[:, None] * centres
        shape = (len(canvases), size, size)
        grid = torch.stack((columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)), dim=-1)
        levels = canvases.permute(0, 3, 1, 2).contiguous().float()  # the copy first: a quarter of the bytes
        return functional.grid_sample(levels, grid, padding_mode="border", align_corners=False)


def crop_sizes(aspects: Draws, chance: Chance) -> tuple[Draws, Draws]:
    """Return width and height of each random crop as shares of the photo's: float64 [k], over 0 and at most 1.

    The crop's share of the area is even from 0.4 to 1, and its own width over height is even on a logarithmic
    scale from 3/4 to 4/3, as far as it fits into the photo. A photo that is so long that no crop of that area
    fits gives the largest that does.
    """
    area = chance.between(Draw.AREA, LEAST_AREA, 1.0)
    low = np.clip(aspects * area, 1 / WIDEST, WIDEST)  # narrower ones would be taller than the photo
    high = np.clip(aspects / area, 1 / WIDEST, WIDEST)  # wider ones would be wider
    ratio = np.exp(chance.between(Draw.RATIO, np.log(low), np.log(high)))
    width, height = np.sqrt(aspects * area * ratio), np.sqrt(aspects * area / ratio)  # the photo's height is 1
    fits = np.minimum(1.0, np.minimum(aspects / width, 1 / height))
    return np.minimum(1.0, width * fits / aspects), np.minimum(1.0, height * fits)


def _jitter(views: Tensor, chance: Chance) -> Tensor:
    """Change brightness, then contrast about the mean brightness, then saturation: float32 [k, 3, h, w], in place.

    The three are one: levels times a factor, plus a share of the pixel's own brightness, plus a constant. To the
    last comes the half that makes cutting off round.
    """
    draws = (Draw.BRIGHTNESS, Draw.CONTRAST, Draw.SATURATION)
    factors = np.stack([chance.between(draw, 1 - JITTER, 1 + JITTER) for draw in draws])
    brightness, contrast, saturation = _to_device(factors, views)[:, :, None, None]
    constant = brightness * (1 - contrast) * mean_luma(views)[:, None, None] + 0.5
    own = _luma(views) * (brightness * contrast * (1 - saturation)) + constant
    return views.mul_((brightness * contrast * saturation)[:, None]).add_(own[:, None])


def _luma(views: Tensor) -> Tensor:
    """Return the brightness of each pixel, float32 [k, h, w], of [k, 3, h, w]."""
    blue, green, red = LUMA
    return views[:, 0] * blue + views[:, 1] * green + views[:, 2] * red


def mean_luma(views: Tensor) -> Tensor:
    """Return the mean brightness of each picture, float32 [k], of float32 [k, 3, h, w], levels 0 to 255.

    Every second pixel of every second row tells it, or fewer. Whole levels are summed, few enough to be exact in
    float32 (under 2^24), so that the order in which threads sum does not show in the result.
    """
    step = max(2, views.shape[-1] // 128)
    some = views[:, :, ::step, ::step].round()
    means = some.sum(dim=(2, 3)) / (some.shape[2] * some.shape[3])
    blue, green, red = LUMA
    return means[:, 0] * blue + means[:, 1] * green + means[:, 2] * red


def _to_pixels(views: Tensor) -> Tensor:
    """Return uint8 [k, h, w, 3] of float32 [k, 3, h, w], levels that half was added to; `views` is used up."""
    levels = views.clamp_(0, 255).to(torch.uint8)  # which cuts off what is behind the point
    return levels.permute(0, 2, 3, 1).contiguous()


def _erase(pixels: Tensor, chance: Chance, share: float) -> Tensor:
    """Blank a random rectangle of some of the pictures, uint8 [k, side, side, 3], in place."""
    side = pixels.shape[1]
    area = chance.between(Draw.ERASED_AREA, LEAST_ERASED, MOST_ERASED) * (chance.uniform(Draw.ERASE) < share)
    limit = np.log(ERASED_RATIO)
    ratio = np.exp(chance.between(Draw.ERASED_RATIO, -limit, limit))
    sizes = [np.minimum(side, np.round(side * np.sqrt(area * one))) for one in (ratio, 1 / ratio)]
    inside = []
    for size, draw in zip(sizes, (Draw.ERASED_LEFT, Draw.ERASED_TOP), strict=True):
        start = np.floor(chance.uniform(draw) * (side - size + 1))
        first, end = _to_device(np.stack((start, start + size)), pixels)[:, :, None]
        places = torch.arange(side, device=pixels.device)
        inside.append((places >= first) & (places < end))
    columns, rows = inside
    blank = torch.tensor(BLANK, dtype=torch.uint8, device=pixels.device)
    return torch.where((rows[:, :, None] & columns[:, None, :])[..., None], blank, pixels)


def _to_device(numbers: npt.NDArray[np.float64], like: Tensor) -> Tensor:
    """Return host numbers as float32 beside the pictures: drawn on the host, they are the same everywhere."""
    return torch.from_numpy(numbers.astype(np.float32)).to(like.device, non_blocking=True)
