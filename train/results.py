"""What a finished run leaves beside its weights: metrics.json, suspects.csv, pictures and the report."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from edge.draw import Tile, confusion_matrix, grid, save_png
from edge.files import replace_bytes
from edge.images import Role
from edge.preprocess import preprocess
from train.insight.curve import LearningCurve
from train.insight.look import Insight
from train.insight.suspects import Suspects
from train.insight.words import tell_doubling
from train.job import Job
from train.outcome import Outcome
from train.report.contents import CURVE, MATRICES, PREDICTIONS, RESULTS, make_page
from train.report.doubt import Doubt
from train.report.doubt_part import draw_doubt
from train.report.figures import draw_curve, draw_results
from train.report.page import write_page

METRICS, REPORT, SUSPECTS = "metrics.json", "report.html", "suspects.csv"
COLUMNS = ("rank", "file", "role", "label", "suggested", "probability", "suggested_probability", "score")
"""Of suspects.csv."""
GRID_TILES = 36
ANSWERS = "predictions.csv"
ANSWER_COLUMNS = ("file", "label", "answer", "confidence", "decision", "strangeness")
"""Of predictions.csv; a column p_LABEL for each label follows, the probability of it."""


def write_results(job: Job, outcome: Outcome) -> None:
    """Write all of it into the run folder, each file whole or not at all. Raises OSError."""
    write_metrics(job, outcome)
    replace_bytes(job.run / ANSWERS, _answers_csv(job, outcome))
    if outcome.insight.suspects:
        replace_bytes(job.run / SUSPECTS, _suspects_csv(job, outcome.insight.suspects))
    _draw(job, outcome)
    write_page(job.run / REPORT, make_page(job, outcome))


def told(insight: Insight, doubt: Doubt, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return what metrics.json and --json say of rejection, of suspect labels and of the learning curve."""
    its = insight.suspects
    flagged = None if its is None else {"flagged": its.flagged, "agreement": its.agreement}
    curve = None if insight.curve is None else _curve(insight.curve, labels)
    return {**_told_doubt(doubt), "suspects": flagged, "learning_curve": curve, "notes": list(insight.notes)}


def _told_doubt(doubt: Doubt) -> dict[str, Any]:
    its, strangers = doubt.rejection, doubt.strangers
    accepted = doubt.accepted
    limit = None if strangers is None else strangers.threshold
    return {
        "rejection": {**asdict(its), "summary": doubt.told},
        "aurc": doubt.curve.aurc,
        "stranger_threshold": limit,
        "coverage": float(accepted.mean()),
        "accepted_accuracy": float(1 - doubt.wrong[accepted].mean()) if accepted.any() else 0.0,
    }


def _curve(curve: LearningCurve, labels: tuple[str, ...]) -> dict[str, Any]:
    classes = {label: its and asdict(its) for label, its in zip(labels, curve.classes, strict=True)}
    return {**asdict(curve), "classes": classes, "summary": tell_doubling(curve, labels)}


def write_metrics(job: Job, outcome: Outcome) -> None:
    """Write metrics.json alone: what must not be lost when the rest is interrupted. Raises OSError."""
    metrics = {
        **asdict(outcome.scores),
        "labels": job.split.labels,
        "best_epoch": outcome.about.epoch,
        "val_accuracy": outcome.about.val_accuracy,
        "seconds": outcome.seconds,
        "temperature": outcome.about.temperature,
        **told(outcome.insight, outcome.doubt, job.split.labels),
    }
    replace_bytes(job.run / METRICS, json.dumps(metrics, indent=1, allow_nan=False).encode() + b"\n")


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _suspects_csv(job: Job, suspects: Suspects) -> bytes:
    return _table(COLUMNS, _suspect_rows(job, suspects))


def _answers_csv(job: Job, outcome: Outcome) -> bytes:
    """Return what was answered to each test photo, and what the bin would have done with it."""
    labels = job.split.labels
    columns = (*ANSWER_COLUMNS, *(f"p_{label}" for label in labels))
    return _table(columns, _answer_rows(job, outcome.doubt))


def _answer_rows(job: Job, doubt: Doubt) -> Iterator[tuple[object, ...]]:
    labels, accepted = job.split.labels, doubt.accepted
    for index, one in enumerate(job.split.roles[Role.TEST]):
        chances, answer = doubt.probabilities[index], int(doubt.answers[index])
        strangeness = "" if doubt.strangers is None else f"{doubt.strangers.test[index]:.6g}"
        decision = "accepted" if accepted[index] else "rejected"
        figures = (f"{value:.6g}" for value in chances)
        yield one.file, one.label, labels[answer], f"{chances[answer]:.6g}", decision, strangeness, *figures


def _suspect_rows(job: Job, suspects: Suspects) -> Iterator[tuple[object, ...]]:
    labels, names = job.split.labels, job.names
    for rank in range(len(suspects.order)):
        its = suspects.at(rank)
        file, role = names[its.index]
        figures = (f"{value:.6g}" for value in (its.given, its.better, its.score))
        yield rank + 1, file, role.value, labels[its.label], labels[its.suggested], *figures


def _draw(job: Job, outcome: Outcome) -> None:
    draw_results(outcome.fitted.rows, job.run / RESULTS)
    for file, normalized in MATRICES.items():
        save_png(job.run / file, confusion_matrix(outcome.scores.confusion, job.split.labels, normalized))
    save_png(job.run / PREDICTIONS, grid(_tiles(job, outcome)))
    if outcome.doubt:
        draw_doubt(outcome.doubt, job.run)
    if outcome.insight.curve:
        draw_curve(outcome.insight.curve, job.run / CURVE)


def _tiles(job: Job, outcome: Outcome) -> list[Tile]:
    """Test photos drawn by the seed, as the network saw them, with what it said."""
    labels, files = job.split.labels, job.files[Role.TEST]
    chosen = sorted(random.Random(job.recipe.seed).sample(range(len(files)), min(GRID_TILES, len(files))))
    tiles = []
    for index in chosen:
        file, chances = files[index], outcome.probabilities[index]
        said = int(chances.argmax())
        picture = preprocess(file.path.read_bytes(), job.recipe.input)
        title = f"{labels[said]} {chances[said]:.0%}"
        tiles.append(Tile(picture, title, f"true: {labels[file.target]}", said == file.target))
    return tiles
