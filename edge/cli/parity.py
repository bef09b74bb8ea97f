"""How a verdict on parity is said on a terminal and in --json."""

from __future__ import annotations

from dataclasses import asdict

from edge.cli.app import say
from edge.manifest import ClassParity, Parity
from edge.parity_check import Checked


def parity_json(checked: Checked) -> dict[str, object]:
    """Return what --json holds."""
    info = checked.backend
    return {
        "file": info.file,
        "precision": info.precision.value,
        **asdict(checked.parity),
        "verdict": checked.verdict.value,
        "reason": checked.reason,
        "provider": info.provider,
        "threads": info.threads,
        "versions": dict(info.versions),
    }


def say_parity(checked: Checked) -> None:
    """Print the figures, those of each class, the verdict and what it is of."""
    for name, figure in _figures(checked.parity).items():
        say(f"{name:24}{figure}")
    say("")
    _say_classes(checked.parity.per_class)
    say("")
    info = checked.backend
    versions = ", ".join(f"{library} {version}" for library, version in info.versions)
    say(f"{info.file} ({info.precision.value}), backend {info.name}: {info.provider}, {versions}")
    say(f"{checked.verdict.value}: {checked.reason}")


def _figures(its: Parity) -> dict[str, str]:
    difference = its.accuracy - its.reference_accuracy
    change = its.calibration_error - its.reference_calibration_error
    figures = {
        "photos": str(its.images),
        "agreement with PyTorch": f"{its.agreement:.2%}",
        "accuracy": f"{its.accuracy:.2%}, PyTorch {its.reference_accuracy:.2%}",
        "difference": f"{_points(difference)} points, 95 % interval {_range(its.interval)}",
        "lower bound": f"{_points(its.lower_bound)} points at 95 %; must be above {_points(-its.tolerance)}",
        "McNemar": f"p {its.mcnemar:.3f}: {its.lost} lost, {its.gained} gained",
        "probabilities": f"differ by {its.max_difference:.1e} at most, {its.mean_difference:.1e} on average",
        "calibration error": f"{its.calibration_error:.4f}, {change:+.4f} against PyTorch",
    }
    if its.max_strangeness_difference is not None:
        figures["strangeness"] = f"differs by {its.max_strangeness_difference:.2g} of its spread at most"
    if its.unanswered:
        figures["no numbers"] = f"{its.unanswered} answers"
    return figures


def _say_classes(per_class: dict[str, ClassParity]) -> None:
    width = max(map(len, (*per_class, "class")))
    say(f"{'class':{width}}  photos  flips  lost  gained  recall, 95 % interval of the difference")
    for label, one in per_class.items():
        counts = f"{one.images:6d}  {one.flips:5d}  {one.lost:4d}  {one.gained:6d}"
        say(f"{label:{width}}  {counts}  {_range(one.interval)}")


def _points(share: float) -> str:
    return f"{share * 100:+.2f}"


def _range(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{_points(low)} to {_points(high)}"
