import math

import pytest

from edge.intervals import wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
        (1, 1, 0.2065, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_known_values(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_no_trial_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_ends_stay_in_range_and_around_the_share() -> None:
    for n in (1, 2, 7, 100, 10**6):
        for hits in {0, 1, n // 2, n - 1, n}:
            low, high = wilson(hits, n)
            assert 0 <= low <= hits / n <= high <= 1
            mirrored = wilson(n - hits, n)
            assert math.isclose(low, 1 - mirrored[1], abs_tol=1e-12)
