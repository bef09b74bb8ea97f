"""Temperature scaling: one number, fitted on validation photos, that makes confidence mean what it says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.backends.base import Probabilities
from edge.scores import Truth
from train.judge import Logits

COLDEST, HOTTEST = 0.05, 20.0
STEPS = 60
"""Of the golden-section search: the interval shrinks by 0.618 each, far below float32."""


def softmax(logits: Logits, temperature: float) -> Probabilities:
    """Return float32 [images, classes], rows summing to 1, from logits of that shape."""
    return np.exp(_log_softmax(logits, temperature)).astype(np.float32)


def fit_temperature(logits: Logits, truth: Truth) -> float:
    """Return the temperature that minimizes the log loss (Guo et al. 2017): 0.05 to 20, and 1 without a photo.

    Photos that are all answered right would make it as cold as may be, and every answer certain. So a prior
    belief holds it near 1, with the weight of one photo: a gamma distribution of 1 / temperature with its mode at
    1. The sum is convex in 1 / temperature, so it has one minimum and a golden-section search finds it.
    """
    if not len(truth):
        return 1.0
    low, high = np.log(COLDEST), np.log(HOTTEST)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _log_loss(logits, truth, np.exp(left)) < _log_loss(logits, truth, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _log_loss(logits: Logits, truth: Truth, temperature: float) -> float:
    loss = -_log_softmax(logits, temperature)[np.arange(len(truth)), truth].mean()
    return float(loss + (1 / temperature + np.log(temperature)) / len(truth))


def _log_softmax(logits: Logits, temperature: float) -> npt.NDArray[np.float64]:
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    result: npt.NDArray[np.float64] = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return result
