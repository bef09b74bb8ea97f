"""edge-train."""

from __future__ import annotations

import errno
import shlex
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge.cli.app import (
    Interrupted,
    cache_folder,
    note,
    progress_bar,
    run,
    say,
    say_json,
    say_scores,
    shared_options,
)
from edge.errors import TrainError
from edge.preprocess import Resize
from train.recipe import Amp, Imbalance, Optimizer, Recipe

DEFAULT = Recipe()
BEST = Path("weights/best.pt")


@click.command(
    epilog="Example: edge-train photos.zip --model mobilenet_v2 --epochs 12",
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder.  [default: runs/NAME]")
@click.option("--model", default=DEFAULT.model, help="mobilenet_v2, resnet18, resnet34 or resnet50.")
@click.option(
    "--weights", default=DEFAULT.weights, help="imagenet, none, a torchvision enum name, a file, or a run folder."
)
@click.option("--epochs", type=click.IntRange(1), default=DEFAULT.epochs)
@click.option(
    "--frozen-epochs", type=click.IntRange(0), default=DEFAULT.frozen_epochs, help="Of these, for the head alone."
)
@click.option(
    "--img-size", type=click.IntRange(32, 1024), default=DEFAULT.img_size, help="Side of the input, pixels."
)
@click.option("--resize", type=click.Choice([kind.value for kind in Resize]), default=DEFAULT.resize.value)
@click.option("--batch-size", type=click.IntRange(2), default=DEFAULT.batch_size)
@click.option(
    "--optimizer", type=click.Choice([kind.value for kind in Optimizer]), default=DEFAULT.optimizer.value
)
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=DEFAULT.lr, help="Peak, of the head.")
@click.option(
    "--imbalance",
    type=click.Choice([kind.value for kind in Imbalance]),
    default=DEFAULT.imbalance.value,
    help="For small classes: weigh their photos more in the loss, draw them more often, or neither.",
)
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=DEFAULT.patience,
    help="Epochs without improvement that end training; 0: never.",
)
@click.option("--seed", type=click.IntRange(0), default=DEFAULT.seed)
@click.option(
    "--amp", type=click.Choice([kind.value for kind in Amp]), default=DEFAULT.amp.value, help="bf16 autocast."
)
@click.option(
    "--group-by",
    default="",
    metavar="SPEC",
    help="Keep photos of one bin, site or day in one role: folder:1, name:REGEX or csv:FILE:COLUMN.",
)
@click.option(
    "--split", "reuse", type=click.Path(path_type=Path), help="split.json of an earlier run, whose roles are kept."
)
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
@click.option("--workers", type=click.IntRange(0), help="Processes that load photos.  [default: by the machine]")
@shared_options
def command(
    data: Path,
    output: Path | None,
    group_by: str,
    reuse: Path | None,
    device: str,
    workers: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fine-tune a backbone on DATA, a folder or .zip of class folders."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException  # noqa: PLC0415

    from train.dataset.prepare import Division  # noqa: PLC0415
    from train.device import choose_device  # noqa: PLC0415  torch is heavy: --help must not wait for it
    from train.results import told  # noqa: PLC0415
    from train.run import train  # noqa: PLC0415
    from train.runs import next_run  # noqa: PLC0415

    recipe = Recipe(
        **{
            **options,
            "resize": Resize(options["resize"]),
            "optimizer": Optimizer(options["optimizer"]),
            "imbalance": Imbalance(options["imbalance"]),
            "amp": Amp(options["amp"]),
        }
    )
    target = output or next_run(data, recipe.model)
    began = (target / BEST).exists()
    started = time.monotonic()
    try:
        trained = train(
            data,
            target,
            recipe,
            choose_device(device),
            cache_folder(),
            division=Division(group_by, reuse),
            workers=workers,
            command=shlex.join(["edge-train", *sys.argv[1:]]),
            phase=progress_bar,
            say=note,
        )
    except (Interrupted, SIGTERMException) as stop:  # a signal's exception can get lost in a callback of C
        ended = stop if isinstance(stop, Interrupted) else Interrupted(signal.SIGTERM)
        ended.note = _kept(target, began)
        raise ended from None
    except OSError as error:
        mend = "make room; " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        what = f"{error.filename or target}: {error.strerror or error}"
        raise TrainError(f"{what}; {mend}{_kept(target, began)}") from error
    if as_json:
        result = {"run": str(trained.run), "best_epoch": trained.best_epoch, "seconds": trained.seconds}
        say_json({**result, "test": asdict(trained.scores), **told(trained.insight, trained.labels)})
        return
    _print_table(trained)
    note(f"took {time.monotonic() - started:.0f} s")


def _kept(run: Path, began: bool) -> str:
    """Say what a training that stopped left; `began`: there were weights before it."""
    best = run / BEST
    if not began and best.is_file():
        return f"the best weights so far are kept in {best}"
    return "no epoch was finished, so there are no weights yet"


def _print_table(trained: Any) -> None:
    from train.insight.words import tell_doubling  # noqa: PLC0415

    scores = trained.scores
    say_scores(scores)
    say(
        f"test accuracy {scores.accuracy:.1%}, macro F1 {scores.macro_f1:.3f}, calibration error "
        f"{scores.calibration_error:.1%}, on {scores.images} photos; best epoch {trained.best_epoch}"
    )
    insight = trained.insight
    if insight.suspects:
        its = insight.suspects
        say(f"labels that look wrong: {its.flagged} of {len(its.order)}, in {trained.run / 'suspects.csv'}")
    if insight.curve:
        say(tell_doubling(insight.curve, trained.labels))
    for line in insight.notes:
        say(line)
    say(f"report: {trained.run / 'report.html'}")


def main() -> None:
    """Run edge-train."""
    run(command, "edge-train")
