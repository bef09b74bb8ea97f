from __future__ import annotations

import random
from itertools import pairwise

import pytest

from edge.sources.timeline import Timeline


def test_a_picture_that_waited_is_as_old_as_its_stamp_says() -> None:
    timeline = Timeline()
    for number in range(30):
        placed = timeline.place(number / 10, 1000 + number / 10)
        assert placed.taken == pytest.approx(1000 + number / 10, abs=1e-3)
    assert placed.step == pytest.approx(0.1)
    queued = timeline.place(3.0, 1003.8)
    assert queued.taken == pytest.approx(1003.0, abs=0.02)
    assert timeline.place(3.7, 1003.81).taken == pytest.approx(1003.7, abs=0.02)


def test_what_was_queued_at_the_beginning_is_found_out_by_what_comes_later() -> None:
    timeline = Timeline()
    assert timeline.place(0.0, 50.0).taken == 50.0
    timeline.place(0.5, 50.0)
    assert timeline.place(0.6, 50.1).taken == pytest.approx(50.1)
    assert timeline.place(0.7, 50.8).taken == pytest.approx(50.2, abs=0.01)


def test_a_stream_that_counts_anew_goes_on() -> None:
    timeline = Timeline()
    stamps = [timeline.place(40 + number / 10, number / 10).stamp for number in range(5)]
    stamps += [timeline.place(number / 10, 0.5 + number / 10).stamp for number in range(5)]
    assert all(later - earlier == pytest.approx(0.1) for earlier, later in pairwise(stamps))
    still = [timeline.place(0.4, 0.5 + number / 10) for number in range(5, 9)]
    assert [placed.step for placed in still] == [0, 0, 0, 0]


@pytest.mark.parametrize("rate", [0.995, 1.0, 1.005])
def test_a_clock_that_is_off_is_no_delay(rate: float) -> None:
    rng, timeline = random.Random(1), Timeline()
    for number in range(20_000):
        arrived = number / 15 + abs(rng.gauss(0, 0.01))
        placed = timeline.place(number / 15 * rate, arrived)
        assert 0 <= arrived - placed.taken < 0.2
