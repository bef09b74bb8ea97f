"""A deposit is an episode, not a frame: from (what is seen, probabilities, time) to one decision each.

Pure: no clock is read, no picture is looked at. The caller shows every frame's Sight to `step`, classifies
the frame only where that asks for it, and gives the probabilities to `answer`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import cast

import numpy as np
import numpy.typing as npt

from edge.motion import Sight

Scores = npt.NDArray[np.float32]
"""float32 [classes], sums to 1."""

_FLOOR = 1e-6
"""Smallest probability whose logarithm is taken: one frame that says "never" must not outvote all others."""


class State(str, Enum):
    """Where an episode stands."""

    EMPTY = "empty"
    ARRIVING = "arriving"
    """Something is there and has not come to rest yet."""
    RESTING = "resting"
    """It rests, and settled frames are being classified."""
    DECIDED = "decided"
    """The decision is out; the scene has yet to become empty."""


@dataclass(frozen=True)
class EpisodeSettings:
    """How many frames make a decision."""

    agree: int = 3
    """So many settled frames in a row with the same top answer decide at once."""
    most: int = 9
    """After so many settled frames their mean decides."""
    spacing_seconds: float = 0.08
    """At least so long from one classified frame to the next: neighbours in time show the same noise. A bit
    below a tenth, so that cameras of 10, 20 and 30 frames a second give one every tenth of a second."""
    glimpses: int = 5
    """Newest moving frames that decide on a thing which never rests."""
    least_glimpses: int = 3
    """Fewer of them than this are no deposit: a hand, an insect, a gleam."""
    empty_seconds: float = 0.25
    """The scene must be empty for so long before the episode ends."""


@dataclass(frozen=True)
class Outcome:
    """The one decision of an episode."""

    probabilities: Scores
    """float32 [classes]: the normalized geometric mean of the frames it rests on."""
    frames: int
    """How many frames it rests on."""
    strangeness: float | None = None
    """The median of those frames'; None: the graph does not answer it."""


@dataclass(frozen=True)
class Seen:
    """What the graph said of one frame."""

    probabilities: Scores
    """float32 [classes]."""
    strangeness: float | None = None


@dataclass(frozen=True)
class Step:
    """What a frame leads to."""

    classify: bool = False
    """The caller should classify this frame and give the probabilities to `answer`."""
    outcome: Outcome | None = None
    """The decision on a thing that left before enough frames were seen."""


class Episodes:
    """The state machine. Holds at most `most` + `glimpses` answers."""

    def __init__(self, settings: EpisodeSettings | None = None) -> None:
        self._settings = settings or EpisodeSettings()
        self.state = State.EMPTY
        self._settled: list[Seen] = []
        self._glimpses: deque[Seen] = deque(maxlen=self._settings.glimpses)
        self._moving = False
        self._empty_since: float | None = None
        self._asked_at = -np.inf

    def step(self, sight: Sight) -> Step:
        """Take in what the next frame shows."""
        if not sight.occupied:
            return self._step_empty(sight.time)
        self._empty_since = None
        if self.state is State.DECIDED:
            return Step()
        self._moving = sight.moving
        self.state = State.ARRIVING if sight.moving and not self._settled else State.RESTING
        if sight.moving and self._settled:  # a blurred frame adds nothing to a sharp one
            return Step()
        first = not sight.moving and not self._settled
        if not first and sight.time - self._asked_at < self._settings.spacing_seconds:
            return Step()
        self._asked_at = sight.time
        return Step(classify=True)

    def answer(self, seen: Seen) -> Outcome | None:
        """Take the answer for the frame that `step` asked for; decide where it suffices."""
        if self._moving:
            self._glimpses.append(seen)
            return None
        self._settled.append(seen)
        settings = self._settings
        if len(self._settled) < settings.most and not _agree(self._settled[-settings.agree :], settings.agree):
            return None
        self.state = State.DECIDED
        return self._conclude()

    def finish(self) -> Outcome | None:
        """End the open episode, since no frames come any more."""
        outcome = None if self.state is State.DECIDED else self._conclude()
        self._reset()
        return outcome

    def _step_empty(self, time: float) -> Step:
        if self.state is State.EMPTY:
            return Step()
        if self._empty_since is None:
            self._empty_since = time
        if time - self._empty_since < self._settings.empty_seconds:
            return Step()
        return Step(outcome=self.finish())

    def _conclude(self) -> Outcome | None:
        enough = len(self._glimpses) >= self._settings.least_glimpses
        frames = self._settled or (list(self._glimpses) if enough else [])
        return combine(frames) if frames else None

    def _reset(self) -> None:
        self.state = State.EMPTY
        self._settled = []
        self._glimpses.clear()
        self._empty_since = None
        self._asked_at = -np.inf


def combine(frames: Sequence[Seen]) -> Outcome:
    """Make one decision's worth of at least one frame.

    Probabilities by the mean of their logarithms. Strangeness by the median: it has no upper end, so that in a
    mean one frame with a hand or a gleam in it would outvote all others.
    """
    seen = np.stack([frame.probabilities for frame in frames]).astype(np.float64)
    logs = np.log(np.maximum(seen, _FLOOR)).mean(axis=0)
    scores = np.exp(logs - logs.max())
    strange = [frame.strangeness for frame in frames if frame.strangeness is not None]
    return Outcome(
        probabilities=cast(Scores, (scores / scores.sum()).astype(np.float32)),
        frames=len(frames),
        strangeness=float(np.median(strange)) if strange else None,
    )


def _agree(frames: Sequence[Seen], count: int) -> bool:
    return len(frames) == count and len({int(frame.probabilities.argmax()) for frame in frames}) == 1
