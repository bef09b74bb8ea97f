"""Would more photos help? The learning curve of a probe on frozen features, carried on to twice as many photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.errors import TrainError
from edge.scores import Truth
from train.insight.doubling import Doubling, Wrong, carry_on, resample
from train.insight.draws import Groups, places
from train.insight.features import Features
from train.insight.power import Sizes
from train.insight.probe import FOLDS, fit

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of the photos: what the probe learns from."""
LEAST_SIZES = 3
"""Sizes without which nothing can be said about the shape of the curve."""
LEAST_PER_CLASS = 2
"""Photos of a class, on average, from which the smallest size is worth a look."""
TELLING = 10
"""Photos of a class below which nothing is said about that class."""
REPEATS, LEAST_REPEATS = 10, 4
WORK = 50_000
"""Photos times repeats: of large data sets, whose curves have little noise, there are fewer repeats."""


@dataclass(frozen=True)
class LearningCurve:
    """How well the probe answers by the number of photos that it learns from."""

    sizes: tuple[int, ...]
    """Photos, rising."""
    accuracy: tuple[float, ...]
    """Mean over the repeats, 0 to 1, at each size."""
    spread: tuple[float, ...]
    """Standard deviation over the repeats, at each size."""
    overall: Doubling
    classes: tuple[Doubling | None, ...]
    """By index of the label; None where there are fewer than 10 photos, which tell nothing."""


def learn_curve(features: Features, labels: Truth, groups: Groups, classes: int, seed: int) -> LearningCurve:
    """Measure the curve and carry it on, given compressed features float32 [photos, k].

    In each repeat the photos are dealt out anew: every photo is answered by a probe that learnt from rising
    shares of the four fifths that hold neither it nor its group. Raises TrainError where the photos are too few.
    Time grows linearly: 2,000 photos take about 2 s on 2 cores, 100,000 about two minutes.
    """
    shares = _shares(labels)
    repeats = max(LEAST_REPEATS, min(REPEATS, WORK // len(labels)))
    rounds = [
        _answer(features, labels, groups, classes, shares, np.random.default_rng([seed, one]))
        for one in range(repeats)
    ]
    wrong = np.stack([wrong for wrong, _ in rounds])
    sizes: Sizes = np.stack([sizes for _, sizes in rounds]).mean(axis=0)
    rng = np.random.default_rng([seed, repeats])
    members = [np.flatnonzero(labels == label) for label in range(classes)]
    tallies = [resample(wrong[:, :, its], groups[its], rng) for its in members]
    accuracy = 1 - wrong.mean(axis=2, dtype=np.float64)
    return LearningCurve(
        sizes=tuple(int(size) for size in np.round(sizes)),
        accuracy=tuple(map(float, accuracy.mean(axis=0))),
        spread=tuple(map(float, accuracy.std(axis=0, ddof=1))),
        overall=carry_on(sizes, wrong, np.sum(tallies, axis=0), rng),
        classes=tuple(
            carry_on(sizes, wrong[:, :, its], tally, rng) if len(its) >= TELLING else None
            for its, tally in zip(members, tallies, strict=True)
        ),
    )


def _shares(labels: Truth) -> list[float]:
    present = len(np.unique(labels))
    learning = 1 - 1 / FOLDS
    shares = [share for share in SHARES if share * learning * len(labels) >= LEAST_PER_CLASS * present]
    if len(shares) < LEAST_SIZES:
        least = int(np.ceil(LEAST_PER_CLASS * present / SHARES[-LEAST_SIZES] / learning))
        raise TrainError(
            f"{len(labels)} photos in {present} classes are too few for a learning curve, expected at least "
            f"{least}; add photos"
        )
    return shares


def _answer(
    features: Features, labels: Truth, groups: Groups, classes: int, shares: list[float], rng: np.random.Generator
) -> tuple[Wrong, Sizes]:
    """Answer every photo from every share: wrong float32 [sizes, photos]; photos learnt from, float64 [sizes]."""
    fold = (places(labels, groups, rng) * FOLDS).astype(np.int64)
    place = places(labels, groups, rng)
    wrong: Wrong = np.ones((len(shares), len(labels)), dtype=np.float32)
    learnt: Sizes = np.zeros(len(shares))
    for one, size in np.ndindex(FOLDS, len(shares)):
        held, others = fold == one, (fold != one) & (place < shares[size])
        probe = fit(features[others], labels[others], classes)
        wrong[size, held] = probe.logits(features[held]).argmax(axis=1) != labels[held]
        learnt[size] += others.sum() / FOLDS
    return wrong, learnt
