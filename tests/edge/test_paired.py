"""The statistics of two classifiers on the same photos, against computations of another kind."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from edge.intervals import Z_95
from edge.paired import MOST_PHOTOS, ONE_SIDED_95, mcnemar, photos_needed, tango_lower, tango_upper

COUNTS = [(0, 0, 40), (3, 1, 60), (1, 3, 60), (0, 5, 25), (5, 0, 25), (12, 12, 24), (10, 0, 10), (40, 2, 1000)]
"""lost, gained, n."""


def _by_brute_force(lost: int, gained: int, n: int, z: float) -> tuple[float, float]:
    """Invert the score test with the nuisance share found by trying all of them, in place of the closed form.

    For each difference d the likelihood of (lost, gained, same) is looked at over a grid of shares q of `lost`,
    with that of `gained` q + d; the variance at its maximum judges what was seen.
    """
    kept = []
    for difference in np.arange(-0.9995, 1, 0.001):
        low, high = max(0.0, -difference), (1 - difference) / 2
        share = np.linspace(low, high, 4001)
        parts = [(lost, share), (gained, share + difference), (n - lost - gained, 1 - 2 * share - difference)]
        with np.errstate(divide="ignore"):
            likelihood = sum(count * np.log(np.maximum(part, 0)) for count, part in parts if count)
        best = float(share[np.argmax(likelihood)])
        variance = (2 * best + difference - difference**2) / n
        if abs((gained - lost) / n - difference) <= z * math.sqrt(max(variance, 0.0)):
            kept.append(difference)
    return min(kept), max(kept)


@pytest.mark.parametrize(("lost", "gained", "n"), COUNTS)
@pytest.mark.parametrize("z", [ONE_SIDED_95, Z_95])
def test_tango_is_what_trying_all_shares_gives(lost: int, gained: int, n: int, z: float) -> None:
    low, high = _by_brute_force(lost, gained, n, z)
    assert tango_lower(lost, gained, n, z) == pytest.approx(low, abs=2e-3)
    assert tango_upper(lost, gained, n, z) == pytest.approx(high, abs=2e-3)


@pytest.mark.parametrize("n", [1, 7, 100, 268, 100_000])
def test_where_nothing_differs_tango_has_a_closed_form(n: int) -> None:
    z2 = ONE_SIDED_95**2
    assert tango_lower(0, 0, n) == pytest.approx(-z2 / (n + z2), rel=1e-9)
    assert tango_upper(0, 0, n) == pytest.approx(z2 / (n + z2), rel=1e-9)


def test_intervals_that_others_compute() -> None:
    """Airway hyper-responsiveness of Bentur et al. 2009 by R's ratesci, and a case of R's PropCIs at 90 %."""
    assert (tango_lower(7, 1, 21, Z_95), tango_upper(7, 1, 21, Z_95)) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert (tango_lower(25, 28, 618), tango_upper(25, 28, 618)) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


def test_no_photo_says_nothing() -> None:
    assert (tango_lower(0, 0, 0), tango_upper(0, 0, 0)) == (-1.0, 1.0)


@pytest.mark.parametrize(("lost", "gained", "n"), COUNTS)
def test_the_bounds_lie_around_the_difference_and_within_reach(lost: int, gained: int, n: int) -> None:
    low, high = tango_lower(lost, gained, n), tango_upper(lost, gained, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert tango_lower(lost, gained, n, Z_95) <= low
    assert tango_lower(lost + 1, gained, n + 1) < low or low == pytest.approx(-1)


@pytest.mark.parametrize(
    ("lost", "gained"), [(0.0, 0.0), (0.01, 0.0), (0.03, 0.0), (0.02, 0.02), (0.03, 0.01), (0.1, 0.05)]
)
@pytest.mark.parametrize("n", [100, 400])
def test_the_bound_is_above_a_true_loss_in_about_one_of_twenty_draws(lost: float, gained: float, n: int) -> None:
    draws = np.random.default_rng(0).multinomial(n, (lost, gained, 1 - lost - gained), 2000)
    bounds = {(a, b): tango_lower(a, b, n) for a, b in {(int(a), int(b)) for a, b, _ in draws}}
    missed = np.mean([bounds[int(a), int(b)] > gained - lost for a, b, _ in draws])
    assert missed <= 0.06


def _two_sided(lost: int, gained: int) -> Fraction:
    """The exact sum over all outcomes that are no likelier than the one seen."""
    n = lost + gained
    seen = math.comb(n, lost)
    return Fraction(sum(ways for count in range(n + 1) if (ways := math.comb(n, count)) <= seen), 2**n)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 6), (5, 5), (3, 11), (40, 20), (700, 800)])
def test_mcnemar_is_the_exact_sum(lost: int, gained: int) -> None:
    assert mcnemar(lost, gained) == pytest.approx(float(_two_sided(lost, gained)), rel=1e-12)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


def test_mcnemar_of_six_that_all_were_lost() -> None:
    assert mcnemar(6, 0) == 2 / 64


@pytest.mark.parametrize(
    ("lost", "gained", "n", "tolerance"),
    [
        (0, 0, 18, 0.01),
        (0, 0, 18, 0.03),
        (1, 0, 150, 0.01),
        (4, 2, 200, 0.03),
        (2, 5, 90, 0.03),
        (9, 8, 100, 0.02),
    ],
)
def test_photos_needed_is_the_least_number_that_does(lost: int, gained: int, n: int, tolerance: float) -> None:
    needed = photos_needed(lost, gained, n, tolerance)
    assert needed is not None

    def bound(count: int) -> float:
        return tango_lower(lost * count / n, gained * count / n, count)

    assert bound(needed) > -tolerance >= bound(needed - 1)
    later = [bound(count) for count in (needed, 2 * needed, 10 * needed)]
    assert all(a < b for a, b in pairwise(later))


def test_268_photos_without_a_difference_show_a_loss_below_one_point() -> None:
    assert photos_needed(0, 0, 18, 0.01) == 268


@pytest.mark.parametrize(
    ("lost", "gained", "n", "tolerance"),
    [(1, 0, 100, 0.01), (5, 1, 100, 0.03), (0, 0, 0, 0.01), (99_999, 0, 10_000_000, 0.01)],
)
def test_a_loss_of_the_tolerance_is_never_shown_to_be_below_it(
    lost: int, gained: int, n: int, tolerance: float
) -> None:
    assert photos_needed(lost, gained, n, tolerance) is None
    if n:
        scale = MOST_PHOTOS / n
        assert tango_lower(lost * scale, gained * scale, MOST_PHOTOS) <= -tolerance
