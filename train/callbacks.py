"""What happens beside the training steps: weights kept, rows written, progress shown."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
from tqdm import tqdm

from edge.errors import TrainError
from train.checkpoint import BEST, LAST, About, content, save
from train.recipe import Recipe
from train.report.rows import EpochRow, best_epoch, write_csv
from train.tuning import FineTuning

RESULTS = "results.csv"
ROWS = "rows"
"""Key of a checkpoint: what results.csv says, so far."""
CHECK_EVERY = 20
"""Steps between looks at the loss: each look makes a GPU wait."""


class Keeper(lightning.Callback):
    """Keeps the best and the last weights, and a row for every epoch, each written whole. Ends in good time."""

    def __init__(self, run: Path, about: Callable[[int, float], About], recipe: Recipe) -> None:
        self.rows: list[EpochRow] = []
        self._run = run
        self._about = about
        self._recipe = recipe
        self._images = 0
        self._started = self._trained = 0.0
        self._rate = self._backbone_rate = 0.0

    @property
    def best(self) -> EpochRow | None:
        """The epoch whose weights are kept as the best."""
        return self.rows[best_epoch(self.rows) - 1] if self.rows else None

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()
        self._images = 0

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Count the photos, and note the rate of this step: after the step, the optimizer holds the next one's."""
        groups = trainer.optimizers[0].param_groups  # the head's come first, then stage by stage from the last
        self._rate, self._backbone_rate = float(groups[0]["lr"]), float(groups[2]["lr"])
        self._images += len(batch[1])

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop where the loss is not a number: every further step is lost. Raises TrainError."""
        if batch_idx % CHECK_EVERY == 0:
            self._check(float(outputs["loss"]), trainer.current_epoch + 1)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Stop the clock of the training images."""
        self._trained = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write what the epoch gave. Raises TrainError where the loss is not a number."""
        assert isinstance(pl_module, FineTuning)  # noqa: S101  for the type checker
        row = self._row(trainer, pl_module)
        self._check(row.train_loss, row.epoch)
        self._check(row.val_loss, row.epoch)
        self.rows.append(row)
        for logger in trainer.loggers:
            logger.log_metrics(
                {key: value for key, value in asdict(row).items() if isinstance(value, float)}, row.epoch
            )
        if trainer.is_global_zero:
            write_csv(self._run / RESULTS, self.rows)
            if self.best is row:  # first: where the disk has room for one, it is this one
                save(self._run / BEST, pl_module.judged, self._about(row.epoch, row.val_accuracy))
        trainer.save_checkpoint(self._run / LAST)
        trainer.should_stop = trainer.should_stop or is_over(self.rows, self._recipe)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Make of Lightning's own state a checkpoint that can be used as any other."""
        row = self.rows[-1]
        checkpoint.update(content(pl_module.judged, self._about(row.epoch, row.val_accuracy)))
        checkpoint[ROWS] = [asdict(one) for one in self.rows]

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Go on with the rows that there are."""
        self.rows = read_rows(checkpoint)

    def _check(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            kept = f"the best so far is kept in {self._run / BEST}" if self.rows else "nothing was kept"
            raise TrainError(f"loss is not a number in epoch {epoch}: lower --lr, or take --clip 1; {kept}")

    def _row(self, trainer: lightning.Trainer, tuning: FineTuning) -> EpochRow:
        trained, validated = tuning.tally["train"].means(), tuning.tally["val"].means()
        images = self._images * trainer.world_size
        return EpochRow(
            epoch=trainer.current_epoch + 1,
            phase="head" if tuning.frozen else "all",
            seconds=time.monotonic() - self._started,
            images_per_second=images / max(1e-9, self._trained - self._started),
            learning_rate=self._rate,
            backbone_rate=0.0 if tuning.frozen else self._backbone_rate,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            val_loss=validated.loss,
            val_accuracy=validated.accuracy,
        )


def read_rows(checkpoint: Mapping[str, Any]) -> list[EpochRow]:
    """Return the rows of all epochs so far from a checkpoint that training can go on from."""
    return [EpochRow(**row) for row in checkpoint[ROWS]]


def is_over(rows: Sequence[EpochRow], recipe: Recipe) -> bool:
    """Say whether the newest `patience` epochs brought nothing better. Never with a patience of 0.

    The head's epochs do not count where more is to learn after them.
    """
    if not recipe.patience or not rows:
        return False
    idle = recipe.head_epochs if recipe.head_epochs < recipe.epochs else 0
    return rows[-1].epoch - max(best_epoch(rows), idle) >= recipe.patience


class Progress(lightning.Callback):
    """A bar over the whole training on a terminal, a line an epoch elsewhere; both on stderr."""

    def __init__(self, keeper: Keeper, photos: int, epochs: int) -> None:
        self._keeper = keeper
        self._photos = photos
        self._epochs = epochs
        self._bar: Any = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Draw the bar: images of all epochs, so that the time left is that of the training."""
        self._bar = tqdm(
            total=self._epochs * self._photos, unit="img", disable=None, dynamic_ncols=True, smoothing=0.05
        )

    def on_train_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar. The loss is read only where it is shown: reading it makes a GPU wait."""
        self._bar.update(len(batch[1]))
        if not self._bar.disable and batch_idx % 5 == 0:
            loss = f"epoch {trainer.current_epoch + 1}/{self._epochs} loss {float(outputs['loss']):.3f}"
            best = self._keeper.best
            self._bar.set_description(f"{loss} accuracy {best.val_accuracy:.1%}" if best else loss)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Say what the epoch gave. Runs after the keeper, which comes first in the list."""
        row = self._keeper.rows[-1]
        best = " (best)" if self._keeper.best is row else ""
        line = (
            f"epoch {row.epoch}/{self._epochs} [{row.phase}] loss {row.train_loss:.3f} val {row.val_loss:.3f} "
            f"accuracy {row.train_accuracy:.1%} val {row.val_accuracy:.1%}{best} "
            f"{row.images_per_second:.0f} images/s {row.seconds:.0f} s"
        )
        tqdm.write(line, file=sys.stderr)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the terminal clean."""
        self._close()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the terminal clean."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
