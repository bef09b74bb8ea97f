"""An axis of differences in points, for bars that lie under each other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from train.report.strips import Tick

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Points from one mark to the next."""
MARKS = 6
"""Steps that an axis as wide as the page has at most."""


@dataclass(frozen=True)
class Axis:
    """Differences of shares, -1 to 1, from left to right."""

    low: float
    high: float
    """The ends; `low` is below `high`."""
    ticks: tuple[Tick, ...]

    def place(self, difference: float) -> float:
        """Say where it stands: 0 at the left end, 1 at the right, and at an end where it lies beyond."""
        return min(1.0, max(0.0, (difference - self.low) / (self.high - self.low)))


def axis_over(differences: Iterable[float], most: int = MARKS) -> Axis:
    """Lay an axis that holds all of these differences and zero, with `most` steps of a round number of points.

    From 4 steps on: everything between -1 and 1 fits.
    """
    points = [0.0, *(100 * one for one in differences)]
    for step in STEPS:
        # Rounded, so that what is 5 but for the last digits does not open another step.
        first, last = math.floor(round(min(points) / step, 6)), math.ceil(round(max(points) / step, 6))
        if last - first <= most:
            break
    last = max(last, first + 1)
    marks = range(first, last + 1)
    ticks = [Tick((mark - first) / (last - first), _text(mark * step)) for mark in marks]
    return Axis(first * step / 100, last * step / 100, tuple(ticks))


def _text(points: float) -> str:
    return f"{points:+g}".replace("-", "\N{MINUS SIGN}") if points else "0"
