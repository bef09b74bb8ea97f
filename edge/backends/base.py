"""What every inference engine does, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import BackendError
from edge.manifest import Precision
from edge.preprocess import Pixels

Probabilities = npt.NDArray[np.float32]
"""float32 [batch, classes]; rows sum to 1, columns in the order of the bundle's labels."""


@dataclass(frozen=True)
class Graph:
    """A verified ONNX graph, ready to be opened."""

    file: str
    """Its name in the bundle."""
    precision: Precision
    model: bytes
    """The ONNX file itself: a runtime gets no path, so that no other file can be pulled in."""
    shape: tuple[int, int, int]
    """Of one input tensor: height, width, 3."""


@dataclass(frozen=True)
class BackendInfo:
    """What really runs, as opposed to what was asked for."""

    name: str
    """As in --backend."""
    file: str
    """The graph's name in the bundle."""
    precision: Precision
    provider: str
    """The engine's own name for what executes the graph."""
    threads: int
    """Threads of one inference; 0 where the engine chooses."""
    versions: tuple[tuple[str, str], ...]
    """Library and version."""


class Backend(Protocol):
    """An open engine. Not for several threads at once."""

    info: BackendInfo

    def infer(self, batch: Pixels) -> Probabilities:
        """Answer uint8 [n, height, width, 3] BGR with float32 [n, classes].

        Raises BackendError on another dtype or shape, and where the engine fails.
        """

    def close(self) -> None:
        """Give the engine's memory back. May be called twice."""

    def __enter__(self) -> Backend: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_batch(batch: Pixels, shape: tuple[int, int, int]) -> None:
    """Raise BackendError unless `batch` is uint8 [n, *shape] with n at least 1."""
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != shape or not len(batch):
        raise BackendError(
            f"batch is {batch.dtype} {list(batch.shape)}; expected uint8 [n, {', '.join(map(str, shape))}]"
        )
