"""Classes with few photos: what each counts in the loss, and how often its photos are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from train.recipe import Imbalance

Pick = tuple[int, int, int]
"""Epoch, number of the photo, and how often it was drawn in this epoch before: what decides the augmentation."""
Weights = npt.NDArray[np.float64]
"""float64 [classes]."""


@dataclass(frozen=True)
class ClassShare:
    """What a class gets of the training."""

    label: str
    photos: int
    """That train."""
    weight: float
    """Of each of its photos in the loss, where 1 is the mean over all photos."""
    draws: float
    """Photos of this class in an epoch, expected."""


def balanced_weights(targets: Sequence[int], classes: int) -> Weights:
    """Return n / (classes * photos of the class): float64 [classes], so that all classes weigh the same together.

    Only classes with photos are counted, and one without weighs 0. The mean over the photos is 1. Source: G. King
    and L. Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9 (2001).
    """
    photos = np.bincount(targets, minlength=classes)
    present = np.count_nonzero(photos)
    return np.where(photos > 0, len(targets) / (present * np.maximum(photos, 1)), 0.0)


def class_shares(targets: Sequence[int], labels: Sequence[str], imbalance: Imbalance) -> tuple[ClassShare, ...]:
    """Say what each class gets, by index of the label."""
    photos = np.bincount(targets, minlength=len(labels)).astype(np.float64)
    even, balanced = np.ones(len(labels)), balanced_weights(targets, len(labels))
    weights = balanced if imbalance is Imbalance.WEIGHTS else even
    draws = photos * (balanced if imbalance is Imbalance.SAMPLING else even)
    return tuple(
        ClassShare(label, int(photos[one]), float(weights[one]), float(draws[one]))
        for one, label in enumerate(labels)
    )


class BalancedOrder(Sampler[Pick]):
    """As many draws an epoch as there are photos, with replacement, of every class the same number on average.

    The draws come from the seed and the epoch alone.
    """

    def __init__(self, targets: Sequence[int], seed: int) -> None:
        chances = balanced_weights(targets, max(targets) + 1)[np.asarray(targets)]
        self._chances = chances / chances.sum()
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based. Lightning calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._chances)

    def __iter__(self) -> Iterator[Pick]:
        rng = np.random.default_rng([self._seed, self._epoch])
        drawn = rng.choice(len(self), size=len(self), p=self._chances)
        before = np.zeros(len(self), dtype=np.int64)
        for number in drawn:
            yield self._epoch, int(number), int(before[number])
            before[number] += 1
