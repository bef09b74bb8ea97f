"""The training itself: Lightning's loop around our step, with the best weights kept on the disk."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping

from train.backbone import Classifier
from train.balance import balanced_weights
from train.callbacks import Keeper, Progress
from train.checkpoint import About
from train.device import use_bf16
from train.photos import LabelledFile, plain_loader, train_loader
from train.recipe import Imbalance, Recipe
from train.report.rows import EpochRow
from train.tuning import FineTuning


@dataclass(frozen=True)
class Fitted:
    """A training that came to its end. The weights are in the run folder."""

    rows: tuple[EpochRow, ...]
    best: EpochRow


def fit(
    classifier: Classifier,
    train: Sequence[LabelledFile],
    val: Sequence[LabelledFile],
    recipe: Recipe,
    run: Path,
    about: Callable[[int, float], About],
    device: torch.device,
    workers: int,
) -> Fitted:
    """Train `classifier` in place, and write weights/best.pt, weights/last.pt and results.csv below `run`.

    `about` makes what a checkpoint says from (epoch, validation accuracy). Raises TrainError where the loss
    is not a number, OSError where the disk refuses; the best weights so far stay in both cases.
    """
    batch_size = min(recipe.batch_size, len(train))
    batches = train_loader(train, recipe.input, batch_size, recipe.seed, workers, recipe.imbalance)
    keeper = Keeper(run, about)
    callbacks: list[lightning.Callback] = [keeper, Progress(keeper, len(train), recipe.epochs)]
    if recipe.patience:
        callbacks.append(EarlyStopping("val_accuracy", patience=recipe.patience, mode="max"))
    weights = None
    if recipe.imbalance is Imbalance.WEIGHTS:
        weights = balanced_weights([file.target for file in train], classifier.head.out_features)
    tuning = FineTuning(classifier.to(memory_format=torch.channels_last), recipe, len(batches), weights)
    trainer = _trainer(recipe, callbacks, device, run)
    with warnings.catch_warnings():
        # Lightning's own use of a torch class that changed its name; ours to wait out, not to mend.
        warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning)
        # How many workers load is chosen by measurement (photos.auto_workers), not by Lightning's guess.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message="The number of training batches")
        trainer.fit(tuning, batches, plain_loader(val, recipe.input, batch_size, workers))
    assert keeper.best is not None  # noqa: S101  every recipe has an epoch, and its end keeps weights
    return Fitted(tuple(keeper.rows), keeper.best)


def _trainer(
    recipe: Recipe, callbacks: list[lightning.Callback], device: torch.device, run: Path
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    on_gpu = device.type == "cuda"
    return lightning.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=[device.index or 0] if on_gpu else 1,
        precision="bf16-mixed" if use_bf16(recipe.amp, device) else "32-true",
        max_epochs=recipe.epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=run,
    )
