"""report.html and report.json: what a data set holds and what is wrong with it, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.files import replace_bytes
from edge.images import Role
from train.dataset.examine import Sample
from train.dataset.findings import Kind
from train.dataset.survey import Survey, spoiling
from train.report.data_json import as_json
from train.report.gallery import PICTURES, Section, choose_findings, choose_samples, count
from train.report.kinds import ABOUT, About, tell
from train.report.spread import spread_of_brightness, spread_of_size
from train.report.strips import Chart, chart_of_brightness, chart_of_size
from train.report.tally import Tally, tally
from train.report.templates import TIMES, environment
from train.report.thumbs import Thumb, draw_thumbs

HTML, JSON = "report.html", "report.json"
ROWS = 6
"""Rows of the small tables of formats, sizes and cameras."""


@dataclass(frozen=True)
class _Verdict:
    """What the page says first."""

    fit: bool
    spoiling: int
    """Findings that would spoil training."""
    reasons: tuple[tuple[Kind, str], ...]
    """Their kinds, each with its number in words."""
    others: int
    """Findings that would not."""


@dataclass(frozen=True)
class _Line:
    """A line of the table of classes."""

    label: str
    images: int
    share: float
    """Of all images, 0 to 1."""
    parts: tuple[tuple[Role | None, int, float], ...]
    """Images in each split, and how long their piece of the bar is: 1 for all images of the largest class."""
    broken: int


@dataclass(frozen=True)
class _Looked:
    """A line of the table of what was looked for."""

    kind: Kind
    about: About
    found: int
    spoils: bool


@dataclass(frozen=True)
class _Shelf:
    """A small table of what the files are."""

    title: str
    rows: tuple[tuple[str, int, float], ...]
    """Text, photos, and their share of all that can be read."""


def write_report(folder: Path, survey: Survey, data: str, command: str) -> None:
    """Write report.html and report.json into `folder`, each whole or not at all, and make the folder if need be.

    `data` is the data set as the user named it, `command` the command line. The page holds everything that it
    shows, at most 300 small pictures. Raises OSError where they can't be written.
    """
    page = _page(survey, data, command)
    text = json.dumps(as_json(survey, data), indent=1, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    replace_bytes(folder / HTML, page.encode("utf-8", "backslashreplace"))  # file names may hold lone surrogates
    replace_bytes(folder / JSON, text.encode() + b"\n")


def _page(survey: Survey, data: str, command: str) -> str:
    its, verdict = tally(survey.examined), _verdict(survey)
    samples = choose_samples(survey.examined)
    room = PICTURES - sum(map(len, samples.values()))
    sections = choose_findings(survey.findings, survey.examined, room)
    template = environment().get_template("data.html")
    return template.render(
        title=Path(data).name or data,
        data=data,
        command=command,
        its=its,
        broken=len(survey.examined.broken),
        verdict=verdict,
        lines=_lines(survey, its),
        samples=samples,
        sections=sections,
        spoiled={kind for kind, _ in verdict.reasons},
        looked=_looked(survey),
        charts=_charts(survey, its),
        shelves=_shelves(its),
        thumbs=_thumbs(samples, sections),
    )


def _verdict(survey: Survey) -> _Verdict:
    spoils = spoiling(survey)
    kinds = dict.fromkeys(one.kind for one in spoils)
    return _Verdict(
        fit=not spoils and len(survey.examined.labels) > 1,
        spoiling=len(spoils),
        reasons=tuple((kind, tell(kind, count(kind, spoils))) for kind in kinds),
        others=len(survey.findings) - len(spoils),
    )


def _lines(survey: Survey, its: Tally) -> list[_Line]:
    broken = Counter(one.label for one in survey.examined.broken)
    largest, lines = max(its.classes.values(), default=0), []
    for label, images in its.classes.items():
        splits: list[tuple[Role | None, int]] = [(role, counts[label]) for role, counts in its.splits.items()]
        parts = tuple((role, number, number / max(1, largest)) for role, number in splits or [(None, images)])
        lines.append(_Line(label, images, images / max(1, its.images), parts, broken[label]))
    return lines


def _looked(survey: Survey) -> list[_Looked]:
    """List all kinds, but those that only a trained network can tell where it told none."""
    spoils = {one.kind for one in spoiling(survey)}
    numbers = {kind: count(kind, survey.findings) for kind in Kind}
    return [
        _Looked(kind, ABOUT[kind], number, kind in spoils)
        for kind, number in numbers.items()
        if number or kind is not Kind.SUSPECT_LABEL
    ]


def _charts(survey: Survey, its: Tally) -> list[Chart]:
    """Draw how size and brightness are spread; not the size where all photos have the same."""
    samples, labels = survey.examined.samples, survey.examined.labels
    charts = [chart_of_size(spread_of_size(samples, labels))] if len(its.sizes) > 1 else []
    return [*charts, chart_of_brightness(spread_of_brightness(samples, labels))] if samples else []


def _shelves(its: Tally) -> list[_Shelf]:
    readable = sum(its.readable.values())
    sizes = {text.replace("x", f" {TIMES} "): number for text, number in its.sizes.items()}
    return [
        _shelf("Format", its.formats, readable, "other"),
        _shelf("Width and height, pixels", sizes, readable, "other"),
        _shelf("Camera", its.cameras, readable, "other or not named" if its.cameras else "not named"),
    ]


def _shelf(title: str, numbers: Mapping[str, int], total: int, rest: str) -> _Shelf:
    rows = list(numbers.items())[:ROWS]
    left = total - sum(number for _, number in rows)
    rows += [(rest, left)] if left else []
    return _Shelf(title, tuple((text, number, number / total) for text, number in rows))


def _thumbs(samples: Mapping[str, tuple[Sample, ...]], sections: Iterable[Section]) -> dict[Path, Thumb]:
    paths = [sample.photo.path for its in samples.values() for sample in its]
    tiles = [tile for section in sections for card in section.cards for tile in card.shown]
    return draw_thumbs(paths + [tile.path for tile in tiles if tile.path])
