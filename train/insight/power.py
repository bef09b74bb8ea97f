"""How errors fall with the number of photos: a power law with a floor, and what it says of twice as many.

Source: T. Viering and M. Loog, "The Shape of Learning Curves: A Review", IEEE Transactions on Pattern Analysis and
Machine Intelligence 45 (2023): err = a * n^-b + c is what most curves look like.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sizes = npt.NDArray[np.float64]
"""float64 [sizes]: photos that were learnt from, rising."""
Errors = npt.NDArray[np.float64]
"""float64 [..., sizes], above 0: share of wrong answers."""

FLOORS = 20
"""Values of c that are tried: 0 to 95 % of the lowest error."""
BEST, WORST = 0.5, 1.25
"""Limits of what doubling does to the error. No curve falls faster than 1/n, and a rising one is noise at most."""


def after(sizes: Sizes, errors: Errors, factor: float) -> npt.NDArray[np.float64]:
    """Return the errors, float64 [...], expected at `factor` times the last size, of every row of `errors`.

    For each of the floors, a line is fitted to log(err - c) over log(n); the floor whose curve lies closest is
    taken. Sizes count by their number of photos: what comes next is more like the end than like the start.
    The curve's change is applied to the last error as it was measured.
    """
    x = np.log(sizes / sizes[-1])
    weights = sizes / sizes[-1]
    closest = np.full(errors.shape[:-1], np.inf)
    ratio = np.ones(errors.shape[:-1])
    for share in np.linspace(0, 0.95, FLOORS):
        floor = share * errors.min(axis=-1, keepdims=True)
        start, slope = _line(x, np.log(errors - floor), weights * (errors - floor) ** 2)
        misfit = (weights * (floor + np.exp(start + slope * x) - errors) ** 2).sum(axis=-1)
        now, then = (floor + np.exp(start + slope * at) for at in (0.0, np.log(factor)))
        better = misfit < closest
        closest = np.where(better, misfit, closest)
        ratio = np.where(better, (then / now)[..., 0], ratio)
    result: npt.NDArray[np.float64] = errors[..., -1] * np.clip(ratio, BEST, WORST)
    return result


def _line(x: Sizes, y: Errors, weights: Errors) -> tuple[Errors, Errors]:
    """Fit y = start + slope * x by weighted least squares along the last axis, which both results keep as 1."""
    total = weights.sum(axis=-1, keepdims=True)
    x_mean = (weights * x).sum(axis=-1, keepdims=True) / total
    y_mean = (weights * y).sum(axis=-1, keepdims=True) / total
    slope = (weights * (x - x_mean) * (y - y_mean)).sum(axis=-1, keepdims=True)
    slope /= (weights * (x - x_mean) ** 2).sum(axis=-1, keepdims=True)
    return y_mean - slope * x_mean, slope
