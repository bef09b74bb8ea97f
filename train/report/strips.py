"""Spreads as they are drawn: a small shape for each class over the shape of all photos, in SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from train.report.spread import LEVELS, Counts, Spread

STRIPS = 24
"""Classes that are drawn: where there are more, those that differ most."""
TICKS = 5
HEIGHT = 100
"""Of a shape, in units of its view box; a bin is 1 wide."""


@dataclass(frozen=True)
class Tick:
    """A mark on the axis."""

    share: float
    """Where it stands, 0 for the left end, 1 for the right."""
    text: str


@dataclass(frozen=True)
class Strip:
    """One class."""

    label: str
    shape: str
    """SVG path in a box of 40 x 100."""
    ground: str
    """The same of all photos, at the same scale."""
    median: str


@dataclass(frozen=True)
class Chart:
    """One figure of the photos, class by class."""

    title: str
    strips: tuple[Strip, ...]
    ticks: tuple[Tick, ...]
    classes: int
    """How many there are, drawn or not."""


def chart_of_size(spread: Spread) -> Chart:
    """Draw sizes on an axis of equal ratios."""
    return _chart("Size, megapixels", spread, _ratio_ticks(float(spread.edges[0]), float(spread.edges[-1])), short)


def chart_of_brightness(spread: Spread) -> Chart:
    """Draw the mean brightness on an axis from black to white."""
    ticks = [Tick(level / LEVELS, str(level)) for level in (0, 64, 128, 192, 255)]
    return _chart("Brightness, 0 to 255", spread, ticks, lambda median: f"{median:.0f}")


def short(number: float) -> str:
    """Write a number above 0 with two digits that count, and without an exponent."""
    return np.format_float_positional(number, precision=2, fractional=False, trim="-")


def _chart(title: str, spread: Spread, ticks: Sequence[Tick], tell: Callable[[float], str]) -> Chart:
    far = sorted(spread.medians, key=lambda label: -spread.distance(label))[:STRIPS]
    every = spread.total
    strips = [_strip(label, spread.counts[label], every, tell(spread.medians[label])) for label in sorted(far)]
    return Chart(title, tuple(strips), tuple(ticks), len(spread.counts))


def _strip(label: str, its: Counts, every: Counts, median: str) -> Strip:
    mine, theirs = its / its.sum(), every / every.sum()
    peak = max(mine.max(), theirs.max())
    return Strip(label, _path(mine / peak), _path(theirs / peak), median)


def _path(heights: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    steps = [f"V{HEIGHT - round(HEIGHT * height)}H{end}" for end, height in enumerate(heights.tolist(), start=1)]
    return f"M0 {HEIGHT}{''.join(steps)}V{HEIGHT}Z"


def _ratio_ticks(low: float, high: float) -> list[Tick]:
    """Mark 1, 2 and 5 and their powers of ten; fewer where they would crowd, the ends where there are none."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        marks = [digit * 10.0**power for power in decades for digit in digits]
        marks = [mark for mark in marks if low <= mark <= high]
        if len(marks) <= TICKS:
            break
    if len(marks) < 2:
        marks = [low, high]
    return [Tick(math.log(mark / low) / math.log(high / low), short(mark)) for mark in marks[: 2 * TICKS]]
