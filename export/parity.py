"""Does an exported graph answer as PyTorch did? Agreement and accuracy on the test photos, and the verdict."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from edge.backends import Backend, Probabilities
from edge.manifest import Parity, Verdict
from edge.scores import Truth

LEAST_AGREEMENT = 0.99
"""Share of images with the same top-1 answer below which an artifact fails."""


def compare(backend: Backend, reference: Probabilities, got: Probabilities, truth: Truth) -> Parity:
    """Compare an artifact's answers, float32 [images, classes], with PyTorch's, against int64 [images]."""
    sound = cast("npt.NDArray[np.bool_]", np.isfinite(got).all(axis=1, keepdims=True))
    # An answer that is no number agrees with nothing, is never right, and is off by as much as can be.
    difference = np.where(sound, np.abs(got.astype(np.float64) - reference), 1.0)
    answers, expected = np.where(sound[:, 0], got.argmax(axis=1), -1), reference.argmax(axis=1)
    return Parity(
        backend=backend.info.name,
        images=len(truth),
        agreement=float(np.mean(answers == expected)),
        accuracy=float(np.mean(answers == truth)),
        reference_accuracy=float(np.mean(expected == truth)),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )


def judge(parity: Parity) -> Verdict:
    """Return PASS where at least 99 % of the answers agree."""
    return Verdict.PASS if parity.agreement >= LEAST_AGREEMENT else Verdict.FAIL
