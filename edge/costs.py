"""The answer under costs: which one is cheapest to give, by what each mistake costs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.errors import UsageError

Costs = npt.NDArray[np.float64]
"""float64 [classes, classes]: what answering the column costs where the row is true; 0 or more, diagonal 0."""


def expected_costs(probabilities: npt.NDArray[np.floating], costs: Costs) -> npt.NDArray[np.float64]:
    """Return what each answer costs on the mean, float64 [n, classes], by probabilities of that shape.

    Raises UsageError where `costs` does not fit.
    """
    classes = probabilities.shape[-1]
    if costs.shape != (classes, classes):
        raise UsageError(f"costs of shape {costs.shape} for {classes} classes, expected {(classes, classes)}")
    result: npt.NDArray[np.float64] = probabilities.astype(np.float64) @ costs
    return result


def choose_answers(
    probabilities: npt.NDArray[np.floating], costs: Costs | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the answers, int64 [n], and how sure they are, float64 [n] from 0 to 1, of [n, classes].

    Without costs: the likeliest answer and its probability. With costs: the answer of least expected cost
    (R. Duda and P. Hart, Pattern Classification, 1973, section 2.2), the likelier of equals, and 1 - that cost
    over the largest one; where all mistakes cost the same, this is its probability too. Raises UsageError where
    `costs` does not fit.
    """
    likeliest: npt.NDArray[np.int64] = probabilities.argmax(axis=1).astype(np.int64)
    rows = np.arange(len(probabilities))
    if costs is None:
        return likeliest, probabilities[rows, likeliest].astype(np.float64)
    largest = float(costs.max(initial=0.0))
    if not largest > 0:
        raise UsageError("costs that are all 0, expected some mistake to cost something")
    expected = expected_costs(probabilities, costs)
    cheapest = expected.argmin(axis=1)
    answers = np.where(expected[rows, likeliest] <= expected[rows, cheapest], likeliest, cheapest)
    return answers, np.clip(1 - expected[rows, answers] / largest, 0.0, 1.0)
