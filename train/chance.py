"""Randomness by key: what is drawn for a photo depends on its key, not on who draws it or in what company."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]
"""int64 [photos, 4]: seed, epoch, number of the photo, and how often it was drawn in this epoch before."""
Draws = npt.NDArray[np.float64]
"""float64 [photos], each at least 0 and below 1."""

States = npt.NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, odd: the step of splitmix64."""


class Chance:
    """As many independent uniform draws of each photo as are asked for, by number.

    A counter-based generator: splitmix64's finalizer over the key and the number of the draw (Steele, Lea and
    Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). All photos are drawn for at once.
    """

    def __init__(self, keys: Keys) -> None:
        state = np.zeros(len(keys), dtype=np.uint64)
        for column in keys.T:
            state = _mix((state ^ column.astype(np.uint64)) + np.uint64(GOLDEN))
        self._state = state

    def uniform(self, draw: int) -> Draws:
        """Return draw number `draw`, 0 or higher, of each photo."""
        step = np.uint64((draw + 1) * GOLDEN % 2**64)
        bits = _mix(self._state + step) >> np.uint64(11)
        draws: Draws = bits.astype(np.float64) * 2.0**-53
        return draws

    def between(self, draw: int, low: float | Draws, high: float | Draws) -> Draws:
        """Return draw number `draw` of each photo, spread evenly from `low` to `high`."""
        return low + (high - low) * self.uniform(draw)


def _mix(state: States) -> States:
    """Return the finalizer of splitmix64, which turns any two numbers that differ into unrelated ones."""
    first: States = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    second: States = (first ^ (first >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    third: States = second ^ (second >> np.uint64(31))
    return third
