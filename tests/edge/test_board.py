"""What the daemon tells, and what is made of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from edge.board import BARS, DECISIONS, LABELS, LIVE, OTHERS, RECENT, Board
from edge.preprocess import decode
from edge.pulse import is_ready, standstills
from edge.snapshot import BOUNDS_S, Part, Vitals
from edge.sources.base import Frame, Gap
from edge.thermal import Thermal, read_thermal
from tests.boards import SERVED, STEPS_MS, a_decision

PICTURE = np.zeros((720, 1280, 3), dtype=np.uint8)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board("b", clock)


def tell(board: Board, clock: Clock, image: np.ndarray = PICTURE) -> None:
    board.frame(Frame(image, clock.now, 0.0), "resting")


def parts(board: Board) -> list[str]:
    return [one.part.value for one in standstills(board.snapshot())]


def test_what_is_told_is_read_and_stays_bounded(board: Board, clock: Clock) -> None:
    board.serves(SERVED)
    for _ in range(400):
        clock.now += 0.1
        tell(board, clock)
        for step, milliseconds in STEPS_MS.items():
            board.timed(step, milliseconds)
    kept = []
    for number in range(50):
        made = a_decision({f"label-{number}": 0.6, **{f"x{n}": 0.01 for n in range(40)}}, "unsure" * (number % 2))
        board.decision(made, PICTURE)
        kept.append(made.id)
    clock.now += 2.0
    now = board.snapshot()
    assert (now.frames, now.age_s, now.episode) == (400, pytest.approx(2.0), "resting")
    assert now.fps == pytest.approx(47 / 6.7, rel=0.01), "the rate falls while nothing comes"
    assert [one.id for one in now.decisions] == kept[: -DECISIONS - 1 : -1]
    assert len(now.decisions[0].probabilities) == BARS
    assert len(now.decided) <= LABELS + 2
    assert sum(now.decided.values()) == 50
    assert now.decided[OTHERS, "accepted"] == now.decided[OTHERS, "rejected"] == (50 - LABELS) / 2
    assert now.reasons == {"unsure": 25}
    infer = now.durations["infer"]
    assert len(infer.recent_ms) == RECENT
    assert infer.count == infer.counts[BOUNDS_S.index(0.02)] == 400
    assert infer.sum_s == pytest.approx(4.4)
    thumb = board.thumbnail(kept[-1])
    assert thumb is not None
    assert decode(thumb).shape == (108, 192, 3)
    assert board.thumbnail(kept[0]) is None
    board.serves(SERVED)
    board.refused("broken")
    assert (board.snapshot().swaps, board.snapshot().refusals, board.snapshot().refused) == (1, 1, "broken")


def test_a_live_picture_is_made_only_while_somebody_looks(board: Board, clock: Clock) -> None:
    frame = PICTURE.copy()
    tell(board, clock, frame)
    assert board.picture() is None
    tell(board, clock, frame)
    first = board.picture()
    assert first is not None
    assert first.pixels.shape == (360, LIVE, 3)
    frame[:] = 255  # as a camera does at its next read
    assert first.pixels.max() == 0
    tell(board, clock, frame)
    assert board.picture() is first, "not more often than five times a second"
    clock.now += 10.0
    tell(board, clock, frame)
    assert board.picture() is first, "nobody looked for a while"


def test_each_part_that_stands_still_is_named(board: Board, clock: Clock) -> None:
    clock.now += 500.0
    assert parts(board) == [], "loading and proving takes what it takes"
    assert not is_ready(board.snapshot())
    board.enter(Part.CAMERA)
    clock.now += 4.0
    assert parts(board) == []
    tell(board, clock)
    assert is_ready(board.snapshot())
    for part, seconds in ((Part.CAMERA, 6), (Part.INFERENCE, 6), (Part.OUTBOX, 11), (Part.LOOP, 6)):
        board.enter(part)
        clock.now += seconds
        tell(board, clock)
        assert parts(board) == [part.value]
    board.enter(Part.CAMERA)
    board.gap(Gap(0.0, clock.now, "the camera is being opened again"))
    assert parts(board) == []
    assert not is_ready(board.snapshot())
    clock.now += 3.0
    board.enter(Part.CAMERA)
    clock.now += 8.0
    board.enter(Part.CAMERA)
    (still,) = standstills(board.snapshot())
    assert (still.part, still.seconds, still.why) == (Part.CAMERA, 11.0, "the camera is being opened again")
    tell(board, clock)
    assert is_ready(board.snapshot())
    for _ in range(12):
        assert board.is_due()
        board.vitals(Vitals(unwritten=2))
        assert not board.is_due()
        clock.now += 1.0
        tell(board, clock)
        board.enter(Part.CAMERA)
    assert parts(board) == ["outbox"]
    board.vitals(Vitals())
    assert parts(board) == []


def test_a_frame_costs_the_loop_next_to_nothing(board: Board) -> None:
    frame, rounds = Frame(PICTURE, time.monotonic(), 0.0), 300

    def cost() -> float:
        begun = time.perf_counter()
        for _ in range(rounds):
            board.enter(Part.CAMERA)
            board.enter(Part.INFERENCE)
            for step in STEPS_MS:
                board.timed(step, 3.0)
            board.enter(Part.LOOP)
            board.is_due()
            board.frame(frame, "empty")
        return (time.perf_counter() - begun) / rounds

    assert min(cost() for _ in range(10)) < 50e-6  # about 5 on a machine that does nothing else


def test_heat_is_read_where_the_board_tells_it(tmp_path: Path) -> None:
    assert read_thermal(tmp_path) == Thermal()

    def put(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")

    for number, (kind, level) in enumerate(
        (("cpu-thermal", "51250"), ("gpu-thermal", "-2000"), ("cv0-thermal", ""))
    ):
        put(f"class/thermal/thermal_zone{number}/type", kind)
        put(f"class/thermal/thermal_zone{number}/temp", level)
    for number, (kind, level) in enumerate(
        (("pwm-fan", "2"), ("cpu-throttle-alert", "1"), ("gpu-throttle-alert", "0"))
    ):
        put(f"class/thermal/cooling_device{number}/type", kind)
        put(f"class/thermal/cooling_device{number}/cur_state", level)
    put("class/hwmon/hwmon4/oc1_event_cnt", "7")
    for core in range(2):
        put(f"devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count", "3")
    assert read_thermal(tmp_path) == Thermal(
        {"cpu-thermal-0": 51.25, "gpu-thermal-1": -2.0}, ("cpu-throttle-alert-1",), {"oc1": 7, "cores": 6}
    )
