"""Drift: whether a bin's newest deposits are distributed as others were. Pure: no clock, no disk.

A quantity is cut into bins by a reference, and the newest deposits are compared with that by the population
stability index, the sum over the bins of (p - q) ln(p / q). Where nothing has drifted, n deposits against m of the
reference give an index that is distributed as (1/n + 1/m) times a chi-square with one degree of freedom less than
there are bins (B. Yurdakul, J. Naranjo, "Statistical properties of the population stability index", Journal of
Risk Model Validation 14, 2020). That says what chance alone gives, and so what is drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edge.appearance import APPEARANCE, Appearance

CLASSES, CONFIDENCE = "classes", "confidence"
WATCHED = (CLASSES, CONFIDENCE, *APPEARANCE)

Rows = npt.NDArray[np.float32]
"""float32 [n, 6], a deposit or photo a row, oldest first; columns as WATCHED. A class is the label's index, or the
number of labels for a stranger; confidence is 0 to 1, to three digits."""

Counts = npt.NDArray[np.float64]
"""float64 [bins]."""

WINDOW = 400
"""Newest deposits that are compared."""
LEAST_WINDOW = 100
"""So few are compared already: a great change shows sooner."""
LEAST_OWN, MOST_OWN = 500, 2000
"""Deposits before those, from how many on they are a reference, and how many make it whole."""
LEAST_PHOTOS = 50
"""Of a bundle that are a reference: ten in each bin."""
EACH = 10
"""Deposits from one look to the next."""
BINS = 5
"""Of a figure, equally filled by the reference. More of them see a change of the mean less well: each costs a
degree of freedom."""
RARE = 0.02
"""Share of the reference below which classes are counted together."""
CHANCE = 1e-5
"""That a look at one quantity, none of which has drifted, flags it."""
MATTERS = 0.1
"""Index below which nothing is flagged however sure it is: the lower of the two limits in general use."""
TOLERATED = 0.05
"""Index of the bundle's photos that is no drift yet: no bin sees quite what somebody photographed."""
CLEARS = 0.5
"""Share of the limit below which what was flagged is so no longer."""


class Against(str, Enum):
    """What the newest deposits are compared with."""

    ITSELF = "itself"
    """The bin's own deposits since the bundle took over."""
    BUNDLE = "bundle"
    """Photos that had no part in training, as the bundle answers them."""


@dataclass(frozen=True)
class Index:
    """One quantity against one reference."""

    of: str
    """As in WATCHED."""
    against: Against
    index: float
    """Population stability index; 0: no difference."""
    limit: float
    """What flags it."""
    drifted: bool
    """Whether it is flagged."""


@dataclass(frozen=True)
class Drift:
    """How a bin's newest deposits compare."""

    window: int = 0
    """Deposits that are compared."""
    own: int = 0
    """The bin's own reference, in deposits."""
    photos: int = 0
    """The bundle's, in photos; 0: it has none, or too few."""
    indices: tuple[Index, ...] = ()
    """Of all that can be compared by now."""

    @property
    def drifted(self) -> tuple[Index, ...]:
        """Those that are flagged."""
        return tuple(one for one in self.indices if one.drifted)


@dataclass(frozen=True, eq=False)
class Cut:
    """A quantity cut into bins by its reference."""

    edges: npt.NDArray[np.float32]
    """Of a figure: float32 [bins - 1], a value on an edge belongs above it. Of classes: those that have bins of
    their own, float32 [bins - 1]; the last bin takes all others."""
    named: bool
    """Whether these are classes."""
    counts: Counts
    """How many of the reference lie in each bin."""

    def count(self, values: npt.NDArray[np.float32]) -> Counts:
        """Count float32 [n] in each bin."""
        places = np.searchsorted(self.edges, values, side="left" if self.named else "right")
        if self.named:
            known = np.append(self.edges, np.nan)[places] == values
            places = np.where(known, places, len(self.edges))
        return np.bincount(places, minlength=len(self.edges) + 1).astype(np.float64)


def row_of(index: int, confidence: float, look: Appearance) -> Rows:
    """Return one row, float32 [1, 6].

    Three digits of the confidence: what engines differ by at the same picture is no drift.
    """
    return np.array([[index, round(confidence, 3), *look]], dtype=np.float32)


def cut(values: npt.NDArray[np.float32], named: bool) -> Cut:
    """Cut a reference, float32 [m] with m at least 1, into bins."""
    if named:
        classes, counts = np.unique(values, return_counts=True)
        edges = classes[counts >= RARE * len(values)]
    else:
        edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS, method="higher"))
    uncounted = Cut(edges, named, np.zeros(0))
    return Cut(edges, named, uncounted.count(values))


