"""A data set looked through: all that edge-data reports, and what edge-train knows before it starts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge import __version__
from edge.errors import DataError
from edge.images import Listing, list_photos
from edge.progress import Phase, silent
from train.dataset import memo
from train.dataset.examine import Examined, examine
from train.dataset.findings import Finding, Kind
from train.dataset.oddities import find_oddities
from train.dataset.shortcuts import find_shortcuts
from train.dataset.twins import Group, find_twins

MAX_BROKEN = 0.05
"""Share of unreadable photos above which something is wrong with the data set itself."""


RULES = 3
"""To be raised whenever twins or shortcuts are found in another way: older conclusions are then not taken."""


@dataclass(frozen=True)
class Survey:
    """A data set, looked through."""

    examined: Examined
    twins: tuple[Group, ...]
    """Files that show one picture; none is in two groups."""
    findings: tuple[Finding, ...]
    """In the order of Kind."""


@dataclass(frozen=True)
class _Conclusions:
    """What takes time to find, and is kept for the next run."""

    twins: tuple[Group, ...]
    shortcuts: tuple[Finding, ...]


def survey(data: Path, cache: Path, phase: Phase = silent) -> Survey:
    """Look through `data`, a folder or .zip of class folders: every photo is decoded, once, and compared.

    What was found is kept in `cache`, and files that have not changed since are not looked at again.
    Raises DataError: nothing there, no images, one class only.
    """
    listing = list_photos(data, cache)
    if len(listing.labels) < 2:
        raise DataError(
            f"{data} has one class ({', '.join(listing.labels)}); expected a folder for each of at least 2"
        )
    examined = _examine(listing, cache, phase)
    of = _digest(examined)
    found = memo.recall_result(listing, of, _Conclusions, cache)
    if found is None:
        with phase("comparing photos") as progress:
            found = _Conclusions(find_twins(examined, progress), find_shortcuts(examined.samples, examined.labels))
        memo.remember_result(listing, of, found, cache)
    findings = [*find_oddities(examined, found.twins), *found.shortcuts]
    order = list(Kind)
    return Survey(examined, found.twins, tuple(sorted(findings, key=lambda finding: order.index(finding.kind))))


def spoiling(survey: Survey) -> tuple[Finding, ...]:
    """Return the findings that would spoil a training: conflicts, leaks, classes too small, many broken files."""
    broken = len(survey.examined.broken) > MAX_BROKEN * survey.examined.files
    kinds = {Kind.LABEL_CONFLICT, Kind.SPLIT_LEAK, Kind.TOO_FEW} | ({Kind.UNREADABLE} if broken else set())
    return tuple(finding for finding in survey.findings if finding.kind in kinds)


def check_readable(examined: Examined) -> None:
    """Raise DataError, naming the first, where more than 5 % of the photos can't be read."""
    if len(examined.broken) > MAX_BROKEN * examined.files:
        first = "; ".join(f"{one.name}: {one.reason}" for one in examined.broken[:3])
        raise DataError(
            f"{len(examined.broken)} of {examined.files} photos can't be read, over {MAX_BROKEN:.0%}: {first}"
        )


def _examine(listing: Listing, cache: Path, phase: Phase) -> Examined:
    stamps = memo.stamps(listing)  # before the look: a file that changes meanwhile is looked at again next time
    known = memo.recall(listing, stamps, cache)
    if len(known) == len(listing.photos):
        return examine(listing, known)
    seen = dict(known)
    try:
        with phase("examining photos") as progress:
            return examine(listing, seen, progress)
    finally:
        memo.remember(listing, stamps, seen, cache)  # what was seen before an interruption, too


def _digest(examined: Examined) -> str:
    sha = hashlib.sha256(f"binsight {__version__}, rules {RULES}\n".encode())
    for sample in examined.samples:
        role = sample.photo.role.value if sample.photo.role else ""
        text = "\0".join((sample.photo.name, sample.photo.label, role, sample.record.sha256))
        sha.update(text.encode("utf-8", "surrogateescape") + b"\n")
    return sha.hexdigest()
