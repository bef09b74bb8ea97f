"""Loss and accuracy of an epoch, summed where the network runs and read once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Means:
    """What an epoch gave, over the photos of all processes."""

    loss: float
    accuracy: float
    """Share answered right, 0 to 1; of a blended photo the class that weighs most is the right one."""
    images: int


class Tally:
    """Sums over the batches of an epoch. Adding does not wait for a GPU; reading does."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    def clear(self) -> None:
        """Begin an epoch."""
        self._sums = None

    def add(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss, its logits [n, classes], and int64 [n] or float32 [n, classes]."""
        truth = targets if targets.ndim == 1 else targets.argmax(dim=1)
        right = (logits.detach().argmax(dim=1) == truth).sum()
        images = torch.tensor(float(len(truth)), device=loss.device)
        # In double precision: float32 stops counting at 16 million photos.
        batch = torch.stack([loss.detach() * images, right, images]).double()
        self._sums = batch if self._sums is None else self._sums + batch

    def means(self) -> Means:
        """Return the means over all processes. All of them must ask. Needs a batch in each."""
        assert self._sums is not None  # noqa: S101  every epoch has a batch
        sums = self._sums.clone()
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        loss, right, images = sums.tolist()
        return Means(loss / images, right / images, int(images))
