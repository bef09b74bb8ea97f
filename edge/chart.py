"""Charts of latency: how it is distributed, and what accuracy costs of it. Drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from edge import lettering
from edge.draw import DARKEST, FAINT, GREEN, INK, LINE, RED, WHITE, to_bgr
from edge.latency import Milliseconds
from edge.lettering import Colour
from edge.preprocess import Pixels

FONT, SMALL = 15, 13
PLOT = 620
"""Width of what lies between the axes, in pixels."""
ROW, SCATTER = 44, 300
"""Heights in pixels: of one distribution, and of the trade."""
BINS = 120
"""Of a distribution, over the whole width."""
TRADE = "accuracy over p50; green is recommended, red did not pass"
STEP = SMALL + 3
"""From one line of names to the next, in pixels."""
FILL: Colour = (148, 182, 222)


@dataclass(frozen=True, eq=False)
class Series:
    """One thing that was timed."""

    name: str
    samples: Milliseconds
    """float64 [rounds], one at least, all above 0."""
    accuracy: float | None = None
    """0 to 1; None: it has no place in the trade."""
    good: bool = True
    """Whether it passed: what did not is red."""
    best: bool = False
    """Whether it is recommended: green."""


@dataclass(frozen=True)
class _Axis:
    """Milliseconds along the width, by their logarithm."""

    left: int
    low: float
    high: float
    """Milliseconds at the two ends."""

    def x(self, milliseconds: float) -> float:
        """Place in pixels; beyond the ends it is the end."""
        share = math.log(milliseconds / self.low) / math.log(self.high / self.low)
        return self.left + PLOT * min(1.0, max(0.0, share))

    def ticks(self) -> list[float]:
        """Return round numbers between the ends: 1, 2 and 5 times powers of ten, or closer where these are few."""
        tens = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(number / 10 for number in range(10, 100))):
            found = [
                step * 10.0**ten for ten in tens for step in steps if self.low <= step * 10.0**ten <= self.high
            ]
            if len(found) >= 3:
                break
        return found


def latency_chart(title: str, series: Sequence[Series]) -> Pixels:
    """Draw the distributions and, where two have an accuracy at least, the trade: BGR uint8 [height, width, 3]."""
    names = [lettering.shorten(one.name, FONT, 300) for one in series]
    axis = _axis(series, 24 + max(lettering.width(name, FONT) for name in names))
    rated = [one for one in series if one.accuracy is not None]
    figures = max(lettering.width(_figures(one), SMALL) for one in series)
    top, height = 64, ROW * len(series)
    below = SCATTER + 110 if len(rated) >= 2 else 0
    page = Image.new("RGB", (axis.left + PLOT + figures + 36, top + height + 56 + below), WHITE)
    lettering.write(
        page, (16, 28), lettering.shorten(title, FONT + 2, page.width - 32), FONT + 2, ink=INK, anchor="lm"
    )
    _draw_ticks(page, axis, top, top + height)
    for row, (one, name) in enumerate(zip(series, names, strict=True)):
        middle = top + ROW * row + ROW // 2
        lettering.write(page, (axis.left - 12, middle), name, FONT, ink=INK, anchor="rm")
        _draw_distribution(page, axis, one, middle)
        lettering.write(page, (axis.left + PLOT + 12, middle), _figures(one), SMALL, ink=FAINT, anchor="lm")
    if below:
        _draw_trade(page, axis, rated, top + height + 90)
    return to_bgr(page)


def _axis(series: Sequence[Series], left: int) -> _Axis:
    """Span all but the rarest: of each the hundredth part at either end may lie beyond."""
    ends = [np.percentile(one.samples, (1, 99)) for one in series]
    return _Axis(left, float(min(low for low, _ in ends)) / 1.15, float(max(high for _, high in ends)) * 1.15)


def _figures(one: Series) -> str:
    p50, p99 = np.percentile(one.samples, (50, 99))
    return f"p50 {p50:.3g}, p99 {p99:.3g} ms"


def _colour(one: Series) -> Colour:
    return GREEN if one.best else DARKEST if one.good else RED


def _draw_ticks(page: Image.Image, axis: _Axis, top: int, bottom: int) -> None:
    draw, end = ImageDraw.Draw(page), -math.inf
    for tick in axis.ticks():
        x, text = axis.x(tick), f"{tick:g}"
        draw.line((x, top, x, bottom), fill=LINE)
        half = lettering.width(text, SMALL) / 2
        if x - half > end:  # else the numbers would run into each other
            lettering.write(page, (x, bottom + 6), text, SMALL, ink=FAINT, anchor="ma")
            end = x + half + 8
    draw.line((axis.left, bottom, axis.left + PLOT, bottom), fill=FAINT)
    lettering.write(page, (axis.left + PLOT, bottom + 24), "ms", SMALL, ink=FAINT, anchor="ra")


def _draw_distribution(page: Image.Image, axis: _Axis, one: Series, middle: int) -> None:
    """Draw how often each latency came, as a shape about `middle`, with ticks at median and 99th percentile."""
    draw, colour = ImageDraw.Draw(page), _colour(one)
    places = [axis.x(float(value)) for value in one.samples]
    counts, edges = np.histogram(places, BINS, (axis.left, axis.left + PLOT))
    counts = np.convolve(np.pad(counts, 1), (0.25, 0.5, 0.25), "valid")
    highest, width = counts.max(), PLOT / BINS
    for count, edge in zip(counts, edges[:-1], strict=True):
        if count:
            half = max(1.0, (ROW / 2 - 5) * count / highest)
            draw.rectangle((edge, middle - half, edge + width, middle + half), fill=FILL)
    for percentile, half in ((50, ROW // 2 - 4), (99, ROW // 4)):
        x = axis.x(float(np.percentile(one.samples, percentile)))
        draw.line((x, middle - half, x, middle + half), fill=colour, width=3 if percentile == 50 else 1)


def _draw_trade(page: Image.Image, axis: _Axis, rated: Sequence[Series], top: int) -> None:
    """Draw accuracy over the median: up and left is better."""
    draw, bottom = ImageDraw.Draw(page), top + SCATTER
    shares = [one.accuracy or 0.0 for one in rated]
    low, high = min(shares), max(shares)
    slack = max(0.004, (high - low) * 0.15)
    low, high = max(0.0, low - slack), min(1.0, high + slack)
    _draw_ticks(page, axis, top, bottom)
    lettering.write(page, (axis.left, top - 12), TRADE, SMALL, ink=FAINT, anchor="ls")
    for step in range(5):
        share = low + (high - low) * step / 4
        y = bottom - SCATTER * step / 4
        draw.line((axis.left, y, axis.left + PLOT, y), fill=LINE)
        lettering.write(page, (axis.left - 12, y), f"{share:.1%}", SMALL, ink=FAINT, anchor="rm")
    places = [
        (one, axis.x(float(np.median(one.samples))), bottom - SCATTER * (share - low) / (high - low))
        for one, share in sorted(zip(rated, shares, strict=True), key=lambda both: -both[1])
    ]
    taken = [(x - 8, x + 8, y) for _, x, y in places]
    for one, x, y in places:
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=_colour(one))
        _draw_name(page, one, (x, y), taken)


def _draw_name(
    page: Image.Image, one: Series, at: tuple[float, float], taken: list[tuple[float, float, float]]
) -> None:
    """Write a name beside its point, where nothing else stands. `taken`: left, right and height of what does."""
    width = lettering.width(one.name, SMALL)
    places = [
        (left, at[1] + off)
        for off in (0, -STEP, STEP, -2 * STEP, 2 * STEP, -3 * STEP, 3 * STEP)
        for left in (at[0] + 12, at[0] - 12 - width)
        if 0 <= left <= page.width - width
    ]

    def is_free(place: tuple[float, float]) -> bool:
        left, y = place
        return not any(
            left < end and begin < left + width and abs(y - other) < STEP for begin, end, other in taken
        )

    left, y = next(filter(is_free, places), places[0])
    taken.append((left, left + width, y))
    lettering.write(page, (left, y), one.name, SMALL, ink=INK, anchor="lm")
