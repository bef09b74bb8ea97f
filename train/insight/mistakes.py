"""Photos that were answered wrongly and with confidence: each is a lesson about the network or about its label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.backends.base import Probabilities
from edge.scores import Truth


@dataclass(frozen=True)
class Mistake:
    """One wrong answer."""

    index: int
    """Of the photo."""
    truth: int
    """Index of its label."""
    answer: int
    """Index of the label that was answered."""
    confidence: float
    """Probability of the answer, 0 to 1."""


def confident_mistakes(truth: Truth, probabilities: Probabilities) -> tuple[Mistake, ...]:
    """Return all wrong answers, the most confident first; float32 [photos, classes] against int64 [photos]."""
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != truth)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return tuple(Mistake(int(one), int(truth[one]), int(answers[one]), float(confidence[one])) for one in order)
