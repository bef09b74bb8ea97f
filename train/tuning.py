"""The training step and its schedule, as Lightning runs them."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from train.backbone import Classifier
from train.balance import Weights
from train.photos import Batch
from train.recipe import Optimizer, Recipe

FLOOR = 0.01
"""Share of the peak learning rate that is left at the end."""
MOMENTUM = 0.9


class FineTuning(lightning.LightningModule):
    """First the head on a frozen backbone, then everything: pretrained layers more gently."""

    def __init__(
        self, classifier: Classifier, recipe: Recipe, steps_per_epoch: int, weights: Weights | None = None
    ) -> None:
        """`weights`: what a photo of each class counts in the training loss; None: all the same."""
        super().__init__()
        self.classifier = classifier
        self._recipe = recipe
        self._steps = steps_per_epoch
        weight = None if weights is None else torch.as_tensor(weights, dtype=torch.float32)
        self._loss = nn.CrossEntropyLoss(weight, label_smoothing=recipe.label_smoothing)

    @property
    def frozen(self) -> bool:
        """Whether this epoch trains the head alone."""
        return bool(self.current_epoch < self._recipe.head_epochs)

    def on_train_epoch_start(self) -> None:
        """Choose what learns. Modes too: a frozen BatchNorm must not see the photos."""
        if self.frozen:
            self.classifier.freeze_body()
        else:
            self.classifier.thaw_body()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """One step. Returns the loss, a scalar."""
        images, targets = batch
        logits = self.classifier(images)
        loss: Tensor = self._loss(logits, targets)
        self._note("train", loss, logits, targets)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Judge a batch in fp32, as export and the bin will."""
        images, targets = batch
        with torch.autocast(self.device.type, enabled=False):
            logits = self.classifier(images)
            loss = nn.functional.cross_entropy(logits, targets)
        self._note("val", loss, logits, targets)

    def _note(self, role: str, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        right = (logits.detach().argmax(dim=1) == targets).float().mean()
        values = {f"{role}_loss": loss.detach(), f"{role}_accuracy": right}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(targets), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule by step."""
        optimizer = self._optimizer(self._groups())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate and weight decay: biases and normalization are not decayed."""
        recipe = self._recipe
        share = recipe.backbone_lr_share if recipe.pretrained else 1.0
        groups = []
        bodies = (
            (list(self.classifier.head.parameters()), recipe.lr),
            (
                list(self.classifier.body_parameters()),
                recipe.lr * share,
            ),
        )
        for parameters, rate in bodies:
            for decayed in (True, False):
                chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == decayed]
                decay = recipe.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
        return groups

    def _optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        if self._recipe.optimizer is Optimizer.SGD:
            return torch.optim.SGD(groups, lr=self._recipe.lr, momentum=MOMENTUM)
        kind = torch.optim.AdamW if self._recipe.optimizer is Optimizer.ADAMW else torch.optim.Adam
        return kind(groups, lr=self._recipe.lr)

    def _rate(self, step: int) -> float:
        """Share of the peak rate: constant in the head's phase, then warm-up and cosine (Loshchilov 2017)."""
        first = self._recipe.head_epochs * self._steps
        if step < first:
            return 1.0
        done = (step - first) / max(1, self._recipe.epochs * self._steps - first)
        if done < self._recipe.warmup:
            return max(FLOOR, done / self._recipe.warmup)
        turn = (done - self._recipe.warmup) / (1 - self._recipe.warmup)
        return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, turn)))
