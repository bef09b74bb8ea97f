"""Photos that a graph answers otherwise than PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from edge.backends import Answers
from edge.scores import Truth


class Side(str, Enum):
    """Who is right about a photo on which the answers differ."""

    LOST = "lost"
    """PyTorch alone."""
    GAINED = "gained"
    """The graph alone."""
    NEITHER = "neither"
    """Nobody: one wrong answer for another."""


@dataclass(frozen=True)
class Said:
    """An answer to a photo."""

    label: str
    """Empty: it is no number."""
    confidence: float
    """Probability of the label, 0 to 1; infinite where the answer is no number."""
    right: bool


@dataclass(frozen=True)
class Flip:
    """A photo and its two answers."""

    index: int
    """Of the photo, from 0."""
    side: Side
    truth: str
    """The photo's label."""
    expected: Said
    """By PyTorch."""
    got: Said
    """By the graph."""


def find_flips(truth: Truth, reference: Answers, got: Answers, labels: tuple[str, ...]) -> tuple[Flip, ...]:
    """Find the photos whose answers differ: first those lost, then those gained, then the others.

    `truth` int64 [photos]. Of each side first those where the graph is surest, which no rounding explains.
    """
    sound = got.sound
    answers = np.where(sound, got.probabilities.argmax(axis=1), -1)
    expected = reference.probabilities.argmax(axis=1)
    flips = []
    for index in map(int, np.flatnonzero(answers != expected)):
        its, was = (_said(one, index, int(truth[index]), labels) for one in (got, reference))
        flips.append(Flip(index, _side(was, its), labels[truth[index]], was, its))
    sides = list(Side)
    return tuple(sorted(flips, key=lambda flip: (sides.index(flip.side), -flip.got.confidence)))


def _said(answers: Answers, index: int, truth: int, labels: tuple[str, ...]) -> Said:
    if not answers.sound[index]:
        return Said("", math.inf, right=False)
    row = answers.probabilities[index]
    answer = int(row.argmax())
    return Said(labels[answer], float(row[answer]), answer == truth)


def _side(expected: Said, got: Said) -> Side:
    if expected.right:
        return Side.LOST
    return Side.GAINED if got.right else Side.NEITHER
