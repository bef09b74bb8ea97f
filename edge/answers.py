"""What the graph said of the frames of one deposit, and what decision that makes."""

from __future__ import annotations

import math
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
    reaching_seconds: float = 0.75
    """What reaches in over the picture's rim must rest for so long before it is decided: an arm does not. Two
    thirds of it where it did so until now."""
    patience_seconds: float = 0.8
    """Where no answer has come for so long, those that there are decide: no decision rests on old frames."""
    wait_seconds: float = 0.5
    """After a trigger, frames of a scene in which nothing moves yet count from here on."""
    trigger_seconds: float = 3.0
    """After a trigger, what has not come to rest by then is decided on glimpses."""


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


class Answers:
    """The answers of one episode. Holds at most `most` + `glimpses` of them."""

    def __init__(self, settings: EpisodeSettings, empty: int | None) -> None:
        self._settings = settings
        self.empty = empty
        """Index of the class that says that nothing is there; None: the network knows none."""
        self._settled: deque[Seen] = deque(maxlen=settings.most)
        self._glimpses: deque[Seen] = deque(maxlen=settings.glimpses)
        self._newest = -math.inf
        """Seconds on the source's own clock at which the newest one was asked for."""

    @property
    def settled(self) -> bool:
        """Whether there is one of a frame in which nothing moved."""
        return bool(self._settled)

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self._settled or self._glimpses)

    def add(self, seen: Seen, sight: Sight) -> None:
        """Take in one more."""
        (self._glimpses if sight.moving else self._settled).append(seen)
        self._newest = sight.time

    def clear(self) -> None:
        """Forget them."""
        self._settled.clear()
        self._glimpses.clear()

    def unsettle(self) -> None:
        """Forget those of frames in which nothing moved."""
        self._settled.clear()

    def agree(self) -> bool:
        """Tell whether the settled ones suffice."""
        count = self._settings.agree
        tops = [int(seen.probabilities.argmax()) for seen in self._settled]
        return len(tops) == self._settings.most or (len(tops) >= count and len(set(tops[-count:])) == 1)

    def old(self, time: float) -> bool:
        """Tell whether the newest one is too old for others to be combined with it."""
        return time - self._newest >= self._settings.patience_seconds

    def conclude(self, least: int) -> Outcome | None:
        """Make one decision of them.

        None where none are settled and there are fewer than `least` glimpses, or where they say that nothing is
        there.
        """
        frames = self._settled or (self._glimpses if len(self._glimpses) >= least else ())
        outcome = combine(list(frames)) if frames else None
        if outcome is None or outcome.probabilities.argmax() == self.empty:
            return None
        return outcome


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
