"""What all the parts of one training share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edge.images import Role
from edge.scores import Truth
from train.dataset.split import Split
from train.insight.draws import Groups
from train.photos import LabelledFile, Pictures
from train.processes import Processes
from train.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """One training, as it was ordered and as its photos were found."""

    run: Path
    recipe: Recipe
    device: torch.device
    workers: int
    """Processes that load photos."""
    command: str
    """The command line, for the report."""
    log: tuple[str, ...]
    """Where curves are sent beside the run folder: tensorboard, wandb."""
    processes: Processes
    """Which of how many processes that train together this is."""
    files: Mapping[Role, tuple[LabelledFile, ...]]
    """In the order of the split."""
    all_pictures: Pictures
    """The same photos, decoded: all by role, as `photos` has them."""
    groups: Groups
    """int64, of all photos by role: those with equal numbers show one thing, or are held out together."""
    split: Split
    findings: tuple[str, ...]
    """What was found and decided about the data, in sentences."""

    @property
    def on_gpu(self) -> bool:
        """Whether training runs on a CUDA GPU."""
        return self.device.type == "cuda"

    @cached_property
    def pictures(self) -> Mapping[Role, Pictures]:
        """The photos of each role, decoded."""
        return {role: self.all_pictures.subset(numbers) for role, numbers in self.numbers.items()}

    @cached_property
    def numbers(self) -> Mapping[Role, npt.NDArray[np.int64]]:
        """Numbers of the photos of each role among all by role, int64 [photos]."""
        ends = np.cumsum([len(self.files[role]) for role in Role])
        return dict(zip(Role, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))

    @cached_property
    def photos(self) -> tuple[LabelledFile, ...]:
        """All photos by role: train, val, test."""
        return tuple(file for role in Role for file in self.files[role])

    @cached_property
    def names(self) -> tuple[tuple[str, Role], ...]:
        """Path below the data set's root, and role, of all photos by role."""
        return tuple((one.file, role) for role in Role for one in self.split.roles[role])

    @cached_property
    def targets(self) -> Truth:
        """Index of the label of all photos by role, int64 [photos]."""
        return np.array([file.target for file in self.photos], dtype=np.int64)
