"""Where else a training is told of while it runs: TensorBoard and Weights & Biases, each by its extra."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from edge.errors import TrainError, UsageError, nearest
from train.recipe import Recipe

PROJECT = "binsight"
WANDB_RUN = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(.+)")
"""Folder of a run below run/wandb; what it ends with is the run's id."""


def make_loggers(names: Sequence[str], run: Path, recipe: Recipe) -> list[Logger]:
    """Return Lightning's logger for each name: tensorboard, wandb, or wandb-offline, which reaches for no network.

    What they write lies in `run`/tensorboard and `run`/wandb, with the recipe as the configuration.
    A training that goes on in the same `run` goes on in the same curves.
    Raises UsageError for a name that is unknown or there twice, TrainError where the library is missing.
    """
    for name in names:
        if name not in OPENERS:
            raise UsageError(f"unknown log {name!r}; nearest: {nearest(name, OPENERS)}")
    kinds = [name.partition("-")[0] for name in names]
    twice = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
    if twice:
        raise UsageError(f"log {twice[0]} is asked for {kinds.count(twice[0])} times, expected once")
    loggers = []
    for name, kind in zip(names, kinds, strict=True):
        if not find_spec(kind):
            raise TrainError(f"log {name} needs {kind}, which is not installed: pip install 'binsight[{kind}]'")
        loggers.append(OPENERS[name](run, msgspec.to_builtins(asdict(recipe))))
    return loggers


class _WandbRun(WandbLogger):
    """Lightning leaves the run open until Python ends; this one is whole when the training is."""

    def __init__(self, run: Path, **options: Any) -> None:
        super().__init__(save_dir=run, **options)
        self._wandb_init.pop("anonymous", None)  # wandb warns of it, though nobody asked for it
        self._cache = run / "wandb" / "cache"

    @property
    def experiment(self) -> Any:
        """The run, opened at the first call."""
        with _environment(WANDB_CACHE_DIR=str(self._cache), WANDB_ERROR_REPORTING="false"):
            return super().experiment

    def finalize(self, status: str) -> None:
        """Close the run: 0 is what it ended with where the training ended well, else 1."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(0 if status == "success" else 1)


def _tensorboard(run: Path, config: dict[str, Any]) -> Logger:
    logger = TensorBoardLogger(run, name="tensorboard", version="", default_hp_metric=False)
    logger.log_hyperparams(config)
    return logger


def _wandb(run: Path, config: dict[str, Any], mode: str | None = None) -> Logger:
    import wandb  # noqa: PLC0415  of an extra

    settings = wandb.Settings(
        silent=True,  # the training's own progress is what the terminal shows
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_save_requirements=False,
        x_disable_meta=True,
    )
    return _WandbRun(
        run,
        name=run.name,
        project=PROJECT,
        version=_wandb_id(run),
        config=config,
        mode=mode,
        settings=settings,
    )


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set what W&B's own process takes from nowhere else, for the moment in which it starts.

    What the user has set stays. Without this it writes below the home folder, and reports its faults.
    """
    ours = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _wandb_offline(run: Path, config: dict[str, Any]) -> Logger:
    return _wandb(run, config, "offline")


def _wandb_id(run: Path) -> str | None:
    """Return the id of the newest run in `run`/wandb, which a resumed training goes on with."""
    found = [match for path in (run / "wandb").glob("*run-*") if (match := WANDB_RUN.fullmatch(path.name))]
    return max(found, key=lambda match: match[0].removeprefix("offline-"))[1] if found else None


OPENERS: dict[str, Callable[[Path, dict[str, Any]], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "wandb-offline": _wandb_offline,
}
