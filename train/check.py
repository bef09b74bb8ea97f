"""What can't work together is told before the first step."""

from __future__ import annotations

from dataclasses import replace

import torch

from edge.errors import DataError, UsageError, WeightsError
from train.backbone import Classifier
from train.processes import Processes
from train.recipe import Amp, Augmentation, Recipe
from train.schedule import open_stages


def check_recipe(recipe: Recipe, classifier: Classifier, device: torch.device, processes: Processes) -> None:
    """Raise UsageError where options contradict each other, the backbone or the device."""
    open_stages(recipe, classifier)
    if recipe.amp is Amp.FP16 and device.type != "cuda":
        raise UsageError("--amp fp16 needs a CUDA GPU: its gradients are scaled there; take --amp bf16 or off")
    if recipe.batch_size < 2 * processes.world:
        raise UsageError(
            f"--batch-size {recipe.batch_size} is too small for {processes.world} processes: they share a batch, "
            f"and BatchNorm needs 2 photos in each; take at least {2 * processes.world}"
        )
    if recipe.augment is Augmentation.NONE and (recipe.rand_augment or recipe.erasing or recipe.train_size):
        raise UsageError(
            "--augment none shows the photos as they are: leave out --rand-augment, --erasing, --train-size"
        )
    if recipe.unfreeze == "none" and not recipe.pretrained:
        raise UsageError("--unfreeze none and --weights none leave a random backbone as it is; name weights")


def check_shares(train: int, val: int, processes: Processes) -> None:
    """Raise DataError where so few photos train or validate that not every process gets some."""
    if processes.world > 1 and (train < 2 * processes.world or val < processes.world):
        raise DataError(
            f"{train} photos that train and {val} that validate are too few for {processes.world} "
            "processes; start fewer"
        )


def with_view(recipe: Recipe, classifier: Classifier) -> Recipe:
    """Return the recipe with a --train-size that the backbone takes: some are built for one size alone.

    Raises UsageError where one was asked for that it does not take.
    """
    side = recipe.view_size
    if side == recipe.img_size:
        return recipe
    try:
        with torch.inference_mode():
            classifier.eval()(torch.zeros((1, side, side, 3), dtype=torch.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:  # torch's, torchvision's and timm's
        if recipe.train_size:
            raise UsageError(
                f"{recipe.model} made for --img-size {recipe.img_size} does not take --train-size {side}; "
                "leave it out"
            ) from error
        return replace(recipe, train_size=recipe.img_size)
    return recipe


def check_judged(recipe: Recipe, source: str, fresh: bool) -> None:
    """Raise WeightsError where nothing is to be trained and the weights have no head for these labels.

    `source`: where the weights came from; `fresh`: whether any row of the head is newly drawn.
    """
    if not recipe.epochs and fresh:
        raise WeightsError(
            f"--epochs 0 judges weights as they are, and {source} have no head for these labels; train at least "
            "one epoch, or name weights of a model with the same classes"
        )
