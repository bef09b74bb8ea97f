from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from edge.episodes import Episodes, EpisodeSettings, Outcome, Scores, Seen, State, combine
from edge.motion import Sight

FPS = 20.0
CAN, CUP = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)

Part = tuple[float, bool, bool]
"""Seconds, occupied, moving."""

EMPTY, FALL, LEAVE = (1.0, False, False), (0.4, True, True), (0.3, True, True)
REST = (1.2, True, False)


def scores(*values: float) -> Scores:
    return np.array(values, dtype=np.float32)


def sights(parts: list[Part]) -> Iterator[Sight]:
    number = 0
    for seconds, occupied, moving in parts:
        for _ in range(round(seconds * FPS)):
            yield Sight(number / FPS, occupied, moving)
            number += 1


class Played:
    """What came of a script: the outcomes with their times, and how many frames were classified."""

    def __init__(self, parts: list[Part], answer: Callable[[int], Scores] = lambda _: scores(*CAN)) -> None:
        self.episodes = Episodes()
        self.outcomes: list[tuple[float, Outcome]] = []
        self.classified = 0
        for sight in sights(parts):
            step = self.episodes.step(sight)
            outcome = step.outcome
            if step.classify:
                outcome = self.episodes.answer(Seen(answer(self.classified)))
                self.classified += 1
            if outcome:
                self.outcomes.append((sight.time, outcome))


def test_one_deposit_is_one_decision() -> None:
    played = Played([EMPTY, FALL, REST, LEAVE, EMPTY])
    (time, outcome), *others = played.outcomes
    assert not others
    assert time == pytest.approx(1.4 + 0.2)  # the third settled frame, 0.1 s apart
    assert outcome.frames == 3
    assert outcome.probabilities == pytest.approx(CAN)
    assert played.episodes.state is State.EMPTY


def shown(parts: list[tuple[float, Sight]]) -> int:
    """Show each sight for so many seconds, with the times that belong to it. Returns how many were decided."""
    episodes, number, count = Episodes(), 0, 0
    for seconds, sight in parts:
        for _ in range(round(seconds * FPS)):
            step = episodes.step(replace(sight, time=number / FPS))
            outcome = episodes.answer(Seen(scores(*CAN))) if step.classify else step.outcome
            count += outcome is not None
            number += 1
    return count


NOTHING, MOVING, STILL = Sight(0, False, False), Sight(0, True, True), Sight(0, True, False)
ARM = replace(MOVING, reaching=True)


def test_an_arm_that_paused_out_of_the_rims_sight_and_went_is_no_deposit() -> None:
    assert (
        shown([(1, NOTHING), (0.2, ARM), (0.5, MOVING), (0.2, STILL), (0.3, MOVING), (0.1, ARM), (1, NOTHING)])
        == 0
    )
    assert shown([(1, NOTHING), (0.2, ARM), (0.5, MOVING), (1.0, STILL), (0.3, MOVING), (1, NOTHING)]) == 1


def test_an_arm_that_goes_slowly_after_a_pause_is_no_deposit() -> None:
    assert shown([(1, NOTHING), (0.3, ARM), (0.3, STILL), (0.9, MOVING), (0.1, ARM), (1, NOTHING)]) == 0


def test_what_was_laid_in_and_became_part_of_the_scene_is_a_deposit() -> None:
    taken = replace(NOTHING, taken=True)
    assert shown([(1, NOTHING), (0.6, ARM), (0.2, STILL), (1 / FPS, taken), (1, NOTHING)]) == 1


def test_what_was_seen_of_a_scene_that_is_known_again_is_not_decided_on_later() -> None:
    known = replace(NOTHING, known=True)
    paused = [(1, NOTHING), (0.3, MOVING), (0.1, STILL), (0.65, MOVING)]
    assert shown([*paused, (1 / FPS, known), (1, NOTHING)]) == 0


def test_two_deposits_are_two_decisions() -> None:
    assert len(Played([EMPTY, FALL, REST, LEAVE, EMPTY, FALL, REST, LEAVE, EMPTY]).outcomes) == 2


