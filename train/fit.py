"""The training itself: Lightning's loop around our step, with the best weights kept on the disk."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.strategies import DDPStrategy, Strategy

from edge.errors import TrainError
from edge.images import Role
from train import checkpoint as checkpoint_
from train.backbone import Classifier
from train.balance import balanced_weights
from train.callbacks import Keeper, Progress, is_over, read_rows
from train.checkpoint import LAST, About
from train.device import use_bf16
from train.job import Job
from train.loaders import plain_loader, train_loader
from train.loggers import make_loggers
from train.phases import Frozen, Loaders, Phases, plain_features, shuffled_features
from train.recipe import Amp, Imbalance, Recipe
from train.report.rows import EpochRow, best_epoch
from train.tuning import FineTuning


@dataclass(frozen=True)
class Fitted:
    """A training that came to its end. The weights are in the run folder."""

    rows: tuple[EpochRow, ...]

    @property
    def best(self) -> EpochRow | None:
        """The epoch whose weights were kept; None where there was no epoch."""
        return self.rows[best_epoch(self.rows) - 1] if self.rows else None


def fit(
    job: Job,
    classifier: Classifier,
    about: Callable[[int, float], About],
    frozen: Mapping[Role, Frozen] | None = None,
) -> Fitted:
    """Train `classifier` in place, and write weights/best.pt, weights/last.pt and results.csv into the run.

    `about` makes what a checkpoint says from (epoch, validation accuracy). `frozen`: what the head learns from
    while the backbone is frozen; None: from photos. Where the run holds last.pt, training goes on from there.
    Raises TrainError where the loss is not a number, OSError where the disk refuses; the best weights so far
    stay in both cases.
    """
    recipe = job.recipe
    last = job.run / LAST
    if last.exists():
        rows = read_rows(checkpoint_.read_tensors(last, TrainError))
        if len(rows) >= recipe.epochs or is_over(rows, recipe):
            return Fitted(tuple(rows))
    phases, steps = _phases(job, frozen)
    keeper = Keeper(job.run, about, recipe)
    callbacks: list[lightning.Callback] = [keeper]
    if job.processes.first:
        callbacks.append(Progress(keeper, len(job.pictures[Role.TRAIN]), recipe.epochs))
    weights = None
    if recipe.imbalance is Imbalance.WEIGHTS:
        weights = balanced_weights(job.pictures[Role.TRAIN].targets, classifier.head.out_features)
    tuning = FineTuning(classifier.to(memory_format=torch.channels_last), recipe, steps, weights)
    with warnings.catch_warnings():
        _hush()
        trainer = _trainer(job, callbacks)
        resumed = last if last.exists() else None
        trainer.fit(tuning, datamodule=phases, ckpt_path=resumed, weights_only=True)
    return Fitted(tuple(keeper.rows))


def _phases(job: Job, frozen: Mapping[Role, Frozen] | None) -> tuple[Phases, int]:
    """Return the loaders of both phases, and how many steps of the optimizer an epoch has."""
    recipe, its = job.recipe, job.processes
    share = max(1, min(recipe.batch_size, len(job.pictures[Role.TRAIN])) // its.world)
    train, val = job.pictures[Role.TRAIN], job.pictures[Role.VAL]
    own = np.arange(its.rank, len(val), its.world)
    whole = Loaders(
        train_loader(train, recipe, share, workers=job.workers, pin=job.on_gpu, rank=its.rank, world=its.world),
        plain_loader(val.subset(own), share, workers=job.workers, pin=job.on_gpu),
    )
    head = None
    if frozen:
        table = frozen[Role.VAL]
        head = Loaders(
            shuffled_features(frozen[Role.TRAIN], recipe, share, its.rank, its.world),
            plain_features(Frozen(table.features[own], table.targets[own]), share),
        )
    return Phases(recipe, head, whole), math.ceil(len(whole.train) / recipe.accumulate)


def _hush() -> None:
    # Lightning's own use of a torch class that changed its name; ours to wait out, not to mend.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning)
    # How many workers load is chosen by measurement (photos.auto_workers), not by Lightning's guess.
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message="The number of training batches")
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")  # the frozen ones


def _trainer(job: Job, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    recipe, its = job.recipe, job.processes
    alone = [job.device.index or 0] if job.on_gpu else 1
    return lightning.Trainer(
        accelerator="gpu" if job.on_gpu else "cpu",
        devices=alone if its.world == 1 else its.local_world,
        num_nodes=its.machines,
        strategy=_strategy(job),
        precision=_precision(recipe, job.device),
        max_epochs=recipe.epochs,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.clip or None,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        callbacks=callbacks,
        logger=make_loggers(job.log, job.run, recipe) if its.first and job.log else False,
        plugins=[_WholeFiles()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=job.run,
    )


def _strategy(job: Job) -> Strategy | str:
    """Several processes exchange gradients; those of frozen layers never come."""
    if job.processes.world == 1:
        return "auto"
    return DDPStrategy(find_unused_parameters=True, process_group_backend="nccl" if job.on_gpu else "gloo")


def _precision(recipe: Recipe, device: torch.device) -> Any:
    if recipe.amp is Amp.FP16:
        return "16-mixed"
    return "bf16-mixed" if use_bf16(recipe.amp, device) else "32-true"


class _WholeFiles(CheckpointIO):
    """Lightning's checkpoints as all our files: whole or not at all, and read without running what is in them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write. Raises OSError."""
        checkpoint_.write(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read. Raises TrainError."""
        return checkpoint_.read_tensors(Path(path), TrainError)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file that is no longer wanted."""
        Path(path).unlink(missing_ok=True)
