"""A window with the picture and the answer."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from types import TracebackType

import cv2

from edge.decision import Decision
from edge.episodes import State
from edge.errors import UsageError
from edge.event import Deposit, Draft
from edge.preprocess import Pixels
from edge.sources import Clock, Frame

TITLE = "edge-run (q closes)"
KEYS = (ord("q"), ord("Q"), 27)
"""What ends it: q and Esc."""

COLOURS = {Decision.ACCEPTED: (80, 220, 80), Decision.REJECTED: (60, 60, 255)}
"""Of the answer, BGR."""

SLICE_MS = 20
"""Longest wait without a look at `stop`, in milliseconds."""

_PROBE = "import cv2; cv2.namedWindow('edge-run'); cv2.waitKey(1); cv2.destroyAllWindows()"


class Window:
    """Shows frames; those of a recording in its own time, those of a camera as they come."""

    def __init__(self, live: bool, stop: threading.Event, clock: Clock = time.monotonic) -> None:
        self._live = live
        self._stop = stop
        self._clock = clock
        self._offset: float | None = None
        """The clock less the source's time, at the first frame."""

    def show(self, frame: Frame, state: State, newest: Draft[Deposit] | None) -> bool:
        """Show the frame with the newest answer, until the next is due. False where the viewer closed it."""
        cv2.imshow(TITLE, annotate(frame.image, state, newest))
        now = self._clock()
        if self._offset is None:
            self._offset = now - frame.time
        due = now if self._live else frame.time + self._offset
        while True:
            rest = round((due - self._clock()) * 1000)
            if cv2.waitKey(min(SLICE_MS, max(1, rest))) & 0xFF in KEYS:
                return False
            if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return False
            if self._clock() >= due or self._stop.is_set():
                return True

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()

    def __enter__(self) -> Window:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def annotate(image: Pixels, state: State, newest: Draft[Deposit] | None) -> Pixels:
    """Return a copy of the BGR picture with the state and the newest decision written on it."""
    out: Pixels = image.copy()
    scale = max(0.5, image.shape[0] / 720)
    lines = [(state.value, (255, 255, 255))]
    if newest:
        data = newest.data
        why = f": {data.reason}" if data.reason else ""
        text = f"{data.label} {data.confidence:.0%} {data.decision.value}{why}"
        lines.insert(0, (text, COLOURS[data.decision]))
    for number, (text, colour) in enumerate(lines, start=1):
        at = (round(10 * scale), round(30 * scale * number))
        for ink, width in (((0, 0, 0), 4), (colour, 1)):  # a dark rim keeps it legible on any ground
            cv2.putText(
                out, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(width * scale)), cv2.LINE_AA
            )
    return out


def check() -> None:
    """Open a window in another process first: where that can't be done, Qt ends the process that tries.

    Raises UsageError with what went wrong.
    """
    command = [sys.executable, "-c", _PROBE]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise UsageError("--show can't open a window: the display does not answer; leave --show out") from None
    if tried.returncode:
        lines = [line for line in tried.stderr.splitlines() if line.strip()]
        raise UsageError(
            f"--show can't open a window ({lines[0].strip() if lines else 'no reason given'}); "
            "leave --show out, or run where DISPLAY leads to a desktop"
        )
