"""Several processes that train together, one a GPU, started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from edge.errors import UsageError


@dataclass(frozen=True)
class Processes:
    """Which of how many this process is."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    """Among those of this machine."""
    local_world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def machines(self) -> int:
        """How many machines take part."""
        return self.world // self.local_world


ALONE = Processes()
PATIENCE = timedelta(days=1)
"""How long processes wait for the first, which looks at all photos and decodes them."""


def read_processes(environment: dict[str, str]) -> Processes:
    """Return what torchrun says in the environment; without it, one process."""
    if "WORLD_SIZE" not in environment:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        return Processes(*(int(environment[name]) for name in names))
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"torchrun's {', '.join(names)} are not all there ({error}); start with torchrun"
        ) from error


@contextmanager
def joined(processes: Processes, device: torch.device) -> Iterator[None]:
    """Connect the processes for the block: NCCL between GPUs, gloo elsewhere. Nothing is done for one alone."""
    if processes.world == 1:
        yield
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_goes_ahead(processes: Processes) -> Iterator[None]:
    """Run the block in the first process, then in all the others: they find what it has left in the caches."""
    if processes.world > 1 and not processes.first:
        distributed.barrier()
    try:
        yield
    finally:
        if processes.world > 1 and processes.first:
            distributed.barrier()


def wait_for_all(processes: Processes) -> None:
    """Return when all processes have come here."""
    if processes.world > 1:
        distributed.barrier()


def device_of(processes: Processes, device: torch.device) -> torch.device:
    """Return this process's device: its own GPU where there are several processes on GPUs."""
    if processes.world == 1 or device.type != "cuda":
        return device
    return torch.device("cuda", processes.local_rank)


def from_environment() -> Processes:
    """Return which process this is. Raises UsageError."""
    return read_processes(dict(os.environ))
