from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from edge.episodes import State
from edge.event import Event
from edge.show import SLICE_MS, Window, annotate
from edge.sources import Frame
from tests.edge.test_jsonl import event

GREY = np.full((240, 320, 3), 120, dtype=np.uint8)


class Screen:
    """Stands for OpenCV's window: time passes while keys are waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 10.0
        self.keys: list[int] = []
        self.visible = 1.0
        self.waits: list[int] = []
        monkeypatch.setattr(cv2, "imshow", lambda title, image: None)
        monkeypatch.setattr(cv2, "waitKey", self.wait)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda title, which: self.visible)

    def wait(self, milliseconds: int) -> int:
        self.waits.append(milliseconds)
        self.now += milliseconds / 1000
        return self.keys.pop(0) if self.keys else -1

    def window(self, *, live: bool, stop: threading.Event | None = None) -> Window:
        return Window(live, stop or threading.Event(), lambda: self.now)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


def frame(time: float) -> Frame:
    return Frame(GREY, 0.0, time)


def test_a_recording_is_shown_in_its_own_time(screen: Screen) -> None:
    window = screen.window(live=False)
    for number in range(11):
        assert window.show(frame(number / 10), State.EMPTY, None)
    assert screen.now == pytest.approx(11.0, abs=0.05)
    assert max(screen.waits) <= SLICE_MS


def test_a_camera_is_shown_as_it_comes(screen: Screen) -> None:
    window = screen.window(live=True)
    for number in range(11):
        assert window.show(frame(number / 10), State.EMPTY, None)
    assert screen.waits == [1] * 11


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_a_key_ends_it(screen: Screen, key: int) -> None:
    window = screen.window(live=True)
    screen.keys = [ord("x"), key]
    assert window.show(frame(0), State.EMPTY, None)
    assert not window.show(frame(1), State.EMPTY, None)


def test_closing_the_window_ends_it(screen: Screen) -> None:
    screen.visible = 0.0
    assert not screen.window(live=True).show(frame(0), State.EMPTY, None)


def test_a_stop_is_not_kept_waiting(screen: Screen) -> None:
    stop = threading.Event()
    window = screen.window(live=False, stop=stop)
    window.show(frame(0), State.EMPTY, None)
    stop.set()
    assert window.show(frame(3600), State.EMPTY, None)
    assert screen.now < 11


@pytest.mark.parametrize("newest", [None, event(1)])
def test_the_answer_is_written_on_a_copy(newest: Event | None) -> None:
    image = GREY.copy()
    shown = annotate(image, State.RESTING, newest)
    assert (image == GREY).all()
    assert shown.shape == GREY.shape
    assert (shown != GREY).any()
