"""From a folder of photos to roles that can be trained on: what edge-train does before its first step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.images import Role
from edge.progress import Phase, silent
from train.dataset.deal import make_split
from train.dataset.findings import Kind
from train.dataset.groups import group_keys, parse_grouping
from train.dataset.split import Split, read_split
from train.dataset.survey import Survey, check_readable, survey
from train.dataset.twins import tie

BROKEN_NAMED = 20
"""Broken files that are named; the rest are counted."""
TOLD = (Kind.SHORTCUT, Kind.IMBALANCE, Kind.KEPT, Kind.IGNORED, Kind.WRONG_ENDING, Kind.TINY, Kind.HUGE)
"""Kinds of findings that change nothing, and that a person should know of before training."""


@dataclass(frozen=True)
class Division:
    """How the photos are divided among the roles."""

    group_by: str = ""
    """What belongs together: folder:N, name:REGEX or csv:FILE:COLUMN; empty for nothing but copies."""
    reuse: Path | None = None
    """The split.json of an earlier run, whose roles are kept."""


@dataclass(frozen=True)
class Prepared:
    """A data set, looked through and divided."""

    survey: Survey
    split: Split
    groups: npt.NDArray[np.int64]
    """int64, of all photos of the split by role: equal numbers show one picture or are held out together."""
    findings: tuple[str, ...]
    """What was found and decided, in sentences."""


def prepare(data: Path, cache: Path, seed: int, division: Division, phase: Phase = silent) -> Prepared:
    """Look through `data` and give every photo a role.

    Conflicting and broken photos are left out, a leak stays in one role, and copies of one picture share one.
    Raises DataError and UsageError: options or data that can't serve, over 5 % of the photos broken.
    """
    earlier = read_split(division.reuse) if division.reuse else None
    group_by = division.group_by
    if group_by:
        parse_grouping(group_by)  # an error in it is told before the photos are looked at
    found = survey(data, cache, phase)
    check_readable(found.examined)
    samples = found.examined.samples
    keys = group_keys(group_by, [sample.photo for sample in samples]) if group_by else None
    split = make_split(found.examined, found.twins, data, seed, keys, earlier, group_by)
    return Prepared(found, split, _groups(found, keys, split), _sentences(found, split))


def _groups(found: Survey, keys: tuple[str, ...] | None, split: Split) -> npt.NDArray[np.int64]:
    """Number the photos of the split, by role: what belongs together alike."""
    samples = found.examined.samples
    alike = defaultdict(list)
    for index, key in enumerate(keys or ()):
        alike[key].append(index)
    numbers = tie(len(samples), [*(group.members for group in found.twins), *alike.values()]).numbers()
    number = {sample.photo.name: numbers[index] for index, sample in enumerate(samples)}
    return np.array([number[one.file] for role in Role for one in split.roles[role]], dtype=np.int64)


def _sentences(found: Survey, split: Split) -> tuple[str, ...]:
    examined = found.examined
    counts = ", ".join(f"{len(split.roles[role])} {role.value}" for role in Role)
    lines = [f"{len(examined.samples)} photos in {len(split.labels)} classes: {counts}", *split.notes]
    if examined.broken:
        lines.append(f"{len(examined.broken)} photos can't be read and were left out")
    lines.extend(f"left out {one.name}: {one.reason}" for one in examined.broken[:BROKEN_NAMED])
    lines.extend(finding.detail for finding in found.findings if finding.kind in TOLD)
    return tuple(lines)
