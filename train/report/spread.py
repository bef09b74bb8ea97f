"""How a figure of the photos, their size or their brightness, is spread in each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.dataset.examine import Sample

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

BINS = 40
LEVELS = 255.0
"""The brightest that a photo can be."""
ROOM = 1.5
"""Factor by which the ends of an axis lie apart at least, so that equal sizes have one too."""


@dataclass(frozen=True)
class Spread:
    """One figure of the photos, class by class."""

    edges: Floats
    """float64 [41]: where the bins begin, and where the last one ends."""
    counts: Mapping[str, Counts]
    """int64 [40] by label: photos in each bin."""
    medians: Mapping[str, float]
    """By label, of classes that have photos."""

    @property
    def total(self) -> Counts:
        """Photos of all classes in each bin: int64 [40]."""
        return sum(self.counts.values(), np.zeros(BINS, dtype=np.int64))

    def distance(self, label: str) -> float:
        """Say how far a class lies from all photos: the share of the axis that its photos would have to move."""
        its, every = self.counts[label], self.total
        if not its.sum():
            return 0.0
        return float(np.abs(np.cumsum(its) / its.sum() - np.cumsum(every) / every.sum()).mean())


def spread_of_size(samples: Sequence[Sample], labels: Sequence[str]) -> Spread:
    """Spread the sizes in megapixels over bins of equal ratio."""
    values = np.array([sample.record.width * sample.record.height / 1e6 for sample in samples])
    low, high = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    missing = max(1.0, ROOM / (high / low)) ** 0.5
    return _spread(values, _by_label(samples, labels), np.geomspace(low / missing, high * missing, BINS + 1))


def spread_of_brightness(samples: Sequence[Sample], labels: Sequence[str]) -> Spread:
    """Spread the mean brightness, 0 to 255, over bins of equal width."""
    values = np.array([sample.record.brightness for sample in samples])
    return _spread(values, _by_label(samples, labels), np.linspace(0, LEVELS, BINS + 1))


def _by_label(samples: Sequence[Sample], labels: Sequence[str]) -> dict[str, Counts]:
    """Return the indices of the samples of each class."""
    found: dict[str, list[int]] = {label: [] for label in labels}
    for index, sample in enumerate(samples):
        found[sample.photo.label].append(index)
    return {label: np.array(indices, dtype=np.int64) for label, indices in found.items()}


def _spread(values: Floats, owners: Mapping[str, Counts], edges: Floats) -> Spread:
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)  # rounding may leave the ends
    counts = {label: np.bincount(places[its], minlength=BINS) for label, its in owners.items()}
    medians = {label: float(np.median(values[its])) for label, its in owners.items() if len(its)}
    return Spread(edges, counts, medians)
