"""The training step, as Lightning runs it."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from train.augment import Augment
from train.average import make_average
from train.backbone import Classifier
from train.balance import Weights
from train.blend import blend
from train.loaders import TrainBatch
from train.phases import FeatureBatch
from train.recipe import Recipe
from train.schedule import make_optimizer, open_stages, rate
from train.tally import Tally


class FineTuning(lightning.LightningModule):
    """First the head on a frozen backbone, then all that --unfreeze opens: pretrained layers more gently."""

    def __init__(self, classifier: Classifier, recipe: Recipe, steps: int, weights: Weights | None = None) -> None:
        """`steps`: of an epoch; `weights`: what a photo of each class counts in the loss, None: all the same."""
        super().__init__()
        self.classifier = classifier
        self.average = make_average(classifier, recipe.ema) if recipe.ema else None
        self.tally = {"train": Tally(), "val": Tally()}
        self._recipe = recipe
        self._steps = steps
        self._open = open_stages(recipe, classifier)
        weight = None if weights is None else torch.as_tensor(weights, dtype=torch.float32)
        self._loss = nn.CrossEntropyLoss(weight, label_smoothing=recipe.label_smoothing)
        self._augment = Augment(recipe)
        # Called, not registered: a compiled module's parameters would be there twice.
        self._call: Any = torch.compile(classifier.forward) if recipe.compile else classifier.forward

    @property
    def frozen(self) -> bool:
        """Whether this epoch trains the head alone."""
        return bool(self.current_epoch < self._recipe.head_epochs)

    @property
    def judged(self) -> Classifier:
        """What is validated and kept: the average of the weights, or the weights themselves."""
        kept: Any = self.average.module if self.average else self.classifier
        assert isinstance(kept, Classifier)  # noqa: S101  for the type checker
        return kept

    def on_train_epoch_start(self) -> None:
        """Choose what learns, and start the epoch's own random numbers: a resumed run draws the same dropout."""
        self.classifier.freeze(0 if self.frozen else self._open)
        key = np.random.SeedSequence([self._recipe.seed, self.current_epoch, self.global_rank])
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
        self.tally["train"].clear()

    def training_step(self, batch: TrainBatch | FeatureBatch, index: int) -> Tensor:
        """One step. Returns the loss, a scalar."""
        if isinstance(batch, FeatureBatch):
            logits, targets = self.classifier.head(batch.features), batch.targets
        else:
            images, targets = self._show(batch, index)
            logits = self._call(images)
        loss: Tensor = self._loss(logits.float(), targets)
        self.tally["train"].add(loss, logits, targets)
        return loss

    def _show(self, batch: TrainBatch, index: int) -> tuple[Tensor, Tensor]:
        """Return what training shows: uint8 [n, side, side, 3], and int64 [n] or float32 [n, classes]."""
        images = self._augment(batch.canvases, batch.aspects, batch.keys)
        if not self._recipe.mixup and not self._recipe.cutmix:
            return images, batch.targets
        key = (self._recipe.seed, self.current_epoch, index * self.trainer.world_size + self.global_rank)
        blended = blend(images, batch.targets, self.classifier.head.out_features, self._recipe, key)
        return blended[0], blended[1]

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Take a step, and let the average follow it."""
        super().optimizer_step(*arguments, **named)
        if self.average:
            self.average.update_parameters(self.classifier)

    def on_validation_epoch_start(self) -> None:
        """Judge as the bin will: no dropout, no moving statistics."""
        self.judged.eval()
        self.tally["val"].clear()

    def validation_step(self, batch: tuple[Tensor, Tensor] | FeatureBatch, index: int) -> None:
        """Judge a batch in fp32, as export and the bin will."""
        inputs, targets = batch
        with torch.autocast(self.device.type, enabled=False):
            judged = self.judged
            logits = judged.head(inputs) if isinstance(batch, FeatureBatch) else judged(inputs)
            loss = nn.functional.cross_entropy(logits, targets)
        self.tally["val"].add(loss, logits, targets)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule by step."""
        optimizer = make_optimizer(self.classifier, self._recipe)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, self._recipe, self._steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
