"""Photos as batches: uint8 [n, height, width, 3] BGR, augmented for training, the bin's own view elsewhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edge.preprocess import InputSpec, decode, preprocess
from train.augment import Augment
from train.balance import BalancedOrder, Pick
from train.recipe import Imbalance

Batch = tuple[Tensor, Tensor]
"""uint8 [n, height, width, 3] BGR and int64 [n], index of the label."""


@dataclass(frozen=True)
class LabelledFile:
    """One photo on the disk."""

    path: Path
    target: int
    """Index of the label."""


class TrainPhotos(Dataset[Batch]):
    """Augmented photos. An index is (epoch, number, copy): together they decide the augmentation."""

    def __init__(self, files: Sequence[LabelledFile], spec: InputSpec, seed: int) -> None:
        self._files = files
        self._augment = Augment(spec)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Pick) -> Batch:
        epoch, number, copy = index
        file = self._files[number]
        key = int(np.random.SeedSequence([self._seed, epoch, number, copy]).generate_state(1, np.uint64)[0])
        picture = decode(file.path.read_bytes())
        return self._augment(picture, key), torch.tensor(file.target)


class PlainPhotos(Dataset[Batch]):
    """Photos as the bin sees them, through the one preprocessing."""

    def __init__(self, files: Sequence[LabelledFile], spec: InputSpec) -> None:
        self._files = files
        self._spec = spec

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Batch:
        file = self._files[number]
        return torch.from_numpy(preprocess(file.path.read_bytes(), self._spec)), torch.tensor(file.target)


class EpochOrder(Sampler[Pick]):
    """A new order each epoch, from the seed and the epoch alone."""

    def __init__(self, length: int, seed: int) -> None:
        self._length = length
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based. Lightning calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Pick]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._length)
        return ((self._epoch, int(number), 0) for number in order)


def train_loader(
    files: Sequence[LabelledFile],
    spec: InputSpec,
    batch_size: int,
    seed: int,
    workers: int,
    imbalance: Imbalance = Imbalance.NONE,
) -> DataLoader[Batch]:
    """Return shuffled, augmented batches. A last batch of one photo is left out: BatchNorm can't take it.

    Each photo comes once an epoch; with Imbalance.SAMPLING each class as often as the others.
    """
    evenly = imbalance is Imbalance.SAMPLING
    targets = [file.target for file in files]
    return DataLoader(
        TrainPhotos(files, spec, seed),
        batch_size=batch_size,
        sampler=BalancedOrder(targets, seed) if evenly else EpochOrder(len(files), seed),
        num_workers=workers,
        drop_last=len(files) % batch_size == 1 and len(files) > 1,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_parent,
    )


def plain_loader(
    files: Sequence[LabelledFile], spec: InputSpec, batch_size: int, workers: int
) -> DataLoader[Batch]:
    """Return batches in order, as the bin would see them."""
    return DataLoader(
        PlainPhotos(files, spec),
        batch_size=batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_parent,
    )


def _leave_signals_to_the_parent(worker: int) -> None:  # noqa: ARG001  torch's signature
    """A terminal's Ctrl-C reaches every process: the parent stops the workers, they need not say so too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def auto_workers(on_gpu: bool) -> int:
    """How many processes load photos, for this machine.

    On the CPU training itself wants the cores: two workers on two cores cost a third of the speed. A GPU
    leaves them free.
    """
    cores = len(os.sched_getaffinity(0))
    return min(12, cores) if on_gpu else 0