def test_an_idle_bin_costs_no_inference() -> None:
    assert Played([(600.0, False, False)]).classified == 0
    assert Played([(60.0, False, True)]).classified == 0


def test_a_long_stay_is_one_decision_and_few_inferences() -> None:
    played = Played([EMPTY, FALL, (3600.0, True, False), LEAVE, EMPTY])
    assert len(played.outcomes) == 1
    assert played.classified <= 8


def test_flicker_of_a_frame_or_two_is_no_deposit() -> None:
    for frames in (1, 2):
        assert not Played([EMPTY, (frames / FPS, True, True), EMPTY]).outcomes


def test_what_never_settles_is_decided_when_it_is_gone() -> None:
    played = Played([EMPTY, (2.0, True, True), EMPTY])
    (time, outcome), *others = played.outcomes
    assert not others
    assert time == pytest.approx(3.0 + 0.25)
    assert outcome.frames == EpisodeSettings().glimpses


def test_what_leaves_early_is_decided_on_the_settled_frames_there_are() -> None:
    played = Played([EMPTY, FALL, (0.1, True, False), LEAVE, EMPTY])
    assert [outcome.frames for _, outcome in played.outcomes] == [1]


def test_moving_frames_do_not_count_where_settled_ones_are() -> None:
    # Four glimpses of the fall say cup; the three settled frames say can.
    played = Played([EMPTY, FALL, REST, LEAVE, EMPTY], lambda number: scores(*(CUP if number < 4 else CAN)))
    assert played.outcomes[0][1].probabilities.argmax() == 0
    assert played.outcomes[0][1].frames == 3


def test_frames_that_disagree_are_decided_by_their_mean_at_the_limit() -> None:
    # After the fall's four glimpses: can, cup, can, cup, ... never three alike; nine in all, five of them can.
    played = Played(
        [EMPTY, FALL, (3.0, True, False), LEAVE, EMPTY], lambda number: scores(*(CUP if number % 2 else CAN))
    )
    (_, outcome), *others = played.outcomes
    assert not others
    assert outcome.frames == 9
    assert outcome.probabilities.argmax() == 0
    assert outcome.probabilities[1] > 0.2


def test_a_gap_shorter_than_the_hysteresis_is_the_same_deposit() -> None:
    assert len(Played([EMPTY, FALL, REST, (0.2, False, False), REST, EMPTY]).outcomes) == 1
    assert len(Played([EMPTY, FALL, REST, (0.4, False, False), REST, EMPTY]).outcomes) == 2


def test_the_end_of_the_source_decides_what_is_open() -> None:
    open_one = Played([EMPTY, FALL, (0.1, True, False)])
    assert not open_one.outcomes
    ended = open_one.episodes.finish()
    assert ended
    assert ended.frames == 1
    assert open_one.episodes.finish() is None
    assert Played([EMPTY, FALL, REST]).episodes.finish() is None


def test_episodes_hold_no_more_than_their_settings_allow() -> None:
    played = Played([EMPTY, (600.0, True, True)])
    assert len(played.episodes._answers._glimpses) == EpisodeSettings().glimpses


def test_one_frame_that_says_never_does_not_outvote_the_others() -> None:
    sure, never = Seen(scores(0.98, 0.02)), Seen(scores(0.0, 1.0))
    assert combine([sure] * 8 + [never]).probabilities.argmax() == 0
    assert combine([sure]).probabilities == pytest.approx(sure.probabilities, abs=1e-6)
    assert combine([Seen(scores(0.5, 0.5)), Seen(scores(0.9, 0.1))]).probabilities.sum() == pytest.approx(1)


def test_one_frame_with_a_hand_in_it_does_not_make_a_stranger() -> None:
    seen = [Seen(scores(*CAN), strangeness) for strangeness in (1.0, 1e6, 1.2)]
    assert combine(seen).strangeness == pytest.approx(1.2)
    assert combine(seen[:1]).strangeness == 1.0
    assert combine([Seen(scores(*CAN))] * 3).strangeness is None
