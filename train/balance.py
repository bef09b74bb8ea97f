"""Classes with few photos: what each counts in the loss, and how often its photos are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.recipe import Imbalance

Picks = npt.NDArray[np.int64]
"""int64 [draws, 2]: number of the photo, and how often it was drawn in this epoch before."""
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


def balanced_weights(targets: Sequence[int] | npt.NDArray[np.int64], classes: int) -> Weights:
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


def shuffle(count: int, seed: int, epoch: int) -> Picks:
    """Return every photo once, in an order from the seed and the epoch alone."""
    numbers = np.random.default_rng([seed, epoch]).permutation(count)
    return np.stack((numbers, np.zeros_like(numbers)), axis=1)


def draw_evenly(targets: Sequence[int] | npt.NDArray[np.int64], seed: int, epoch: int) -> Picks:
    """Draw as many photos as there are, with replacement, of every class the same number on average.

    The draws come from the seed and the epoch alone.
    """
    chances = balanced_weights(targets, int(np.max(targets)) + 1)[np.asarray(targets)]
    rng = np.random.default_rng([seed, epoch])
    drawn = rng.choice(len(chances), size=len(chances), p=chances / chances.sum())
    by_number = np.argsort(drawn, kind="stable")
    ordered = drawn[by_number]
    copies = np.empty_like(drawn)
    copies[by_number] = np.arange(len(drawn)) - np.searchsorted(ordered, ordered)
    return np.stack((drawn, copies), axis=1)
