"""What every inference engine does, and what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from edge.errors import BackendError
from edge.manifest import Precision
from edge.preprocess import Pixels

INPUT, OUTPUT, STRANGENESS = "image", "probabilities", "strangeness"
"""Names of the graph's input, uint8 [batch, height, width, 3] BGR, and of its outputs, float32."""

Probabilities = npt.NDArray[np.float32]
"""float32 [batch, classes]; rows sum to 1, columns in the order of the bundle's labels."""

Strangeness = npt.NDArray[np.floating[Any]]
"""float32 [batch]; larger: less like anything that the network was trained on. Each artifact has its own scale."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a graph says of a batch."""

    probabilities: Probabilities
    """float32 [batch, classes]."""
    strangeness: Strangeness | None = None
    """[batch]; None: the graph has no such output."""

    @property
    def sound(self) -> npt.NDArray[np.bool_]:
        """Which rows are nothing but numbers: bool [batch]."""
        sound = np.isfinite(self.probabilities).all(axis=1)
        if self.strangeness is not None:
            sound &= np.isfinite(self.strangeness)
        return cast("npt.NDArray[np.bool_]", sound)


def join(parts: Sequence[Answers]) -> Answers:
    """Put the answers of one graph to several batches together, in order; one batch at least."""
    strange: list[Strangeness] = [one.strangeness for one in parts if one.strangeness is not None]
    return Answers(
        np.concatenate([one.probabilities for one in parts]), np.concatenate(strange) if strange else None
    )


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
class Options:
    """How an engine is to run. Each takes what concerns it."""

    threads: int = 0
    """Of one inference on the CPU; 0: the engine chooses."""
    max_batch: int = 1
    """Images that a TensorRT engine answers at once; more of them go through it in turns."""
    workspace: int = 1 << 30
    """Bytes of GPU memory that a layer of a TensorRT engine may use."""
    cache: Path | None = None
    """Where this device keeps its TensorRT engines, and what it found of each; None: nowhere."""
    build: bool = True
    """Whether a TensorRT engine that this device has not is built at once, which takes minutes."""


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
    strangeness: bool = False
    """Whether the graph answers strangeness beside probabilities."""
    device: str = ""
    """The processor's own name; empty where it tells none."""
    engine: str = ""
    """Which engine of those that this device has built; empty where the graph itself runs."""
    megabytes: float = 0.0
    """Of the file that runs: the graph, or the engine that was built from it. 1 MB is 1,000,000 bytes."""


class Backend(Protocol):
    """An open engine. Not for several threads at once."""

    info: BackendInfo

    def infer(self, batch: Pixels) -> Answers:
        """Answer uint8 [n, height, width, 3] BGR with n rows.

        Raises BackendError on another dtype or shape, and where the engine fails. What it answers need not be
        numbers: see `check_answers`.
        """

    def allocate(self, images: int) -> Pixels:
        """Return uint8 [images, height, width, 3] for `infer`, in the memory from which the engine reads best.

        One at a time: the next call may give the same memory again.
        """

    def close(self) -> None:
        """Give the engine's memory back. May be called twice."""

    def __enter__(self) -> Backend: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def cpu_name() -> str:
    """Return what the processor calls itself, empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    named = {key.strip(): value.strip() for key, value in said.items()}
    return named.get("model name") or named.get("Model") or ""


def check_batch(batch: Pixels, shape: tuple[int, int, int]) -> None:
    """Raise BackendError unless `batch` is uint8 [n, *shape] with n at least 1."""
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != shape or not len(batch):
        raise BackendError(
            f"batch is {batch.dtype} {list(batch.shape)}; expected uint8 [n, {', '.join(map(str, shape))}]"
        )


def check_contract(file: str, inputs: Sequence[tuple[str, str]], outputs: Sequence[tuple[str, str]]) -> bool:
    """Return whether a graph answers strangeness beside probabilities.

    `inputs` and `outputs` are names and dtypes, such as ("image", "uint8"). Raises BackendError on others than a
    bundle's graph has.
    """
    expected, second = [(OUTPUT, "float32")], (STRANGENESS, "float32")
    if list(inputs) != [(INPUT, "uint8")] or list(outputs) not in (expected, [*expected, second]):
        raise BackendError(
            f"{file} has the inputs {list(inputs)} and the outputs {list(outputs)}; expected "
            f"{[(INPUT, 'uint8')]}, and {expected} with {second} after it or nothing: export the run again"
        )
    return second in outputs


def check_answers(answers: Answers, info: BackendInfo) -> None:
    """Raise BackendError where an answer holds what is no number."""
    bad = np.flatnonzero(~answers.sound)
    if len(bad):
        strange = "" if answers.strangeness is None else f", strangeness {answers.strangeness[bad[0]]}"
        raise BackendError(
            f"{info.provider} answered {answers.probabilities[bad[0]]}{strange} for a picture; expected numbers: "
            "take another --backend or --precision, or export the run again"
        )