def stability(reference: Counts, newest: Counts) -> float:
    """Return the population stability index of two counts of the same bins.

    Each bin is taken to hold half a deposit more, so that an empty one does not make it infinite.
    """
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (newest, reference))
    return float(((p - q) * np.log(p / q)).sum())


def limit(bins: int, newest: int, reference: int, tolerated: float = 0.0) -> float:
    """Return the index that chance alone reaches once in 1 / CHANCE looks, or MATTERS where that is more.

    `tolerated`: the index that there would be without chance. The chi-square is then not central, and is taken for
    one that is, of the same mean and variance (P. B. Patnaik, "The non-central chi-square and F distributions and
    their applications", Biometrika 36, 1949). The quantile is that of E. B. Wilson and M. M. Hilferty, "The
    distribution of chi-square", PNAS 17 (1931): 4 % too high here with four degrees of freedom, 11 % with one.
    """
    chance = 1 / newest + 1 / reference
    degrees, apart = max(1, bins - 1), tolerated / chance
    scale = (degrees + 2 * apart) / (degrees + apart)
    freedom, z = (degrees + apart) / scale, NormalDist().inv_cdf(1 - CHANCE)
    spread = 2 / (9 * freedom)
    quantile = scale * freedom * (1 - spread + z * math.sqrt(spread)) ** 3
    return max(MATTERS, quantile * chance)


@dataclass(frozen=True, eq=False)
class Memory:
    """All that must survive a restart."""

    own: Rows
    """The bin's own reference, at most MOST_OWN rows."""
    window: Rows
    """At most WINDOW rows."""
    flagged: frozenset[tuple[str, Against]] = frozenset()


NOTHING: Rows = np.zeros((0, len(WATCHED)), dtype=np.float32)


class DriftWatch:
    """Compares the newest deposits with the bundle's photos, and with the bin's own deposits before.

    What leaves the window joins the bin's own reference until that is whole, unless the bin has drifted from it.
    """

    def __init__(self, photos: Rows | None, memory: Memory | None = None) -> None:
        memory = memory or Memory(NOTHING, NOTHING)
        self._own, self._window, self._flagged = memory.own, memory.window, set(memory.flagged)
        self._photos = NOTHING if photos is None or len(photos) < LEAST_PHOTOS else photos
        self._cuts: dict[Against, tuple[int, tuple[Cut, ...]]] = {}
        """The references with their sizes at the time they were cut."""
        self._since = 0
        """Deposits since the last look."""
        self.drift = self._compared()

    @property
    def memory(self) -> Memory:
        """What to go on with after a restart."""
        return Memory(self._own, self._window, frozenset(self._flagged))

    def add(self, row: Rows) -> bool:
        """Take in a deposit, float32 [1, 6]; whether it changed what is flagged."""
        held = np.concatenate((self._window, row))
        self._window, gone = held[-WINDOW:], held[:-WINDOW]
        if len(self._own) < MOST_OWN and not any(against is Against.ITSELF for _, against in self._flagged):
            self._own = np.concatenate((self._own, gone))
        self._since += 1
        if self._since < EACH:
            return False
        self._since = 0
        return self._look()

    def _look(self) -> bool:
        before, self.drift = self._flagged, self._compared()
        self._flagged = {(one.of, one.against) for one in self.drift.drifted}
        return self._flagged != before

    def _compared(self) -> Drift:
        indices = (
            *self._compare(Against.ITSELF, self._own, LEAST_OWN),
            *self._compare(Against.BUNDLE, self._photos, LEAST_PHOTOS),
        )
        return Drift(len(self._window), len(self._own), len(self._photos), indices)

    def _compare(self, against: Against, reference: Rows, least: int) -> tuple[Index, ...]:
        if len(reference) < least or len(self._window) < LEAST_WINDOW:
            return ()
        size, cuts = self._cuts.get(against, (0, ()))
        if size != len(reference):
            cuts = tuple(cut(reference[:, n], named=of == CLASSES) for n, of in enumerate(WATCHED))
            self._cuts[against] = len(reference), cuts
        return tuple(
            self._index(of, against, one, self._window[:, n])
            for n, (of, one) in enumerate(zip(WATCHED, cuts, strict=True))
        )

    def _index(self, of: str, against: Against, its: Cut, newest: npt.NDArray[np.float32]) -> Index:
        index = stability(its.counts, its.count(newest))
        tolerated = TOLERATED if against is Against.BUNDLE else 0.0
        most = limit(len(its.counts), len(newest), round(its.counts.sum()), tolerated)
        # What people threw in where the photos were taken says nothing of what they do here.
        judged = (of, against) != (CLASSES, Against.BUNDLE)
        bound = most * CLEARS if (of, against) in self._flagged else most
        return Index(of, against, round(index, 4), round(most, 4), judged and index > bound)
