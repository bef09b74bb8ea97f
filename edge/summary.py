"""What a run measured of itself, in memory that does not grow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

STEPS = ("watch", "preprocess", "infer", "total")
"""Looking for motion; fitting the frame to the graph; the graph; from a frame's arrival to its answer."""

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


class Timings:
    """The newest durations of each step."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: dict[str, deque[float]] = {step: deque(maxlen=kept) for step in STEPS}

    def add(self, step: str, milliseconds: float) -> None:
        """Take a duration of one of STEPS."""
        self._kept[step].append(milliseconds)

    def percentiles(self) -> dict[str, Percentiles | None]:
        """Return every step's percentiles, None where it was never taken."""
        return {step: _percentiles(values) for step, values in self._kept.items()}


def _percentiles(values: deque[float]) -> Percentiles | None:
    if not values:
        return None
    p50, p99 = np.percentile(np.fromiter(values, dtype=np.float64), (50, 99))
    return Percentiles(round(float(p50), 3), round(float(p99), 3))
