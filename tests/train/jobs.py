"""A training without a data set around it: photos that train, photos that validate, and nothing found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edge.images import Role
from train.checkpoint import About
from train.dataset.split import Split
from train.job import Job
from train.photos import LabelledFile, open_pictures
from train.processes import ALONE
from train.recipe import Recipe


def make_job(
    train: Sequence[LabelledFile], val: Sequence[LabelledFile], recipe: Recipe, run: Path, labels: tuple[str, ...]
) -> tuple[Job, Callable[[int, float], About]]:
    """Return a job that writes into `run`, which is made, and what its checkpoints say."""
    (run / "weights").mkdir(parents=True)
    files = {Role.TRAIN: tuple(train), Role.VAL: tuple(val), Role.TEST: ()}
    job = Job(
        run=run,
        recipe=recipe,
        device=torch.device("cpu"),
        workers=0,
        command="",
        log=(),
        processes=ALONE,
        files=files,
        all_pictures=open_pictures([*train, *val], recipe, run / "cache", training=True),
        groups=np.arange(len(train) + len(val)),
        split=Split(str(run), 0, labels, dict.fromkeys(Role, ())),
        findings=(),
    )
    about = About(recipe.model, labels, recipe.input, 0, 0.0, 0, "none", 1.0, {})
    return job, lambda epoch, accuracy: replace(about, epoch=epoch, val_accuracy=accuracy)
