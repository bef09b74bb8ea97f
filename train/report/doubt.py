"""How far the answers can be trusted: what is known of confidence, rejection and strangers, and its sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.backends.base import Probabilities
from edge.intervals import wilson
from edge.scores import CALIBRATION_BINS, Truth
from train.rejection import Rejection, RiskCoverage

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Strangers:
    """How strange the known objects look to the network."""

    val: npt.NDArray[np.float32]
    """float32 [validation photos], larger is stranger."""
    test: npt.NDArray[np.float32]
    """float32 [test photos]."""
    threshold: float
    """Above it, an object is rejected as a stranger."""


@dataclass(frozen=True, eq=False)
class Doubt:
    """How far the answers to the test photos can be trusted."""

    truth: Truth
    """int64 [test photos]."""
    probabilities: Probabilities
    """float32 [test photos, classes], after temperature scaling."""
    before: Probabilities | None
    """The same before it; None where they are not known."""
    answers: Truth
    """int64 [test photos]: what the bin says; the most probable class unless mistakes have prices."""
    scores: Numbers
    """float64 [test photos]: what the rejection threshold judges; the largest probability unless they have."""
    rejection: Rejection
    told: str
    """Sentence of what the threshold keeps and costs, or why there is none."""
    curve: RiskCoverage
    """Of the test photos."""
    strangers: Strangers | None

    @property
    def accepted(self) -> Flags:
        """What the bin would accept: bool [test photos]."""
        threshold = self.rejection.threshold
        sure = self.scores >= (-np.inf if threshold is None else threshold)
        return sure if self.strangers is None else sure & (self.strangers.test <= self.strangers.threshold)

    @property
    def wrong(self) -> Flags:
        """What is answered wrongly, accepted or not: bool [test photos]."""
        wrong: Flags = self.answers != self.truth
        return wrong


@dataclass(frozen=True)
class Share:
    """Some of many, with the doubt that their number leaves."""

    some: int
    of: int

    @property
    def share(self) -> float:
        """0 to 1; 0 of none is 0."""
        return self.some / self.of if self.of else 0.0

    @property
    def low(self) -> float:
        """Low end of the 95 % interval (Wilson)."""
        return wilson(self.some, self.of)[0]

    @property
    def high(self) -> float:
        """High end of it."""
        return wilson(self.some, self.of)[1]


@dataclass(frozen=True)
class Toll:
    """What rejection does to photos of one class, or to all."""

    accepted: Share
    """Of its photos."""
    wrong: Share
    """Of those that are accepted."""
    spared: Share
    """Of those that are rejected: how many would have been answered wrongly."""


@dataclass(frozen=True)
class Bin:
    """Answers of nearly the same confidence."""

    right: Share
    confidence: float
    """Their mean, 0 to 1."""


def reliability(truth: Truth, probabilities: Probabilities) -> tuple[Bin | None, ...]:
    """Sort int64 [n] and float32 [n, classes] into 15 equal bins of confidence, from 0 to 1; None: an empty one.

    The bins are those of edge.scores.calibration_error. Source: Guo et al. 2017.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    return tuple(_bin(right[place == index], confidence[place == index]) for index in range(CALIBRATION_BINS))


def tolls(doubt: Doubt, classes: int) -> tuple[Toll, tuple[Toll, ...]]:
    """Return what rejection does to all test photos, and to those of each true class."""
    accepted, wrong = doubt.accepted, doubt.wrong
    each = tuple(_toll(accepted[its], wrong[its]) for its in (doubt.truth == index for index in range(classes)))
    return _toll(accepted, wrong), each


def _bin(right: Flags, confidence: Numbers) -> Bin | None:
    return Bin(_share(right), float(confidence.mean())) if len(right) else None


def _toll(accepted: Flags, wrong: Flags) -> Toll:
    return Toll(_share(accepted), _share(wrong[accepted]), _share(wrong[~accepted]))


def _share(flags: Flags) -> Share:
    return Share(int(flags.sum()), len(flags))
