"""The stream's own time against ours: when a picture was taken that may have waited on its way."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

DRIFT = 0.01
"""Seconds a second by which a camera's clock may be slow without its pictures being called late. Many count frames
at a nominal rate, and are off by far more than a quartz."""

EPSILON = 1e-3
"""Seconds between a picture that begins a new count and the one before."""


@dataclass(frozen=True)
class Placed:
    """A picture's place in time."""

    stamp: float
    """Seconds on the stream's clock, which goes on where the stream begins to count anew."""
    step: float
    """Seconds by which the stamp advanced since the picture before; zero for the first."""
    taken: float
    """Our seconds at which it would have arrived without waiting; never after it arrived."""


class Timeline:
    """The picture that waited least tells the way from the stream's clock to ours; those that come later by that
    were queued, in the camera, in the network or in the decoder.
    """

    def __init__(self) -> None:
        self._stamp = self._arrived = 0.0
        self._shift: float | None = None
        self._least = inf

    def place(self, stamp: float, arrived: float) -> Placed:
        """Place the next picture. `stamp`: as the stream has it; `arrived`: monotonic seconds."""
        if self._shift is None:
            self._shift = 0.0
            self._stamp, self._arrived = stamp, arrived
        elif stamp + self._shift < self._stamp:
            self._shift = self._stamp + max(arrived - self._arrived, EPSILON) - stamp
        stamp += self._shift
        self._least = min(self._least + DRIFT * (arrived - self._arrived), arrived - stamp)
        step = stamp - self._stamp
        self._stamp, self._arrived = stamp, arrived
        return Placed(stamp, step, stamp + self._least)
