"""Who learns how fast, and when: parameter groups, optimizer, learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from edge.errors import UsageError
from train.backbone import Classifier
from train.recipe import ALL, NONE, Optimizer, Recipe

FLOOR = 0.01
"""Share of the peak learning rate that is left at the end."""


def open_stages(recipe: Recipe, classifier: Classifier) -> int | None:
    """Return how many of the last stages learn in the second phase; None: everything.

    Raises UsageError where --unfreeze is neither all, none nor a number of stages that the backbone has.
    """
    if recipe.unfreeze in (ALL, NONE):
        return None if recipe.unfreeze == ALL else 0
    stages = len(classifier.stages())
    if not recipe.unfreeze.isdecimal() or not 0 < int(recipe.unfreeze) <= stages:
        raise UsageError(
            f"--unfreeze {recipe.unfreeze} can't be; expected {ALL}, {NONE}, or how many of the {stages} stages "
            f"of {recipe.model} learn, counted from the head"
        )
    return int(recipe.unfreeze)


def make_optimizer(classifier: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer over all parameters, by learning rate and weight decay."""
    groups = [group for group in _groups(classifier, recipe) if group["params"]]
    if recipe.optimizer is Optimizer.SGD:
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    kind = torch.optim.AdamW if recipe.optimizer is Optimizer.ADAMW else torch.optim.Adam
    return kind(groups, lr=recipe.lr)


def _groups(classifier: Classifier, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Head first. Pretrained layers move less the further they are from it (Howard and Ruder 2018)."""
    yield from _by_decay(list(classifier.head.parameters()), recipe.lr, recipe.decay)
    share = recipe.backbone_lr_share if recipe.pretrained else 1.0
    decay = recipe.stage_lr_decay if recipe.pretrained else 1.0
    for depth, stage in enumerate(reversed(classifier.stages())):
        parameters = [parameter for module in stage for parameter in module.parameters()]
        yield from _by_decay(parameters, recipe.lr * share * decay**depth, recipe.decay)


def _by_decay(parameters: list[nn.Parameter], rate: float, decay: float) -> Iterator[dict[str, Any]]:
    """Biases and normalization are not decayed."""
    for decayed in (True, False):
        chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == decayed]
        yield {"params": chosen, "lr": rate, "weight_decay": decay if decayed else 0.0}


def rate(step: int, recipe: Recipe, steps: int) -> float:
    """Return the share of the peak rate at a step: constant in the head's phase, then warm-up and cosine.

    `steps`: of an epoch. Source: Loshchilov and Hutter, "SGDR", 2017.
    """
    first, last = recipe.head_epochs * steps, recipe.epochs * steps
    if step < first < last:
        return 1.0
    start = 0 if first == last else first  # a head that learns alone has the whole schedule
    done = (step - start) / max(1, last - start)
    if done < recipe.warmup:
        return max(FLOOR, done / recipe.warmup)
    turn = (done - recipe.warmup) / (1 - recipe.warmup)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, turn)))
