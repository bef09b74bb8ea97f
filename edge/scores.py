"""How good answers are: accuracy, per-class precision, recall and F1, confusion, calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.backends.base import Probabilities

Truth = npt.NDArray[np.int64]
"""int64 [images]: index of the true label."""

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ClassScores:
    """One class. A figure whose denominator is zero is 0."""

    precision: float
    """Share of the answers with this label that are right, 0 to 1."""
    recall: float
    """Share of the photos of this class that are answered right, 0 to 1."""
    f1: float
    """Harmonic mean of the two."""
    support: int
    """Photos of this class."""


@dataclass(frozen=True)
class Scores:
    """A set of labelled photos, answered."""

    images: int
    accuracy: float
    """Share answered right, 0 to 1."""
    macro_f1: float
    """Mean of the F1 of the classes that occur."""
    per_class: dict[str, ClassScores]
    """By label, in output order."""
    confusion: tuple[tuple[int, ...], ...]
    """Photos by true label (rows) and answer (columns), in output order."""
    calibration_error: float
    """Expected calibration error over 15 equal bins of confidence (Guo et al. 2017), 0 to 1."""
    log_loss: float
    """Mean of -ln(probability of the true label)."""


def score(truth: Truth, probabilities: Probabilities, labels: tuple[str, ...]) -> Scores:
    """Judge float32 [images, classes] against int64 [images]. Needs at least one image."""
    answers = probabilities.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (truth, answers), 1)
    per_class = {label: _class_scores(confusion, index) for index, label in enumerate(labels)}
    present = [scores.f1 for scores in per_class.values() if scores.support]
    of_truth = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return Scores(
        images=len(truth),
        accuracy=float(np.mean(answers == truth)),
        macro_f1=float(np.mean(present)),
        per_class=per_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        calibration_error=calibration_error(truth, probabilities),
        log_loss=float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
    )


def calibration_error(truth: Truth, probabilities: Probabilities) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over equal bins, weighted by count."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def _class_scores(confusion: npt.NDArray[np.int64], index: int) -> ClassScores:
    hits, support = int(confusion[index, index]), int(confusion[index].sum())
    answered = int(confusion[:, index].sum())
    return ClassScores(
        precision=hits / answered if answered else 0.0,
        recall=hits / support if support else 0.0,
        f1=2 * hits / (support + answered) if support + answered else 0.0,
        support=support,
    )
