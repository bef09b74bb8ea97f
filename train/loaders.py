"""Pictures as batches: in a new order each epoch for training, as they stand for everything else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edge.errors import TrainError
from edge.scores import Truth
from train.balance import draw_evenly, shuffle
from train.chance import Keys
from train.dataset.cache import Proportions
from train.photos import Pictures
from train.recipe import Imbalance, Recipe

MOST_WORKERS = 4
"""Processes that read for a GPU: they copy from memory to memory, and more of them only take its bandwidth."""

Batch = tuple[Tensor, Tensor]
"""uint8 [n, height, width, 3] BGR and int64 [n], index of the label."""


class TrainBatch(NamedTuple):
    """Photos that are still to be augmented. Arrays stay on the host, where random numbers are drawn."""

    canvases: Tensor
    """uint8 [k, side, side, 3] BGR."""
    aspects: Proportions
    """float32 [k], width over height of the photos as they were taken."""
    targets: Tensor
    """int64 [k], index of the label."""
    keys: Keys
    """int64 [k, 4]: seed, epoch, number of the photo, and how often it was drawn in this epoch before."""


class Order(Sampler[Keys]):
    """The keys of an epoch: the order, and what is random about each photo, from the seed and the epoch alone.

    Of several processes each gets every `world`-th draw, from its rank on, and all get as many batches: the few
    photos that one has more than the others may be left out.
    """

    def __init__(self, targets: Truth, recipe: Recipe, rank: int = 0, world: int = 1, epoch: int = 0) -> None:
        self._targets, self._recipe = targets, recipe
        self._rank, self._world, self._epoch = rank, world, epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based. Lightning calls this, which looks for it in `batch_sampler.sampler`."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Draws of the process that has the fewest."""
        return len(self._targets) // self._world

    def __iter__(self) -> Iterator[Keys]:
        return iter(self.keys())

    def keys(self) -> Keys:
        """Return the keys of this epoch's draws, in order: int64 [draws, 4]."""
        seed, count = self._recipe.seed, len(self._targets)
        evenly = self._recipe.imbalance is Imbalance.SAMPLING
        picks = draw_evenly(self._targets, seed, self._epoch) if evenly else shuffle(count, seed, self._epoch)
        mine = picks[self._rank :: self._world]
        begin = np.full((len(mine), 2), (seed, self._epoch), dtype=np.int64)
        return np.concatenate((begin, mine), axis=1)


class Batches(Sampler[Keys]):
    """An order cut into batches. A last one of one photo is left out: BatchNorm can't take it."""

    def __init__(self, order: Order, size: int) -> None:
        self.sampler = order
        self._size = size

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self._size)
        return max(1, whole + (rest > 1))

    def __iter__(self) -> Iterator[Keys]:
        keys = self.sampler.keys()
        return (keys[start : start + self._size] for start in range(0, len(self) * self._size, self._size))


class _TrainSet(Dataset[TrainBatch]):
    """Fetches a batch at once, by its keys."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitems__(self, keys: Keys) -> TrainBatch:
        numbers = keys[:, 2]
        canvases, aspects = self._pictures.canvases(numbers)
        targets = torch.from_numpy(self._pictures.targets[numbers])
        return TrainBatch(torch.from_numpy(canvases), aspects, targets, keys)


class _PlainSet(Dataset[Batch]):
    """Fetches a batch at once, by the numbers of the photos."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitems__(self, numbers: Sequence[int]) -> Batch:
        images = self._pictures.inputs(numbers)
        return torch.from_numpy(images), torch.from_numpy(self._pictures.targets[np.asarray(numbers)])


def train_loader(
    pictures: Pictures,
    recipe: Recipe,
    batch_size: int,
    *,
    workers: int = 0,
    pin: bool = False,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[TrainBatch]:
    """Return an epoch's batches of photos that were opened for training.

    Each photo comes once an epoch; with Imbalance.SAMPLING each class as often as the others. Of `world`
    processes this is number `rank`, from 0. Raises TrainError where there are fewer photos than processes.
    """
    if len(pictures) < world:
        raise TrainError(f"{len(pictures)} photos can't be shared by {world} processes; start fewer")
    order = Order(pictures.targets, recipe, rank, world)
    return DataLoader(
        _TrainSet(pictures),
        batch_sampler=Batches(order, batch_size),  # type: ignore[arg-type]  # torch says lists; arrays do
        num_workers=workers,
        collate_fn=as_it_is,
        pin_memory=pin,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # else each epoch takes a number from everybody's
    )


def plain_loader(pictures: Pictures, batch_size: int, *, workers: int = 0, pin: bool = False) -> DataLoader[Batch]:
    """Return batches in order, as the bin would see them."""
    return DataLoader(
        _PlainSet(pictures),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=as_it_is,
        pin_memory=pin,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),
    )


def as_it_is(batch: object) -> object:
    """Leave a batch that was fetched at once as it is: a collate_fn."""
    return batch


def _leave_signals_to_the_parent(worker: int) -> None:  # noqa: ARG001  torch's signature
    """A terminal's Ctrl-C reaches every process: the parent stops the workers, they need not say so too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def auto_workers(on_gpu: bool) -> int:
    """How many processes read photos, for this machine.

    On the CPU training itself wants the cores: two workers on two cores cost a third of the speed. A GPU leaves
    them free, and reading goes on while it computes.
    """
    return min(MOST_WORKERS, len(os.sched_getaffinity(0))) if on_gpu else 0
