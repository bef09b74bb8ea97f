"""The options of edge-train that make its recipe: one for each field, with the recipe's own defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from edge.preprocess import Resize
from train.recipe import Amp, Augmentation, Imbalance, Optimizer, Recipe

DEFAULT = Recipe()
Command = TypeVar("Command", bound=Callable[..., Any])
SHARE = click.FloatRange(0, 1)
CHOICES: dict[str, type[Enum]] = {
    "resize": Resize,
    "optimizer": Optimizer,
    "imbalance": Imbalance,
    "augment": Augmentation,
    "amp": Amp,
}


def _option(name: str, kind: Any, help_: str, **more: Any) -> Callable[[Command], Command]:
    """Make the option of a field. A default of None has no text of its own, and says so in its help."""
    default = getattr(DEFAULT, name)
    if name in CHOICES:
        kind, default = click.Choice([one.value for one in CHOICES[name]]), default.value
    return click.option(f"--{name.replace('_', '-')}", name, type=kind, default=default, help=help_, **more)


OPTIONS = (
    _option("model", str, "A backbone of --list-models, or timm:NAME."),
    _option("weights", str, "imagenet, none, a torchvision enum name, a file, or a run folder."),
    _option("epochs", click.IntRange(0), "Both phases together; 0 judges the weights as they are."),
    _option("frozen_epochs", click.IntRange(0), "Of these, for the head alone."),
    _option(
        "unfreeze", str, "What learns then beside the head: all, the last N stages, or none.", metavar="all|N|none"
    ),
    _option("img_size", click.IntRange(32, 1024), "Side of the input, pixels."),
    _option(
        "train_size",
        click.IntRange(0, 1024),
        "Side of what training sees, pixels; 0: 11/14 of the input's from 128 on, else the same.",
    ),
    _option("resize", None, "How a picture of any shape fills the input."),
    _option("batch_size", click.IntRange(2), "Photos of all processes together."),
    _option("accumulate", click.IntRange(1), "Batches whose gradients make one step."),
    _option("optimizer", None, "How gradients become steps."),
    _option("lr", click.FloatRange(0, min_open=True), "Peak, of the head."),
    _option("backbone_lr_share", SHARE, "The last stage's learning rate over the head's."),
    _option(
        "stage_lr_decay", click.FloatRange(0, 1, min_open=True), "A stage's learning rate over the next one's."
    ),
    _option(
        "weight_decay",
        click.FloatRange(0),
        "Not on biases and normalization.  [default: 0.02 for adamw, 0.0005 for sgd, 0 for adam]",
    ),
    _option("momentum", click.FloatRange(0, 1, max_open=True), "Of sgd."),
    _option("warmup", click.FloatRange(0, 1, max_open=True), "Share of the second phase in which the rate rises."),
    _option(
        "label_smoothing", click.FloatRange(0, 1, max_open=True), "Share of the target spread over all classes."
    ),
    _option("dropout", click.FloatRange(0, 1, max_open=True), "Before the head.  [default: the backbone's own]"),
    _option("augment", None, "What training does to the photos."),
    _option("frozen_augment", bool, "Augment while the backbone is frozen too.", is_flag=True),
    _option("rand_augment", click.IntRange(0, 30), "Magnitude of RandAugment; 0: off."),
    _option("erasing", SHARE, "Chance that a rectangle of a photo is erased."),
    _option("mixup", click.FloatRange(0), "Alpha of mixup; 0: off."),
    _option("cutmix", click.FloatRange(0), "Alpha of CutMix; 0: off."),
    _option("ema", click.FloatRange(0, 1, max_open=True), "Decay of the weights' moving average; 0: off."),
    _option("clip", click.FloatRange(0), "Largest norm of the gradient; 0: not clipped."),
    _option("imbalance", None, "Small classes weigh more in the loss, are drawn more often, or neither."),
    _option("patience", click.IntRange(0), "Epochs without improvement that end training; 0: never."),
    _option("seed", click.IntRange(0, 2**63 - 1), "Of split, order, augmentation and weights."),
    _option("amp", None, "Half precision in training: auto is bf16 where the machine has it."),
    _option("compile", bool, "Compile the network by torch.compile.", is_flag=True),
    _option("max_error", click.FloatRange(0, 1, min_open=True, max_open=True), "Wrong among accepted, at most."),
    _option("costs", click.Path(dir_okay=False), "CSV of what each mistake costs."),
    _option(
        "stranger_rejects", click.FloatRange(0, 0.5), "Share of known objects that may be rejected as strangers."
    ),
)


def recipe_options(command: Command) -> Command:
    """Give a command all options of a recipe, in this order."""
    return reduce(lambda made, option: option(made), reversed(OPTIONS), command)


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with the files that it names as they are found from everywhere."""
    weights = Path(recipe.weights)
    own = recipe.weights.lower() not in ("imagenet", "none") and weights.exists()
    return replace(
        recipe,
        weights=str(weights.absolute()) if own else recipe.weights,
        costs=str(Path(recipe.costs).absolute()) if recipe.costs else "",
    )


def make_recipe(options: dict[str, Any]) -> Recipe:
    """Return the recipe of the options, by field."""
    fields: dict[str, Any] = {
        name: CHOICES[name](value) if name in CHOICES else value for name, value in options.items()
    }
    return Recipe(**fields)
