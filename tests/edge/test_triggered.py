"""A trigger opens a deposit, and one decision ends it."""

from __future__ import annotations

import numpy as np
import pytest

from edge.episodes import Outcome, Seen, State
from edge.motion import Sight
from edge.triggered import Triggered

RED, BLUE, EMPTY = (Seen(np.eye(3, dtype=np.float32)[index] * 0.94 + 0.02) for index in range(3))


class Played:
    """Frames at 10 a second; what was asked is answered with what lies there."""

    def __init__(self, empty: int | None = None) -> None:
        self.episodes = Triggered(empty=empty)
        self.time = 0.0
        self.outcomes: list[tuple[float, Outcome]] = []
        self.asked = 0

    def show(self, seconds: float, seen: Seen, *, moving: bool = False) -> None:
        for _ in range(round(seconds * 10)):
            self.time += 0.1
            step = self.episodes.step(Sight(self.time, occupied=True, moving=moving))
            outcome = step.outcome
            if step.classify:
                self.asked += 1
                outcome = self.episodes.answer(seen)
            if outcome:
                self.outcomes.append((self.time, outcome))

    @property
    def labels(self) -> list[int]:
        return [int(outcome.probabilities.argmax()) for _, outcome in self.outcomes]


def test_nothing_is_asked_until_it_fires() -> None:
    played = Played()
    played.show(5, RED)
    played.show(5, BLUE, moving=True)
    assert not played.asked
    assert played.episodes.finish() is None


def test_each_throw_is_one_decision_on_a_scene_that_is_never_empty() -> None:
    played = Played()
    for seen in (RED, BLUE, BLUE):
        played.episodes.fire(played.time)
        played.show(0.4, RED, moving=True)
        played.show(4, seen)
    assert played.labels == [0, 1, 1]
    assert played.episodes.state is State.DECIDED
    assert all(outcome.frames == 3 for _, outcome in played.outcomes)


def test_a_still_scene_counts_once_something_had_time_to_come() -> None:
    played = Played()
    played.episodes.fire(0.0)
    played.show(0.4, RED)
    assert not played.asked
    played.show(2, BLUE)
    assert played.labels == [1]


def test_what_never_rests_is_decided_on_glimpses() -> None:
    played = Played()
    played.episodes.fire(0.0)
    played.show(5, BLUE, moving=True)
    assert played.labels == [1]
    assert played.outcomes[0][0] == pytest.approx(3.0, abs=0.11)


def test_a_throw_that_nobody_saw_is_no_deposit() -> None:
    played = Played()
    played.episodes.fire(0.0)
    assert [played.episodes.lapse(time / 5) for time in range(40)] == [None] * 40
    assert played.episodes.state is State.DECIDED


def test_a_camera_that_is_lost_decides_on_what_was_seen() -> None:
    played = Played()
    played.episodes.fire(0.0)
    played.show(0.6, BLUE)
    outcomes = [played.episodes.lapse(played.time + late) for late in (0.4, 0.9, 1.4)]
    assert [outcome is not None for outcome in outcomes] == [False, True, False]


def test_a_second_signal_before_the_decision_is_the_same_throw() -> None:
    played = Played()
    played.episodes.fire(0.0)
    played.show(0.6, RED)
    played.episodes.fire(played.time)
    played.show(3, RED)
    assert played.labels == [0]


def test_a_class_for_emptiness_is_no_deposit() -> None:
    played = Played(empty=2)
    played.episodes.fire(0.0)
    played.show(4, EMPTY)
    assert not played.labels
    played.episodes.relabel(None)
    played.episodes.fire(played.time)
    played.show(4, EMPTY)
    assert played.labels == [2]


def test_what_is_too_old_is_forgotten() -> None:
    played = Played()
    played.episodes.fire(0.0)
    played.show(0.6, RED)
    played.episodes.forget()
    played.show(2, BLUE)
    assert played.labels == [1]
