"""report.html: one self-contained page about a training run, for people."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edge.files import replace_bytes
from edge.intervals import wilson
from edge.scores import Scores
from train.balance import ClassShare
from train.insight.doubling import Doubling
from train.insight.words import points
from train.recipe import Imbalance
from train.report.doubt_part import DoubtPart
from train.report.rows import EpochRow
from train.report.templates import environment
from train.report.thumbs import Thumb

MISTAKES = 3
"""How many of the most frequent mistakes are put in words."""

WIDE = 800
"""A figure of more pixels in width takes the page's whole width; two narrower ones share it."""


@dataclass(frozen=True)
class RoleLine:
    """What the photos of a role are for."""

    role: str
    photos: int
    duty: str


@dataclass(frozen=True)
class BalancePart:
    """What each class got of the training."""

    imbalance: Imbalance
    shares: tuple[ClassShare, ...]


@dataclass(frozen=True)
class Shot:
    """A photo as the network saw it, and what is said of it."""

    name: str
    """Path below the data set's root."""
    role: str
    tag: str
    facts: str
    thumb: Thumb


@dataclass(frozen=True)
class Gallery:
    """Photos of which something is said, the most telling first."""

    shots: tuple[Shot, ...]
    found: int
    """Of how many it is true."""
    of: int
    """How many were looked at."""


@dataclass(frozen=True)
class SuspectPart:
    """Photos whose label is likely wrong."""

    gallery: Gallery
    agreement: float
    """Share of the labels, 0 to 1, that the probe would have given too."""


@dataclass(frozen=True)
class CurvePart:
    """What more photos should bring."""

    sentence: str
    figure: Path
    """PNG."""
    learnt: int
    """Photos that the probe learns from now."""
    classes: tuple[tuple[str, Doubling | None], ...]
    """Label, and its recall now and later; None where there are too few photos to tell."""


@dataclass(frozen=True)
class Page:
    """All that the page tells. Texts are plain: the page escapes them."""

    title: str
    command: str
    """The command line that made the run."""
    facts: tuple[tuple[str, str], ...]
    """Label and value: model, weights, data, seed, device, versions."""
    scores: Scores
    """Of the best weights on the test split."""
    best_epoch: int
    findings: tuple[str, ...]
    """Sentences about the data: what was skipped, how it was split."""
    rows: tuple[EpochRow, ...]
    figures: tuple[tuple[str, Path], ...]
    """Caption and PNG."""
    roles: tuple[RoleLine, ...]
    balance: BalancePart
    mistakes: Gallery
    """Test photos that were answered wrongly, the most confident first."""
    suspects: SuspectPart | None
    curve: CurvePart | None
    doubt: DoubtPart | None
    """None where the answers were not looked at so closely."""
    notes: tuple[str, ...]
    """Sentences about suspects and curve: what is missing, and what must be known to read the rest."""


@dataclass(frozen=True)
class _ClassLine:
    """A line of the per-class table."""

    label: str
    precision: float
    recall: float
    low: float
    """Ends of the 95 % interval of the recall, 0 to 1."""
    high: float
    f1: float
    support: int


@dataclass(frozen=True)
class _Figure:
    caption: str
    source: str
    """data: URI."""
    width: int
    """Pixels."""
    height: int

    @property
    def wide(self) -> bool:
        return self.width > WIDE


def write_page(path: Path, page: Page) -> None:
    """Write the page, whole or not at all, with its figures inside and nothing fetched from elsewhere.

    Raises OSError where a figure can't be read or the page not be written.
    """
    scores = page.scores
    right = sum(row[index] for index, row in enumerate(scores.confusion))
    templates = environment()
    templates.filters["points"] = points
    text = templates.get_template("page.html").render(
        page=page,
        scores=scores,
        interval=wilson(right, scores.images),
        classes=_class_lines(scores),
        mistakes=_mistakes(scores),
        figures=[_figure(caption, file) for caption, file in page.figures],
        curve_figure=page.curve and _figure(page.curve.sentence, page.curve.figure),
        doubt_figures=_doubt_figures(page.doubt),
    )
    replace_bytes(path, text.encode("utf-8", "replace"))  # file names may hold lone surrogates


def _doubt_figures(doubt: DoubtPart | None) -> dict[str, _Figure]:
    if not doubt:
        return {}
    files = {"reliability": doubt.reliability, "risk": doubt.risk}
    if doubt.strangers:
        files["strangeness"] = doubt.strangers.figure
    return {name: _figure(name, file) for name, file in files.items()}


def _class_lines(scores: Scores) -> list[_ClassLine]:
    lines = []
    for index, (label, its) in enumerate(scores.per_class.items()):
        low, high = wilson(scores.confusion[index][index], its.support)
        lines.append(_ClassLine(label, its.precision, its.recall, low, high, its.f1, its.support))
    return lines


def _mistakes(scores: Scores) -> list[tuple[int, str, str]]:
    """Return the most frequent mistakes: photos, true label, answer."""
    labels = list(scores.per_class)
    mistakes = [
        (count, labels[truth], labels[answer])
        for truth, row in enumerate(scores.confusion)
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[0])[:MISTAKES]


def _figure(caption: str, file: Path) -> _Figure:
    with Image.open(file) as image:
        width, height = image.size
    source = f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
    return _Figure(caption, source, width, height)
