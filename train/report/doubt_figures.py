"""Charts of how far the answers can be trusted: reliability, risk against coverage, strangeness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from edge.backends.base import Probabilities
from edge.scores import CALIBRATION_BINS, Truth
from train.report import plot
from train.report.doubt import Bin, Numbers, reliability
from train.report.plot import BLUE, FAINT, GREY, ORANGE, SOFT

TALL = (5.6, 5.2)
FEW = 10
"""A bin of fewer photos is drawn pale: its accuracy is mostly chance."""
MOST_BARS = 40
"""Of a histogram of strangeness; fewer where photos are few."""
TAIL = 0.5
"""Percent of the photos at either end that may lie beyond the ends of the axis; they count in the last bars."""

Strangeness = npt.NDArray[np.float32]


def draw_reliability(truth: Truth, before: Probabilities | None, after: Probabilities, path: Path) -> None:
    """Draw accuracy against confidence, and how often which confidence is given, to a PNG.

    `truth` int64 [n], `before` and `after` temperature scaling float32 [n, classes]. Each of the 15 bins has its
    95 % interval (Wilson), which is wide where photos are few. Needs at least one photo. Raises OSError.
    """
    figure = plot.sheet(TALL)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    axes.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label="as sure as right")
    bins = reliability(truth, after)
    old = reliability(truth, before) if before is not None else None
    if old:
        _points(axes, old, GREY, "D", "before scaling")
    _points(axes, bins, BLUE, "o", "after scaling" if old else "measured")
    _counts(counts, bins, old)
    plot.dress(axes, "Answered right, %")
    axes.set(xlim=(0, 100), ylim=(-2, 102))
    plot.dress(counts, "Photos", "confidence, %")
    counts.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.legend(loc="upper left", frameon=False)
    plot.save(figure, path)


def draw_risk_coverage(
    coverage: Numbers,
    risk: Numbers,
    low: Numbers,
    high: Numbers,
    chosen: tuple[float, float] | None,
    bound: float | None,
    path: Path,
    *,
    priced: bool = False,
) -> None:
    """Draw the risk of what is accepted over how much is accepted, with its 95 % band, to a PNG.

    All float64 [points], 0 to 1, `coverage` rising. `chosen` is (coverage, risk) at the threshold, None where
    there is none or it accepts nothing; `bound` is the risk that it keeps. `priced`: risk is a cost. Needs at
    least one point. Raises OSError.
    """
    figure = plot.sheet()
    axes = figure.subplots()
    axes.fill_between(100 * coverage, 100 * low, 100 * high, color=SOFT, alpha=0.45, linewidth=0, label="95 %")
    axes.plot(100 * coverage, 100 * risk, color=BLUE, linewidth=1.8, label="test photos")
    # Of the very few that are surest nothing is known: their band would squeeze all else to the ground.
    seen = [high[-1], *risk[coverage >= 0.1]]
    if bound is not None:
        axes.axhline(100 * bound, color=ORANGE, linestyle=(0, (4, 3)), label=f"bound: {100 * bound:.1f} %")
        seen.append(bound if bound < 1 else 0)
    if chosen:
        share, its = (100 * value for value in chosen)
        axes.axvline(share, color=ORANGE, linewidth=1, linestyle=":")
        axes.plot(
            share, its, "o", color=ORANGE, markersize=9, zorder=3, label=f"threshold: {share:.1f} % accepted"
        )
    axes.set(xlim=(0, 100.8), ylim=(0, max(1.0, 125 * max(seen))))
    title = "Mean cost of what is accepted, % of the largest" if priced else "Wrong among what is accepted, %"
    plot.dress(axes, title, "photos that are accepted, %")
    axes.legend(loc="upper center", framealpha=0.8, edgecolor="none")
    plot.save(figure, path)


def draw_strangeness(known: Strangeness, judged: Strangeness, threshold: float, path: Path) -> None:
    """Draw how strange photos look that set the threshold (`known`) and that did not (`judged`), to a PNG.

    Both float32 [photos], finite, at least one each. Bars are shares of the photos of each. Raises OSError.
    """
    figure = plot.sheet()
    axes = figure.subplots()
    edges = _edges(np.concatenate([known, judged]).astype(np.float64), threshold)
    for values, colour, filled, label in ((judged, SOFT, True, "test"), (known, BLUE, False, "validation")):
        inside = np.clip(values.astype(np.float64), edges[0], edges[-1])
        shares = 100 * np.histogram(inside, edges)[0] / len(values)
        axes.stairs(
            shares, edges, color=colour, fill=filled, linewidth=1.5, label=f"{label}, {len(values):,} photos"
        )
    axes.axvspan(threshold, edges[-1], color=ORANGE, alpha=0.08, linewidth=0)
    axes.axvline(threshold, color=ORANGE, linestyle=(0, (4, 3)), label="threshold")
    axes.set_xlim(edges[0], edges[-1])
    plot.dress(axes, "Photos, %", "strangeness (rejected to the right of the threshold)")
    axes.legend(loc="best", frameon=False)
    plot.save(figure, path)


def _points(axes: Axes, bins: tuple[Bin | None, ...], colour: str, marker: str, label: str) -> None:
    for one in bins:
        if one:
            right = one.right
            gaps = [[100 * (right.share - right.low)], [100 * (right.high - right.share)]]
            at = 100 * one.confidence
            strength = 1.0 if right.of >= FEW else 0.35
            axes.errorbar(
                [at], [100 * right.share], gaps, color=colour, marker=marker, markersize=5, alpha=strength,
                capsize=2, linewidth=1.3,
            )  # fmt: skip
    axes.plot([], [], color=colour, marker=marker, markersize=5, linestyle="", label=label)


def _counts(axes: Axes, bins: tuple[Bin | None, ...], old: tuple[Bin | None, ...] | None) -> None:
    edges = np.linspace(0, 100, CALIBRATION_BINS + 1)
    axes.stairs([one.right.of if one else 0 for one in bins], edges, color=SOFT, fill=True)
    if old:
        axes.stairs([one.right.of if one else 0 for one in old], edges, color=GREY, linewidth=1.3)


def _edges(values: Numbers, threshold: float) -> Numbers:
    """Return the bars' ends: a few photos far out do not squeeze the rest, and the threshold is well inside."""
    low, high = np.percentile(values, (TAIL, 100 - TAIL))
    span = max(high - low, abs(threshold - low), abs(threshold - high), 1e-6)
    low, high = min(low, threshold - 0.2 * span), max(high, threshold + 0.2 * span)
    edges: Numbers = np.linspace(low, high, min(MOST_BARS, 8 + round(np.sqrt(len(values)))) + 1)
    return edges
