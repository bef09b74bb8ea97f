"""Two classifiers on the same photos: what the few on which they differ can say of all that will come.

Of n photos `gained` are answered right by the second alone and `lost` by the first alone. The difference of the
accuracies, second minus first, is (gained - lost) / n.
"""

from __future__ import annotations

import math
from collections.abc import Callable

ONE_SIDED_95 = 1.6448536269514722
"""Standard normal quantile at 0.95."""
HALVINGS = 60
"""Of an interval of width 2: the bound is exact to 2e-18, below the rounding of floats."""
MOST_PHOTOS = 10_000_000
"""More than anybody has: where even so many would not do, nothing would."""


def tango_lower(lost: float, gained: float, n: float, z: float = ONE_SIDED_95) -> float:
    """Lower end, -1 to 1, of the score interval of the difference; one-sided 95 % by default.

    Without a photo nothing is known: -1. Counts need not be whole, which is how sizes of samples are planned.
    Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17 (1998). It keeps its level where hardly anything differs,
    where the usual normal interval has no width.
    """
    if n <= 0:
        return -1.0
    return _root(lambda difference: _score(lost, gained, n, difference) > z)


def tango_upper(lost: float, gained: float, n: float, z: float = ONE_SIDED_95) -> float:
    """Upper end of the same interval: the lower end with the two classifiers exchanged."""
    return -tango_lower(gained, lost, n, z)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value, 0 to 1, of the two being equally often right.

    Of the photos on which just one is right, each is as likely to be either's then. Source: Q. McNemar, "Note on
    the sampling error of the difference between correlated proportions or percentages", Psychometrika 12 (1947),
    in its binomial form.
    """
    differing, ways, below = lost + gained, 1, 0
    for count in range(min(lost, gained) + 1):
        below += ways
        ways = ways * (differing - count) // (count + 1)  # of choosing one more: exact, and faster than math.comb
    return min(1.0, 2 * below / (1 << differing))


def photos_needed(lost: int, gained: int, n: int, tolerance: float) -> int | None:
    """Return how many photos would show a loss below `tolerance`, were the shares of both kinds to stay.

    The one-sided 95 % lower bound is above -tolerance from there on. None: no number would.
    """
    if n <= 0 or (gained - lost) / n <= -tolerance:
        return None

    def shown(count: int) -> bool:
        return tango_lower(lost * count / n, gained * count / n, count) > -tolerance

    if not shown(MOST_PHOTOS):
        return None
    low, high = 0, MOST_PHOTOS  # not enough, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def _score(lost: float, gained: float, n: float, difference: float) -> float:
    """Return how many standard errors the counts lie above what `difference`, within -1 and 1, leads to expect."""
    b = (2 * n - gained + lost) * difference - gained - lost
    c = -lost * difference * (1 - difference)
    # Most likely share of `lost` where that is the difference: the larger root of 2n x^2 + bx + c.
    share = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    above = gained - lost - n * difference
    if variance <= 0:
        return math.copysign(math.inf, above) if above else 0.0
    return above / math.sqrt(variance)


def _root(above: Callable[[float], bool]) -> float:
    """Return where `above`, true on the left and false on the right, changes between -1 and 1."""
    low, high = -1.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return (low + high) / 2
