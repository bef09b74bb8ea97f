"""What training shows the network instead of the photo itself. Validation never comes here."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from edge.preprocess import InputSpec, Pixels

LEAST_AREA = 0.4
"""Smallest share of the photo that a random crop keeps: items stay recognizable."""


class Augment:
    """Random crop, flips, light and colour, on uint8 pixels."""

    def __init__(self, spec: InputSpec) -> None:
        size = (spec.height, spec.width)
        self._transform = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(LEAST_AREA, 1.0), ratio=(0.75, 4 / 3), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),  # waste lies any way up
                # No hue: it takes ten times as long as the three together, as long as a training step's share.
                v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
            ]
        )

    def __call__(self, picture: Pixels, key: int) -> Tensor:
        """Return uint8 [height, width, 3] BGR made from uint8 [h, w, 3] BGR.

        `key` alone decides the randomness: the same photo in the same epoch of the same seed looks the same,
        whatever worker draws it and whatever was drawn before.
        """
        rgb = torch.from_numpy(picture).flip(-1).permute(2, 0, 1)
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(key)  # torch.manual_seed also asks every GPU, which takes a while
        try:
            out: Tensor = self._transform(rgb)
        finally:
            torch.set_rng_state(before)
        return out.permute(1, 2, 0).flip(-1)
