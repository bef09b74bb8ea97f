"""The gate: what each step of a bundle costs here, and whether that is more than it used to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge import baseline
from edge.backends import DEFAULT, OPENERS, BackendInfo, Options
from edge.baseline import Compared, Kept
from edge.bench import NO_GRAPH, Skipped, merge, name_of, tell
from edge.bundle import Bundle
from edge.errors import BackendError
from edge.manifest import Precision
from edge.opening import Asked, Timing, apart, time_steps
from edge.progress import Phase, Progress, silent
from edge.ratios import Ratio, ratios
from edge.steps import PINNED_VERSION
from edge.surroundings import Key, key_of


@dataclass(frozen=True)
class GateSettings:
    """How long is measured."""

    options: Options = DEFAULT
    rounds: int = 300
    """Of each engine, at least 1."""
    seconds: float = 60.0
    """When timing an engine ends at the latest, with the round that is under way."""
    openings: int = 8
    """Processes that open each engine, one after the other, for where memory lies makes one quicker than another.
    Rounds and seconds are dealt out among them; no more than there are rounds."""


@dataclass(frozen=True)
class Measured:
    """One graph on one engine."""

    backend: BackendInfo
    key: Key
    ratios: tuple[Ratio, ...]
    rounds: int
    """That were timed."""


@dataclass(frozen=True)
class Judged:
    """One graph on one engine, beside its baseline."""

    measured: Measured
    kept: Kept | None
    """None: nothing was kept for this key, so that nothing is compared."""
    steps: tuple[Compared, ...]

    @property
    def slower(self) -> tuple[Compared, ...]:
        """Steps that cost more than they may."""
        return tuple(one for one in self.steps if one.slower)


def measure_all(
    bundle: Bundle, settings: GateSettings, phase: Phase = silent
) -> tuple[list[Measured], list[Skipped]]:
    """Measure every precision on every engine, one after the other; say of what does not run why.

    Raises BackendError where none runs.
    """
    found: list[Measured] = []
    skipped: list[Skipped] = []
    for name, opener in OPENERS.items():
        fitting = [precision for precision in Precision if bundle.fits(precision, opener.runtime)]
        refused = [] if fitting else [Skipped(None, name, NO_GRAPH)]
        for precision in fitting:
            try:
                found.append(measure_one(bundle, name, precision, settings, phase))
            except BackendError as error:
                refused.append(Skipped(precision, name, str(error)))
        skipped += merge(refused, len(fitting))
    if not found:
        raise BackendError(f"no backend serves {bundle.folder} here: {tell(skipped)}")
    return found, skipped


def measure_one(
    bundle: Bundle,
    name: str,
    precision: Precision | None,
    settings: GateSettings,
    phase: Phase = silent,
    timing: Timing = time_steps,
) -> Measured:
    """Measure one graph on one engine; `timing` is what each process does. Raises BackendError where it fails."""
    openings = min(settings.openings, settings.rounds)
    rounds, seconds = -(-settings.rounds // openings), settings.seconds / openings
    parts = []
    with phase(f"timing {name_of(precision, name)}") as progress:
        for opening in range(openings):
            asked = Asked(bundle.folder, name, precision, settings.options, rounds, seconds, opening)
            parts.append(apart(asked, _from(opening * rounds, settings.rounds, progress), timing))
    info, found = parts[0].info, [one.taken for one in parts]
    return Measured(info, _key(info), ratios(found), sum(len(one[0].logs) for one in found))


def _key(info: BackendInfo) -> Key:
    key = key_of(info)
    return replace(key, versions={**key.versions, "pinned work": PINNED_VERSION})


def _from(before: int, rounds: int, progress: Progress) -> Progress:
    """Tell of one opening's rounds as a part of all."""
    return lambda done, _total: progress(min(before + done, rounds), rounds)


def judge(found: Sequence[Measured], kept: Sequence[Kept]) -> list[Judged]:
    """Put what was measured beside what was kept for the same key."""
    judged = []
    for one in found:
        its = baseline.find(kept, one.key)
        judged.append(Judged(one, its, baseline.compare(one.ratios, its) if its else ()))
    return judged
