"""What a learning curve says, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from train.insight.curve import LearningCurve


def tell_doubling(curve: LearningCurve, labels: Sequence[str]) -> str:
    """Say what twice the photos should bring: overall, and to which classes most and least."""
    its = curve.overall
    sure = its.low > its.now
    text = (
        f"doubling the photos should {'raise' if sure else 'bring'} the accuracy of a probe from "
        f"{_percent(its.now)} % to {_percent(its.then)} % (95 %: {_percent(its.low)} to {_percent(its.high)})"
    )
    return text + (_extremes(curve, labels) if sure else ", which may be nothing")


def points(share: float, digits: int = 1) -> str:
    """Write a difference of shares in percentage points, with its sign and this many digits after the point."""
    text = f"{100 * share:+.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def _extremes(curve: LearningCurve, labels: Sequence[str]) -> str:
    told = [(one.gain, label) for one, label in zip(curve.classes, labels, strict=True) if one]
    if len(told) < 2:
        return ""
    (most, first), (least, last) = max(told), min(told)
    return f"; most for {first} ({points(most)} points), least for {last} ({points(least)})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
