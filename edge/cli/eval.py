"""edge-eval."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge.bundle import load
from edge.cli.app import (
    NO,
    OK,
    cache_folder,
    failed_parity_option,
    progress_bar,
    run,
    say,
    say_json,
    say_scores,
    shared_options,
)
from edge.cli.engine import Engine, engine_options
from edge.cli.logs import note
from edge.cli.parity import parity_json, say_parity
from edge.draw import confusion_matrix, save_png
from edge.errors import UsageError
from edge.evaluate import Evaluation, evaluate, open_judge
from edge.manifest import Verdict
from edge.parity_check import check_parity

UNREADABLE_NAMED = 10
EPILOG = """\b
Examples:
  edge-eval runs/photos-mobilenet_v2/bundle more-photos.zip
  edge-eval runs/photos-mobilenet_v2/bundle --parity --precision fp16
"""


@click.command(epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--parity", is_flag=True, help="Judge this device on the bundle's own parity photos, without DATA.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the confusion matrix into this PNG.")
@engine_options
@failed_parity_option
@shared_options
def command(
    bundle: Path,
    data: Path | None,
    parity: bool,
    engine: Engine,
    plot: Path | None,
    allow_failed_parity: bool,
    as_json: bool,
) -> int:
    """Judge BUNDLE on labelled photos, as the bin would run it. Photos that trained it are left out.

    With --parity it is asked whether BUNDLE answers here as PyTorch did where it was exported. Exits 1 where it
    does not.
    """
    if parity:
        if data or plot:
            raise UsageError("--parity judges the bundle's own photos; leave DATA and --plot out")
        return _check_parity(bundle, engine, as_json)
    if data is None:
        raise UsageError("DATA is missing; name labelled photos, or judge the bundle's own with --parity")
    with (
        open_judge(
            bundle, engine.backend, engine.precision, engine.options, allow_failed_parity=allow_failed_parity
        ) as judge,
        progress_bar("judging") as progress,
    ):
        result = evaluate(judge, data, cache_folder(), progress)
    for one in result.unreadable[:UNREADABLE_NAMED]:
        note(f"left out {one.path}: {one.reason}")
    if as_json:
        say_json(_as_json(result))
    else:
        _print(result)
    if plot:  # last: the figures are out, whatever becomes of the picture
        labels = tuple(result.scores.per_class)
        save_png(plot, confusion_matrix(result.scores.confusion, labels, normalized=False))
    return OK


def _check_parity(folder: Path, engine: Engine, as_json: bool) -> int:
    """Say this device's own verdict, and return the exit code."""
    bundle = load(folder)
    with progress_bar("judging") as progress:
        checked = check_parity(bundle, engine.backend, engine.precision, engine.options, progress)
    if as_json:
        say_json(parity_json(checked))
    else:
        say_parity(checked)
    return NO if checked.verdict is Verdict.FAIL else OK


def _as_json(result: Evaluation) -> dict[str, object]:
    return {
        **asdict(result.scores),
        "trained_on": result.trained_on,
        "validated_on": result.validated_on,
        "unreadable": [{"file": str(one.path), "reason": one.reason} for one in result.unreadable],
        "precision": result.backend.precision.value,
        "backend": result.backend.name,
        "coverage": result.coverage,
        "accepted_accuracy": result.accepted_accuracy,
        "rejected_unsure": result.rejected_unsure,
        "rejected_stranger": result.rejected_stranger,
        "latency_ms": {"p50": result.p50_ms, "p99": result.p99_ms},
    }


def _print(result: Evaluation) -> None:
    say_scores(result.scores)
    say(
        f"accuracy {result.scores.accuracy:.2%} on {result.scores.images} photos; "
        f"{result.trained_on} that trained the model left out, {len(result.unreadable)} unreadable"
    )
    if result.validated_on:
        say(f"{result.validated_on} of them chose the model's epoch: the figure is a little kind")
    say(
        f"{result.backend.precision.value} on {result.backend.provider}: p50 {result.p50_ms:.2f} ms, "
        f"p99 {result.p99_ms:.2f} ms; accepted {result.coverage:.1%}, "
        f"of which right {result.accepted_accuracy:.2%}"
    )
    if result.coverage < 1:
        say(f"rejected: {result.rejected_unsure} as unsure, {result.rejected_stranger} as strangers")


def main() -> None:
    """Run edge-eval."""
    run(command, "edge-eval")
