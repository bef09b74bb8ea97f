"""What a run measured of itself, in memory that does not grow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STEPS = ("watch", "preprocess", "infer", "total", "event")
"""Looking for motion; fitting the frame to the graph; the graph; from a frame's arrival to its answer; from the
capture of the frame that a decision fell on to its event on the disk."""

KEPT = 10_000
"""Newest measurements of each step that the percentiles speak for."""


@dataclass(frozen=True)
class Percentiles:
    """Of one step, in milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Summary:
    """A run, or what of it has passed."""

    frames: int
    seconds: float
    fps: float
    """Frames a second, all included."""
    decisions: int
    broken: int
    """Pictures that could not be decoded and were left out."""
    latency_ms: dict[str, Percentiles | None]
    """Step to its percentiles; None where it was never taken."""
    rejected_unsure: int = 0
    """Decisions that may be any of several classes."""
    rejected_stranger: int = 0
    """Decisions that look like nothing known."""
    skipped: int = 0
    """Frames of a camera that came and went while the loop was at work or at rest."""
    outdated: int = 0
    """Frames of a camera that were too old to decide on."""
    reopened: int = 0
    """Times that the camera was lost and opened again."""


class Timings:
    """The newest durations of each step. All the memory for them is taken at once."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = {step: np.full(kept, np.nan) for step in STEPS}
        """float64 [kept] each: milliseconds, the oldest of them written over."""
        self._counts = dict.fromkeys(STEPS, 0)

    def add(self, step: str, milliseconds: float) -> None:
        """Take a duration of one of STEPS."""
        kept = self._kept[step]
        kept[self._counts[step] % len(kept)] = milliseconds
        self._counts[step] += 1

    def percentiles(self) -> dict[str, Percentiles | None]:
        """Return every step's percentiles, None where it was never taken."""
        return {step: _percentiles(values[: self._counts[step]]) for step, values in self._kept.items()}


def _percentiles(values: npt.NDArray[np.float64]) -> Percentiles | None:
    if not len(values):
        return None
    p50, p99 = np.percentile(values, (50, 99))
    return Percentiles(round(float(p50), 3), round(float(p99), 3))
