"""Which photos a page shows: some of each class, and what was found, in bounded numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge.images import Role
from train.dataset.examine import Broken, Examined, Sample
from train.dataset.findings import Finding, Kind
from train.report.kinds import ABOUT, About, tell
from train.report.templates import TIMES, in_bytes

SAMPLES = 120
"""Photos shown as samples, of all classes together."""
PER_CLASS = 8
PICTURES = 300
"""Photos shown on the whole page."""
FINDINGS = 20
"""Findings of a kind that are told one by one."""
FILES = 30
"""Files of a finding that are named."""
GROUP = 6
"""Pictures of a finding where there are many of its kind."""
LIST = 24
"""Pictures of a kind that are shared by its findings, where those are few."""

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Tile:
    """A file of a finding."""

    name: str
    """Path below the data set's root."""
    tag: str
    """Its class or its split, where the kind is about that."""
    facts: str
    """Width x height, format and bytes; why it can't be read."""
    path: Path | None
    """None where it can't be read."""


@dataclass(frozen=True)
class Card:
    """A finding as the page shows it."""

    detail: str
    shown: tuple[Tile, ...]
    """With their pictures."""
    named: tuple[Tile, ...]
    """By their names."""
    more: int
    """Files that stand in report.json only."""


@dataclass(frozen=True)
class Section:
    """The findings of one kind."""

    kind: Kind
    about: About
    title: str
    cards: tuple[Card, ...]
    more: int
    """Findings that stand in report.json only."""


def choose_samples(examined: Examined) -> dict[str, tuple[Sample, ...]]:
    """Choose photos of each class, evenly spaced by name: 8 each, fewer where there are many classes.

    Of more than 120 classes, 120 are chosen, evenly spaced too. Always the same photos for the same data.
    """
    by_label: dict[str, list[Sample]] = {label: [] for label in examined.labels}
    for sample in examined.samples:
        by_label[sample.photo.label].append(sample)
    labels = _spaced([label for label, its in by_label.items() if its], SAMPLES)
    each = min(PER_CLASS, SAMPLES // max(1, len(labels)))
    return {label: tuple(_spaced(by_label[label], each)) for label in labels}


def choose_findings(findings: Iterable[Finding], examined: Examined, room: int) -> tuple[Section, ...]:
    """Lay out the findings by kind, with at most `room` pictures, shared fairly between the kinds."""
    by_kind: dict[Kind, list[Finding]] = {kind: [] for kind in Kind}
    for finding in findings:
        by_kind[finding.kind].append(finding)
    found = {kind: its for kind, its in by_kind.items() if its}
    wanted = {
        kind: _wanted(its[:FINDINGS]) if ABOUT[kind].pictured else [0] * FINDINGS for kind, its in found.items()
    }
    level = _level([sum(numbers) for numbers in wanted.values()], room)
    known = _known(examined)
    sections = []
    for kind, its in found.items():
        pictures = _share(wanted[kind], level)
        cards = tuple(_card(one, number, known) for one, number in zip(its, pictures, strict=False))
        title = tell(kind, count(kind, its))
        sections.append(Section(kind, ABOUT[kind], title, cards, len(its) - len(cards)))
    return tuple(sections)


def count(kind: Kind, findings: Iterable[Finding]) -> int:
    """Count the files of a kind that is about single files, and else the findings."""
    return sum(len(one.files) if ABOUT[kind].single else 1 for one in findings if one.kind is kind)


def _spaced(things: Sequence[Thing], number: int) -> list[Thing]:
    """Take at most `number`, evenly spaced, the first and the last among them."""
    if len(things) <= number:
        return list(things)
    steps = max(1, number - 1)
    return [things[step * (len(things) - 1) // steps] for step in range(number)]


def _wanted(findings: Sequence[Finding]) -> list[int]:
    """Say how many pictures would suit each finding."""
    most = max(GROUP, LIST // max(1, len(findings)))
    return [min(len(one.files), most) for one in findings]


def _level(wanted: Sequence[int], room: int) -> int:
    """Find the most pictures that every kind may have, if it wants them, within `room`."""
    return max(level for level in range(room + 1) if sum(min(want, level) for want in wanted) <= room)


def _share(wanted: Sequence[int], room: int) -> list[int]:
    """Give pictures to the findings in their order; a group of which one alone would fit gets none."""
    given = []
    for want in wanted:
        number = min(want, room) if room >= min(want, 2) else 0
        room -= number
        given.append(number)
    return given


def _card(finding: Finding, pictures: int, known: Mapping[str, Sample | Broken]) -> Card:
    tiles = tuple(_tile(name, finding, known.get(name)) for name in finding.files[:FILES])
    return Card(finding.detail, tiles[:pictures], tiles[pictures:], len(finding.files) - len(tiles))


def _known(examined: Examined) -> dict[str, Sample | Broken]:
    """Return all files by name."""
    known: dict[str, Sample | Broken] = {sample.photo.name: sample for sample in examined.samples}
    known.update((one.name, one) for one in examined.broken)
    return known


def _tile(name: str, finding: Finding, file: Sample | Broken | None) -> Tile:
    if isinstance(file, Sample):
        record = file.record
        facts = f"{record.width} {TIMES} {record.height}, {record.format}, {in_bytes(record.bytes)}"
        return Tile(name, _tag(finding.kind, file.photo.label, file.photo.role), facts, file.photo.path)
    reason = file.reason if file and file.reason not in finding.detail else ""
    return Tile(name, "", reason, None)


def _tag(kind: Kind, label: str, role: Role | None) -> str:
    if kind is Kind.SPLIT_LEAK:
        return role.value if role else ""
    return label if kind in (Kind.LABEL_CONFLICT, Kind.SUSPECT_LABEL) else ""
