"""Photos dealt out at random: every class evenly, and those that belong together never apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.scores import Truth

Groups = npt.NDArray[np.int64]
"""int64 [photos]: photos with equal numbers show one thing; who learnt from one of them knows the others."""
Places = npt.NDArray[np.float64]
"""float64 [photos], 0 to 1: those below 0.2 are a fifth of the photos, and of each class."""


def alone(count: int) -> Groups:
    """Return the groups of photos that all stand for themselves."""
    return np.arange(count, dtype=np.int64)


def places(targets: Truth, groups: Groups, rng: np.random.Generator) -> Places:
    """Give each photo a random place, evenly within its class; the photos of a group share one.

    A group counts for the class that most of its photos have. Folds and subsets are ranges of places: both
    are stratified, subsets of rising size are nested, and a class of two groups has them at least half apart.
    """
    _, group = np.unique(groups, return_inverse=True)
    size = np.bincount(group)
    label = _labels(targets, group)
    shuffled = rng.permutation(len(size))
    order = shuffled[np.argsort(label[shuffled], kind="stable")]
    counted = size[order].astype(np.float64)
    before = np.cumsum(counted) - counted
    _, first, of = np.unique(label[order], return_index=True, return_inverse=True)
    total = np.bincount(of, weights=counted)
    start = rng.random(len(total))[of]  # or a class of one photo would always lie in the first fold
    place = np.empty(len(size))
    place[order] = ((before - before[first][of] + counted / 2) / total[of] + start) % 1
    result: Places = place[group]
    return result


def _labels(targets: Truth, group: Groups) -> Truth:
    """Return the most frequent label of each group, of equals the first."""
    pairs, count = np.unique(np.stack([group, targets]), axis=1, return_counts=True)
    best = np.lexsort((pairs[1], -count, pairs[0]))
    _, first = np.unique(pairs[0][best], return_index=True)
    result: Truth = pairs[1][best][first]
    return result
