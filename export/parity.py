"""Does an exported graph answer as PyTorch did? Agreement and accuracy on the test photos, and the verdict."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.backends import Answers, Backend, Strangeness
from edge.manifest import Parity, Verdict
from edge.scores import Truth

LEAST_AGREEMENT = 0.99
"""Share of images with the same top-1 answer below which an artifact fails."""

MOST_STRANGENESS_DIFFERENCE = 1.0
"""Of the spread of PyTorch's strangeness: a photo off by more is as far from where it was as the usual photos are
from the oddest. Less is no fault, since each artifact has a threshold of its own."""


def compare(backend: Backend, reference: Answers, got: Answers, truth: Truth) -> Parity:
    """Compare an artifact's answers with PyTorch's, against int64 [images]."""
    sound = got.sound
    # An answer that is no number agrees with nothing, is never right, and is off by as much as can be.
    off = np.abs(got.probabilities.astype(np.float64) - reference.probabilities)
    difference = np.where(sound[:, None], off, 1.0)
    answers = np.where(sound, got.probabilities.argmax(axis=1), -1)
    expected = reference.probabilities.argmax(axis=1)
    return Parity(
        backend=backend.info.name,
        images=len(truth),
        agreement=float(np.mean(answers == expected)),
        accuracy=float(np.mean(answers == truth)),
        reference_accuracy=float(np.mean(expected == truth)),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        max_strangeness_difference=_strangeness_difference(reference.strangeness, got.strangeness, sound),
    )


def judge(parity: Parity) -> Verdict:
    """Return PASS where at least 99 % of the answers agree and no strangeness is another altogether."""
    strange = parity.max_strangeness_difference or 0.0
    agree = parity.agreement >= LEAST_AGREEMENT and strange <= MOST_STRANGENESS_DIFFERENCE
    return Verdict.PASS if agree else Verdict.FAIL


def spread(strangeness: Strangeness) -> float:
    """Return the distance of its 5th and 95th percentile: the unit in which strangeness is compared.

    Above zero, also where all photos are equally strange: a millionth of how strange they are then.
    """
    low, middle, high = np.percentile(strangeness.astype(np.float64), (5, 50, 95))
    return float(max(high - low, 1e-6 * max(1.0, abs(middle))))


def _strangeness_difference(
    reference: Strangeness | None, got: Strangeness | None, sound: npt.NDArray[np.bool_]
) -> float | None:
    """Return the largest, over the spread of the reference's; of rows that are no numbers agreement tells."""
    if reference is None or got is None:
        return None
    off = np.abs(got[sound].astype(np.float64) - reference[sound])
    return float(off.max() / spread(reference)) if len(off) else 0.0
