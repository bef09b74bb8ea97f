"""edge-predict."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from edge.cli.app import NO, OK, failed_parity_option, progress_bar, run, say, say_json, shared_options
from edge.cli.engine import Engine, engine_options
from edge.cli.logs import note
from edge.decision import Choice, Decision, decide
from edge.draw import Tile, grid, save_png
from edge.evaluate import Answer, Judge, open_judge
from edge.images import list_images
from edge.preprocess import InputSpec, preprocess

MAX_TILES = 600
"""Of one grid: a picture of more is of no use to anyone."""


@dataclass(frozen=True)
class Prediction:
    """A row of the table."""

    path: Path
    label: str
    choice: Choice
    probabilities: dict[str, float]
    strangeness: float | None


@click.command(epilog="Example: edge-predict bundle unsorted/ --grid answers.png")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV in place of the table.")
@click.option("--grid", "grid_file", type=click.Path(path_type=Path), help="Draw the images with their answers.")
@engine_options
@failed_parity_option
@shared_options
def command(
    bundle: Path,
    paths: tuple[Path, ...],
    as_csv: bool,
    grid_file: Path | None,
    engine: Engine,
    allow_failed_parity: bool,
    as_json: bool,
) -> int:
    """Label images, and folders of images, that have no label. Exits 1 where one can't be read."""
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other: stdout holds one of them")
    images = list_images(paths)
    unreadable: list[dict[str, str]] = []
    with open_judge(
        bundle, engine.backend, engine.precision, engine.options, allow_failed_parity=allow_failed_parity
    ) as judge:
        rows = list(_predict(judge, images, unreadable))
    if as_json:
        say_json({"images": len(rows), "unreadable": unreadable, "predictions": [_as_json(row) for row in rows]})
    elif as_csv:
        _print_csv(rows)
    else:
        _print_table(rows)
    if grid_file:  # last: the answers are out, whatever becomes of the picture
        _draw(judge.bundle.manifest.input, rows, grid_file)
    return NO if unreadable else OK


def _predict(judge: Judge, images: tuple[Path, ...], unreadable: list[dict[str, str]]) -> Iterator[Prediction]:
    labels = judge.bundle.manifest.labels
    with progress_bar("predicting") as progress:
        for done, result in enumerate(judge.answer(images), start=1):
            progress(done, len(images))
            if not isinstance(result, Answer):
                note(f"left out {result.path}: {result.reason}")
                unreadable.append({"file": str(result.path), "reason": result.reason})
                continue
            choice = decide(result.probabilities, result.strangeness, judge.rule)
            probabilities = {label: float(p) for label, p in zip(labels, result.probabilities, strict=True)}
            yield Prediction(result.path, labels[choice.index], choice, probabilities, result.strangeness)


def _draw(spec: InputSpec, rows: list[Prediction], file: Path) -> None:
    tiles = [
        Tile(
            preprocess(row.path.read_bytes(), spec),
            f"{row.label} {row.choice.confidence:.0%} {row.choice.reason.value}".strip(),
            row.path.name,
            False if row.choice.decision is Decision.REJECTED else None,
        )
        for row in rows[:MAX_TILES]
    ]
    if len(rows) > MAX_TILES:
        note(f"the grid shows the first {MAX_TILES} of {len(rows)} images")
    save_png(file, grid(tiles))


def _as_json(row: Prediction) -> dict[str, object]:
    return {
        "file": str(row.path),
        "label": row.label,
        "confidence": row.choice.confidence,
        "decision": row.choice.decision.value,
        "reason": row.choice.reason.value,
        "probabilities": row.probabilities,
        "strangeness": row.strangeness,
    }


def _print_csv(rows: list[Prediction]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "label", "confidence", "decision", "reason"])
    for row in rows:
        its = row.choice
        writer.writerow([row.path, row.label, f"{its.confidence:.6f}", its.decision.value, its.reason.value])


def _print_table(rows: list[Prediction]) -> None:
    width = max([len("label"), *(len(row.label) for row in rows)])
    say(f"{'label':{width}}  confidence  decision  reason    file")
    for row in rows:
        its = row.choice
        decided = f"{its.decision.value:8}  {its.reason.value:8}"
        say(f"{row.label:{width}}  {its.confidence:10.1%}  {decided}  {row.path}")


def main() -> None:
    """Run edge-predict."""
    run(command, "edge-predict")
