"""edge-bench --compare: whether a bundle costs more on this device than it used to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from edge import baseline
from edge.baseline import MARGIN, Compared, Kept
from edge.bench import Skipped, name_of, tell
from edge.bundle import Bundle
from edge.cli.app import NO, OK, progress_bar, say, say_json
from edge.gate import GateSettings, Judged, Measured, judge, measure_all


def compare(bundle: Bundle, file: Path, settings: GateSettings, *, renew: bool, as_json: bool) -> int:
    """Measure what every engine costs, and compare it with `file` or, with `renew`, keep it there.

    Returns the exit code: 1 where a step costs more than it may.
    """
    kept = baseline.read(file)  # what is wrong there is said before anything is measured
    found, skipped = measure_all(bundle, settings, progress_bar)
    if renew:
        kept = keep(bundle, file, found)
    judged = judge(found, kept)
    if as_json:
        say_json(gate_json(bundle, judged, skipped))
    else:
        for line in lines(judged, file, skipped):
            say(line)
    return NO if any(one.slower for one in judged) else OK


def keep(bundle: Bundle, file: Path, found: Sequence[Measured]) -> tuple[Kept, ...]:
    """Write what was measured as the baseline of its keys, and return it."""
    today, version = date.today().isoformat(), bundle.manifest.version
    fresh = tuple(
        Kept(one.key, version, today, {its.step: round(its.value, 4) for its in one.ratios}) for one in found
    )
    baseline.renew(file, fresh)
    return fresh


def lines(judged: Sequence[Judged], file: Path, skipped: Sequence[Skipped]) -> list[str]:
    """Say what was found, engine by engine, and what follows."""
    said = []
    for one in judged:
        said += [one.measured.key.told, *_table(one), ""]
    if skipped:
        said.append(f"skipped {tell(skipped)}")
    said += [f"NO BASELINE in {file} for {one.measured.key.told}: not compared" for one in judged if not one.kept]
    if any(one.kept is None for one in judged):
        said.append("keep one with the same command and --renew, and read what it changes before it is committed")
    said += [f"SLOWER: {_name(one)}: {_why(step)}" for one in judged for step in one.slower]
    compared = [one for one in judged if one.kept]
    if compared and not any(one.slower for one in compared):
        names = ", ".join(map(_name, compared))
        said.append(f"no slower than the baseline, by more than {MARGIN:.0%}: {names}")
    return said


def gate_json(bundle: Bundle, judged: Sequence[Judged], skipped: Sequence[Skipped]) -> dict[str, object]:
    """Return what --json holds."""
    return {
        "bundle": {"name": bundle.manifest.name, "version": bundle.manifest.version},
        "margin": MARGIN,
        "rows": [_row(one) for one in judged],
        "skipped": [
            {"precision": one.precision and one.precision.value, "backend": one.backend, "reason": one.reason}
            for one in skipped
        ],
        "slower": any(one.slower for one in judged),
    }


def _row(one: Judged) -> dict[str, object]:
    key = one.measured.key
    return {
        "precision": key.precision,
        "backend": key.backend,
        "device": key.device,
        "power": key.power,
        "threads": key.threads,
        "versions": key.versions,
        "rounds": one.measured.rounds,
        "baseline": one.kept.taken if one.kept else None,
        "steps": [
            {
                "step": its.step,
                "over": its.over,
                "ratio": its.value,
                "interval": [its.low, its.high],
                "ms": its.milliseconds,
                "baseline": one.kept.ratios.get(its.step) if one.kept else None,
                "slower": its.step in {step.found.step for step in one.slower},
            }
            for its in one.measured.ratios
        ],
    }


def _table(one: Judged) -> list[str]:
    steps = one.steps or [Compared(its, None) for its in one.measured.ratios]
    return [f"  {_told(step)}" for step in steps]


def _told(step: Compared) -> str:
    its = step.found
    said = f"{its.step:18} {its.milliseconds:8.3f} ms  {its.value:7.3f} of the {its.over}"
    said = f"{said:56} [{its.low:.3f}, {its.high:.3f}]"
    if step.change is None:
        return said
    verdict = "SLOWER" if step.slower else "faster: renew the baseline" if step.faster else ""
    return f"{said}  baseline {step.kept:.3f}, {step.change:+.1%}  {verdict}".rstrip()


def _why(step: Compared) -> str:
    its, kept = step.found, step.kept or 0.0
    least = its.low / kept - 1
    return (
        f"{its.step} takes {its.value:.3f} of the {its.over}, {kept:.3f} in the baseline: "
        f"{least:.1%} more at least, where {MARGIN:.0%} are allowed"
    )


def _name(one: Judged) -> str:
    info = one.measured.backend
    return name_of(info.precision, info.name)
