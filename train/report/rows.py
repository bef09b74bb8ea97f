"""What is written down of each epoch, and results.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from edge.files import replace_bytes


@dataclass(frozen=True)
class EpochRow:
    """One epoch. The fields are the columns of results.csv, in this order."""

    epoch: int
    """From 1."""
    seconds: float
    """Wall time of the epoch, validation included."""
    images_per_second: float
    """Training images by training time."""
    learning_rate: float
    """Of the head, at the end of the epoch."""
    train_loss: float
    """Mean over the epoch, as trained: augmented images, while the weights move."""
    train_accuracy: float
    """Share answered right, 0 to 1, measured as the loss is."""
    val_loss: float
    """Mean over the validation photos after the epoch."""
    val_accuracy: float
    """Share of the validation photos answered right, 0 to 1."""
    phase: str
    """What is trained: "head" while the backbone is frozen, then "all"."""
    backbone_rate: float | None = None
    """Learning rate of the backbone's last stage at the end of the epoch; 0: frozen, None: not noted."""


def best_epoch(rows: Sequence[EpochRow]) -> int:
    """Return the epoch of the highest validation accuracy: of equals the lowest loss, then the first.

    Numbers that are not finite lose to all others. Needs at least one row.
    """

    def rank(row: EpochRow) -> tuple[float, float]:
        accuracy, loss = row.val_accuracy, row.val_loss
        return (
            accuracy if math.isfinite(accuracy) else -math.inf,
            -loss if math.isfinite(loss) else -math.inf,
        )

    return max(rows, key=rank).epoch


def write_csv(path: Path, rows: Sequence[EpochRow]) -> None:
    """Write results.csv, whole or not at all; numbers keep every digit. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(EpochRow))
    writer.writerows(astuple(row) for row in rows)
    replace_bytes(path, text.getvalue().encode())
