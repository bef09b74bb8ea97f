"""What the page tells of a run's doubt, and its charts in the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.scores import calibration_error
from train.report.doubt import Doubt, Share, Toll, tolls
from train.report.doubt_figures import draw_reliability, draw_risk_coverage, draw_strangeness

RELIABILITY, RISK, STRANGENESS = "reliability.png", "risk_coverage.png", "strangeness.png"


@dataclass(frozen=True)
class StrangerPart:
    """What known objects pay for the rejection of strangers."""

    val: Share
    """Validation photos that would be rejected as strangers: the threshold was set on them."""
    test: Share
    """Test photos that would be."""
    figure: Path
    """PNG."""


@dataclass(frozen=True)
class DoubtPart:
    """How far the answers can be trusted."""

    gap: float
    """Expected calibration error of the test photos, 0 to 1."""
    gap_before: float | None
    """The same before temperature scaling; None: not known."""
    excess: float
    """Mean confidence less accuracy, -1 to 1: above 0 the network is too sure."""
    reliability: Path
    """PNG."""
    told: str
    """Sentence of what the threshold keeps and costs."""
    reached: bool
    """Whether that is what was asked for."""
    thresholded: bool
    """Whether answers are rejected for their score at all."""
    priced: bool
    """Whether the risk is a cost."""
    risk: Path
    """PNG."""
    all: Toll
    """Of all test photos."""
    classes: tuple[tuple[str, Toll], ...]
    """Label, and what rejection does to its photos."""
    strangers: StrangerPart | None


def draw_doubt(doubt: Doubt, run: Path) -> None:
    """Draw the charts that doubt_part names into the run folder. Raises OSError."""
    draw_reliability(doubt.truth, doubt.before, doubt.probabilities, run / RELIABILITY)
    curve, its = doubt.curve, doubt.rejection
    bound = None if its.threshold is None else its.bound
    chosen = _chosen(doubt)
    draw_risk_coverage(
        curve.coverage, curve.risk, curve.low, curve.high, chosen, bound, run / RISK, priced=its.priced
    )
    if doubt.strangers:
        strange = doubt.strangers
        draw_strangeness(strange.val, strange.test, strange.threshold, run / STRANGENESS)


def doubt_part(doubt: Doubt, labels: tuple[str, ...], run: Path) -> DoubtPart:
    """Put in numbers what the page tells; the charts lie in the run folder."""
    probabilities, before, rejection = doubt.probabilities, doubt.before, doubt.rejection
    right = probabilities.argmax(axis=1) == doubt.truth
    total, each = tolls(doubt, len(labels))
    return DoubtPart(
        gap=calibration_error(doubt.truth, probabilities),
        gap_before=None if before is None else calibration_error(doubt.truth, before),
        excess=float(probabilities.max(axis=1).astype(np.float64).mean() - right.mean()),
        reliability=run / RELIABILITY,
        told=doubt.told,
        reached=rejection.reached,
        thresholded=rejection.threshold is not None,
        priced=rejection.priced,
        risk=run / RISK,
        all=total,
        classes=tuple(zip(labels, each, strict=True)),
        strangers=_strangers(doubt, run),
    )


def _chosen(doubt: Doubt) -> tuple[float, float] | None:
    """Return coverage and risk of the test photos at the threshold, strangers not yet taken out."""
    threshold = doubt.rejection.threshold
    share = 0.0 if threshold is None else float(np.mean(doubt.scores >= threshold))
    if not share:
        return None
    at = int(np.searchsorted(doubt.curve.coverage, share - 1e-9))
    return share, float(doubt.curve.risk[at])


def _strangers(doubt: Doubt, run: Path) -> StrangerPart | None:
    its = doubt.strangers
    if not its:
        return None
    val, test = (Share(int((values > its.threshold).sum()), len(values)) for values in (its.val, its.test))
    return StrangerPart(val, test, run / STRANGENESS)
