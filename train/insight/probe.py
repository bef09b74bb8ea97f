"""A classifier on features that is fitted in milliseconds: linear discriminants with a shrunken covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.scores import Truth
from train.insight.draws import Places
from train.insight.features import Features
from train.judge import Logits

MOST = 512
"""Principal components that are kept. TrashNet is answered no better with all 1,280."""
BASIS_PHOTOS = 20_000
"""Photos that the components are found from, at most: evenly spaced, enough for 2,048 features."""
FLAT = 1e-6
"""Share of the largest variance below which a component is rounding."""
FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """Scores linear in the features."""

    weights: npt.NDArray[np.float32]
    """float32 [features, classes]."""
    bias: npt.NDArray[np.float32]
    """float32 [classes]; minus infinity for a class of which no photo was seen."""

    def logits(self, features: Features) -> Logits:
        """Answer float32 [n, features] with float32 [n, classes]: log probabilities up to a term a photo."""
        result: Logits = features @ self.weights + self.bias
        return result


def compress(features: Features) -> Features:
    """Return the features, each of variance 1, turned to at most 512 principal components: float32 [n, k].

    No label is looked at, so that photos may be compressed together before they are dealt out to folds.
    """
    sample = features[:: max(1, len(features) // BASIS_PHOTOS)]
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    scale = 1 / np.where(deviation > 0, deviation, 1)
    sample = (sample - mean) * scale
    values, vectors = np.linalg.eigh(sample.T @ sample / len(sample))
    kept = vectors[:, values > FLAT * max(values[-1], FLAT)][:, ::-1][:, :MOST] * scale[:, None]
    result: Features = features @ kept - mean @ kept  # so, and no second copy of all features is made
    return result


def fit(features: Features, targets: Truth, classes: int) -> Probe:
    """Fit class means and one covariance, shrunken towards a multiple of the identity (Friedman 1989).

    The shrinkage is worth twice as many photos as there are features: with few photos the covariance is hardly
    believed, with many it is, and the error falls as a power of their number all the way. Without a photo,
    every score is minus infinity.
    """
    count, width = features.shape
    if not count:
        return Probe(np.zeros((width, classes), dtype=np.float32), np.full(classes, -np.inf, dtype=np.float32))
    seen = np.bincount(targets, minlength=classes).astype(np.float64)
    means = _sums(features, targets, seen) / np.maximum(seen, 1)[:, None]
    spread = (features.T @ features).astype(np.float64) - (means.T * seen) @ means
    shrinkage = 2 * width / (2 * width + count)
    level = np.trace(spread) / width or 1.0  # of photos that are all alike, nothing is left
    covariance = (1 - shrinkage) * spread / count
    covariance[np.diag_indices(width)] += shrinkage * level / count
    weights = np.linalg.solve(covariance, means.T)
    with np.errstate(divide="ignore"):  # the log of 0 photos is what is wanted
        bias = np.log(seen / count) - 0.5 * np.einsum("kd,dk->k", means, weights)
    return Probe(weights.astype(np.float32), bias.astype(np.float32))


def unseen(features: Features, targets: Truth, classes: int, place: Places) -> Logits:
    """Answer each photo by a probe that did not see it, nor its group: float32 [n, classes], 5-fold."""
    fold = np.minimum((place * FOLDS).astype(np.int64), FOLDS - 1)
    logits = np.empty((len(features), classes), dtype=np.float32)
    for one in np.unique(fold):
        held, others = fold == one, fold != one
        probe = fit(features[others], targets[others], classes)
        logits[held] = probe.logits(features[held])
    return logits


def _sums(features: Features, targets: Truth, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Add up the features by class: float64 [classes, features]."""
    order = np.argsort(targets, kind="stable")
    sums = np.zeros((len(seen), features.shape[1]))
    present = np.flatnonzero(seen)
    starts = np.concatenate([[0], np.cumsum(seen[present])[:-1]]).astype(np.int64)
    sums[present] = np.add.reduceat(features[order], starts, axis=0)
    return sums
