"""edge-train."""

from __future__ import annotations

import errno
import shlex
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.app import (
    Interrupted,
    cache_folder,
    progress_bar,
    run,
    say,
    say_json,
    shared_options,
)
from edge.cli.logs import note
from edge.errors import TrainError, UsageError
from edge.progress import silent
from train.cli.options import make_recipe, recipe_options, with_absolute_paths
from train.cli.told import as_plain, say_trained

if TYPE_CHECKING:
    from train.recipe import Recipe
    from train.resume import Order

BEST = Path("weights/best.pt")


@click.command(
    epilog="Example: edge-train photos.zip --model mobilenet_v2 --epochs 12",
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder.  [default: runs/NAME]")
@click.option(
    "--resume", is_flag=True, help="Go on with the run of -o, or the newest; begin it where it is not there."
)
@click.option("--list-models", is_flag=True, help="List the backbones, and end.")
@recipe_options
@click.option(
    "--group-by",
    default="",
    metavar="SPEC",
    help="Keep photos of one bin, site or day in one role: folder:1, name:REGEX or csv:FILE:COLUMN.",
)
@click.option(
    "--split", "reuse", type=click.Path(path_type=Path), help="split.json of an earlier run, whose roles are kept."
)
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N; torchrun gives each process its own.")
@click.option("--workers", type=click.IntRange(0), help="Processes that load photos.  [default: by the machine]")
@click.option(
    "--log",
    multiple=True,
    type=click.Choice(["tensorboard", "wandb", "wandb-offline"]),
    help="Send curves there too; repeatable.",
)
@shared_options
@click.pass_context
def command(
    context: click.Context,
    /,
    data: Path | None,
    output: Path | None,
    resume: bool,
    list_models: bool,
    group_by: str,
    reuse: Path | None,
    device: str,
    workers: int | None,
    log: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Fine-tune a backbone on DATA, a folder or .zip of class folders."""
    if list_models:
        _list_models(as_json)
        return
    if data is not None and not resume:
        from edge.images import check_data  # noqa: PLC0415

        check_data(data)  # before what takes seconds to import
    order, target = _order(context, data, output, resume, group_by, reuse, make_recipe(options))
    _train(order, target, resume, device, workers, log, as_json)


def _list_models(as_json: bool) -> None:
    from train.zoo import list_models  # noqa: PLC0415  torch is heavy: --help must not wait for it

    models = list_models()
    if as_json:
        say_json({"models": [asdict(model) for model in models]})
        return
    for model in models:
        say(str(model))


def _order(
    context: click.Context,
    data: Path | None,
    output: Path | None,
    resume: bool,
    group_by: str,
    reuse: Path | None,
    recipe: Recipe,
) -> tuple[Order, Path]:
    """Return what is to be done, and the run folder. A run that is gone on with says itself what it was."""
    from train.resume import ARGS, Order, go_on  # noqa: PLC0415
    from train.runs import newest_begun, next_run  # noqa: PLC0415

    target = output
    if resume and target is None:
        target = newest_begun()
    if resume and target and (target / ARGS).exists():
        named = [
            name
            for name in asdict(recipe)
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        ]
        if reuse:
            raise UsageError(
                "--split and --resume exclude each other: a run keeps the roles that it was begun with"
            )
        return go_on(
            target, data, {name: getattr(with_absolute_paths(recipe), name) for name in named}, group_by or None
        ), target
    if data is None:
        raise UsageError("DATA is missing: name a folder or .zip of class folders, or a run to --resume with -o")
    return Order(data, group_by, reuse, with_absolute_paths(recipe)), target or next_run(data, recipe.model)


def _train(
    order: Order,
    target: Path,
    resume: bool,
    device: str,
    workers: int | None,
    log: tuple[str, ...],
    as_json: bool,
) -> None:
    from lightning.pytorch.utilities.exceptions import SIGTERMException  # noqa: PLC0415

    from train.dataset.prepare import Division  # noqa: PLC0415
    from train.device import choose_device  # noqa: PLC0415
    from train.processes import from_environment  # noqa: PLC0415
    from train.run import train  # noqa: PLC0415

    began = (target / BEST).exists() and not resume
    started = time.monotonic()
    processes = from_environment()
    try:
        trained = train(
            order.data,
            target,
            order.recipe,
            choose_device(device),
            cache_folder(),
            division=Division(order.group_by, order.reuse),
            resume=resume,
            workers=workers,
            command=order.command or shlex.join(["edge-train", *sys.argv[1:]]),
            log=log,
            processes=processes,
            phase=progress_bar if processes.first else silent,
            say=note if processes.first else _nothing,
        )
    except (Interrupted, SIGTERMException) as stop:  # a signal's exception can get lost in a callback of C
        ended = stop if isinstance(stop, Interrupted) else Interrupted(signal.SIGTERM)
        ended.note = _kept(target, began)
        raise ended from None
    except OSError as error:
        mend = "make room; " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        what = f"{error.filename or target}: {error.strerror or error}"
        raise TrainError(f"{what}; {mend}{_kept(target, began)}") from error
    if trained is None:
        return
    if as_json:
        say_json(as_plain(trained))
        return
    say_trained(trained)
    note(f"took {time.monotonic() - started:.0f} s")


def _nothing(line: str) -> None:
    """Leave the speaking to the first process."""


def _kept(run: Path, began: bool) -> str:
    """Say what a training that stopped left; `began`: there were weights before it."""
    best = run / BEST
    if not began and best.is_file():
        return f"the best weights so far are kept in {best}; --resume goes on"
    return "no epoch was finished, so there are no weights yet"


def main() -> None:
    """Run edge-train."""
    run(command, "edge-train")


if __name__ == "__main__":  # torchrun -m train.cli.train
    main()
