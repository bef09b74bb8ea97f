"""What happens beside the training steps: weights kept, rows written, progress shown."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from tqdm import tqdm

from edge.errors import TrainError
from train.checkpoint import BEST, LAST, About, save
from train.report.rows import EpochRow, best_epoch, write_csv
from train.tuning import FineTuning

RESULTS = "results.csv"


class Keeper(lightning.Callback):
    """Keeps the best and the last weights, and a row for every epoch, each written whole."""

    def __init__(self, run: Path, about: Callable[[int, float], About]) -> None:
        self.rows: list[EpochRow] = []
        self.best: EpochRow | None = None
        self._run = run
        self._about = about
        self._images = 0
        self._started = self._trained = 0.0
        self._rate = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the epoch's clock."""
        self._started = time.monotonic()
        self._images = 0

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Count the photos, and note the rate of this step: after the step, the optimizer holds the next one's."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self._images += len(batch[1])

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Stop the clock of the training images."""
        self._trained = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write what the epoch gave. Raises TrainError where the loss is not a number."""
        assert isinstance(pl_module, FineTuning)  # noqa: S101  for the type checker
        row = self._row(trainer, pl_module)
        if not math.isfinite(row.train_loss) or not math.isfinite(row.val_loss):
            kept = f"the best so far is kept in {self._run / BEST}" if self.best else "nothing was kept"
            raise TrainError(f"loss is not a number in epoch {row.epoch}: lower --lr; {kept}")
        if not trainer.is_global_zero:
            return
        self.rows.append(row)
        write_csv(self._run / RESULTS, self.rows)
        about = self._about(row.epoch, row.val_accuracy)
        if best_epoch(self.rows) == row.epoch:  # first: where the disk has room for one, it is this one
            save(self._run / BEST, pl_module.classifier, about)
            self.best = row
        save(self._run / LAST, pl_module.classifier, about)

    def _row(self, trainer: lightning.Trainer, tuning: FineTuning) -> EpochRow:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        images = self._images * trainer.world_size
        return EpochRow(
            epoch=trainer.current_epoch + 1,
            phase="head" if tuning.frozen else "all",
            seconds=time.monotonic() - self._started,
            images_per_second=images / max(1e-9, self._trained - self._started),
            learning_rate=self._rate,
            train_loss=values["train_loss"],
            train_accuracy=values["train_accuracy"],
            val_loss=values["val_loss"],
            val_accuracy=values["val_accuracy"],
        )


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
