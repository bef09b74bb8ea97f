"""How much a mean loss counted on n photos says of the true one: p-values and limits.

A p-value here is of the hypothesis that the true mean loss is at least `risk`; all arrays broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom

Numbers = npt.NDArray[np.float64]
Test = Callable[[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike], Numbers]
"""(sum of the losses, photos, risk) to p-value, falling as the risk rises."""

HALVINGS = 60


def exact(total: npt.ArrayLike, count: npt.ArrayLike, risk: npt.ArrayLike) -> Numbers:
    """P-value for losses of 0 and 1: the chance of so few mistakes (Clopper and Pearson 1934)."""
    result: Numbers = np.asarray(binom.cdf(total, count, risk), dtype=np.float64)
    return result


def hoeffding_bentkus(total: npt.ArrayLike, count: npt.ArrayLike, risk: npt.ArrayLike) -> Numbers:
    """P-value for losses anywhere from 0 to 1.

    Source: S. Bates, A. Angelopoulos, L. Lei, J. Malik and M. Jordan, "Distribution-Free, Risk-Controlling
    Prediction Sets", Journal of the ACM 68 (2021), section 3.1.
    """
    total, count, risk = (np.asarray(its, dtype=np.float64) for its in (total, count, risk))
    mean = np.minimum(total / count, risk)
    hoeffding = np.exp(-count * _divergence(mean, risk))
    bentkus = math.e * binom.cdf(np.ceil(total - 1e-9), count, risk)
    result: Numbers = np.minimum(np.minimum(hoeffding, bentkus), 1.0)
    return result


def upper(test: Test, total: float, count: int, level: float) -> float:
    """Return the upper confidence limit of the mean loss, at confidence 1 - level: the test's inverse."""
    low, high = total / count, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if float(test(total, count, middle)) > level else (low, middle)
    return high


def clopper_pearson(total: npt.ArrayLike, count: npt.ArrayLike) -> tuple[Numbers, Numbers]:
    """Return the ends of the 95 % interval of total / count, each 0 to 1; prices count as mistakes outwards."""
    count = np.asarray(count, dtype=np.float64)
    least, most = np.floor(np.asarray(total) + 1e-9), np.ceil(np.asarray(total) - 1e-9)
    with np.errstate(invalid="ignore"):  # at the ends, where the limit is 0 or 1 itself
        low = np.where(least > 0, beta.ppf(0.025, least, count - least + 1), 0.0)
        high = np.where(most < count, beta.ppf(0.975, most + 1, count - most), 1.0)
    return low, high


def _divergence(mean: Numbers, risk: Numbers) -> Numbers:
    """Kullback-Leibler divergence of coins that fall with chances `mean` and `risk`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = np.where(mean > 0, mean * np.log(mean / risk), 0.0)
        tails = np.where(mean < 1, (1 - mean) * np.log((1 - mean) / (1 - risk)), 0.0)
    result: Numbers = heads + tails
    return result
