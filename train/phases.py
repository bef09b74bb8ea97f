"""Which batches an epoch gets: features while the backbone is frozen, photos after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edge.scores import Truth
from train.insight.features import Features
from train.loaders import Batches, Order, as_it_is
from train.recipe import Recipe


class FeatureBatch(NamedTuple):
    """What reaches the head from some photos."""

    features: Tensor
    """float32 [photos, features]."""
    targets: Tensor
    """int64 [photos], index of the label."""


@dataclass(frozen=True)
class Frozen:
    """What a frozen backbone makes of photos: the same every epoch, so it is computed once."""

    features: Features
    """float32 [photos, features]."""
    targets: Truth
    """int64 [photos]."""


@dataclass(frozen=True)
class Loaders:
    """Batches of one phase."""

    train: DataLoader[Any]
    val: DataLoader[Any]


class Phases(lightning.LightningDataModule):
    """Gives Lightning the loaders of the epoch's phase."""

    def __init__(self, recipe: Recipe, head: Loaders | None, whole: Loaders) -> None:
        """`head`: of the frozen phase, where it learns from features; None where it sees photos."""
        super().__init__()
        self._recipe = recipe
        self._head = head
        self._whole = whole

    def train_dataloader(self) -> DataLoader[Any]:
        """Return what this epoch learns from.

        Its order is set here already: Lightning takes the first batch before it says which epoch it is, and of a
        resumed run keeps it.
        """
        loader = self._now().train
        assert self.trainer is not None  # noqa: S101  for the type checker
        loader.batch_sampler.sampler.set_epoch(self.trainer.current_epoch)  # type: ignore[union-attr]
        return loader

    def val_dataloader(self) -> DataLoader[Any]:
        """Return what this epoch is validated on."""
        return self._now().val

    def _now(self) -> Loaders:
        assert self.trainer is not None  # noqa: S101  for the type checker
        if self._head and self.trainer.current_epoch < self._recipe.head_epochs:
            return self._head
        return self._whole


class _Rows(Dataset[FeatureBatch]):
    def __init__(self, frozen: Frozen) -> None:
        self._features = torch.from_numpy(frozen.features)
        self._targets = torch.from_numpy(frozen.targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __getitems__(self, numbers: Sequence[int]) -> FeatureBatch:
        chosen = torch.from_numpy(np.asarray(numbers, dtype=np.int64))
        return FeatureBatch(self._features[chosen], self._targets[chosen])


class _Numbers(Batches):
    """The photos of an epoch's batches, by their numbers alone."""

    def __iter__(self) -> Iterator[Any]:
        return (keys[:, 2] for keys in super().__iter__())


def shuffled_features(
    frozen: Frozen, recipe: Recipe, batch_size: int, rank: int = 0, world: int = 1
) -> DataLoader[FeatureBatch]:
    """Return an epoch's batches in the order in which the photos themselves would come."""
    order = Order(frozen.targets, recipe, rank, world)
    return _loader(frozen, batch_sampler=_Numbers(order, batch_size))


def plain_features(frozen: Frozen, batch_size: int) -> DataLoader[FeatureBatch]:
    """Return batches in order."""
    return _loader(frozen, batch_size=batch_size)


def _loader(frozen: Frozen, **how: Any) -> DataLoader[FeatureBatch]:
    # A generator of its own: else each epoch takes a number from everybody's.
    return DataLoader(_Rows(frozen), collate_fn=as_it_is, generator=torch.Generator(), **how)
