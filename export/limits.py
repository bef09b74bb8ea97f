"""From which score on an artifact's answers are accepted, measured on its own answers to photos it never saw.

The test photos had no part in training, in the choice of the epoch or in the temperature, so that the bound on the
error of what is accepted holds as it is stated. What is a stranger is set on the validation photos: chosen on the
test photos too, it would be one more thing that these have decided before they judge.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np

from edge.backends import Answers, Strangeness
from edge.manifest import RejectionClaim
from edge.scores import Truth
from train.checkpoint import About
from train.rejection import choose_rejection
from train.strangers import stranger_threshold


@dataclass(frozen=True)
class Limits:
    """What an artifact rejects."""

    reject_threshold: float | None = None
    """As in the manifest."""
    rejection: RejectionClaim | None = None
    stranger_threshold: float | None = None


def measure(test: Answers, truth: Truth, validation: Strangeness | None, about: About) -> Limits:
    """Set both thresholds by the run's wishes: `about.max_error`, `stranger_rejects` and `pricing`.

    `test` are the artifact's answers to the test photos, `truth` int64 [test photos]; `validation` is its
    strangeness of the validation photos, None where it answers none. Answers that are no numbers count as
    rejected, since no bin goes on with one. Raises UsageError, TrainError as train.rejection does.
    """
    strange_from = _stranger_threshold(validation, about.stranger_rejects)
    left = test.sound
    if strange_from is not None and test.strangeness is not None:
        left = left & ~(test.strangeness.astype(np.float64) > strange_from)
    # Only what is left over can be accepted, and given how much that is its mistakes are as random as before.
    rejection = choose_rejection(truth, test.probabilities, left, about.max_error, about.pricing)
    claim = RejectionClaim(
        target=rejection.target,
        bound=rejection.bound,
        confidence=rejection.confidence,
        coverage=rejection.coverage,
        images=rejection.images,
        reached=rejection.reached,
    )
    return Limits(rejection.threshold, claim, strange_from)


def _stranger_threshold(validation: Strangeness | None, rejects: float) -> float | None:
    if validation is None:
        return None
    threshold = stranger_threshold(validation[np.isfinite(validation)], rejects)
    if threshold == math.inf:  # so few photos can't say what is strange to so few of the known
        return None
    return max(threshold, -sys.float_info.max)  # everything is a stranger: JSON has no infinity
