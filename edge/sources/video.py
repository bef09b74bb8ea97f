"""A video file, frame by frame, as fast as it is read."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import cast

import cv2

from edge.errors import SourceError
from edge.preprocess import Pixels
from edge.sources.base import Clock, Closing, Counts, Frame

log = logging.getLogger(__name__)

FALLBACK_FPS = 30.0
"""Frames per second of a file that names no rate."""

SLACK = 0.05
"""Share of the promised frames that may be missing without an error: containers round their length, and an
edit list may hide frames that the count holds. Two frames are always forgiven."""


class Video(Closing):
    """Frames of an open file. Their time is their number over the file's rate."""

    single = False
    live = False
    broken = 0
    counts = Counts()

    def __init__(self, capture: cv2.VideoCapture, name: str, clock: Clock) -> None:
        self._capture = capture
        self._name = name
        self._clock = clock
        self._number = 0
        rate = capture.get(cv2.CAP_PROP_FPS)
        self._fps = rate if math.isfinite(rate) and rate > 0 else FALLBACK_FPS
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._promised = int(promised) if math.isfinite(promised) and promised > 0 else 0

    def read(self) -> Frame | None:
        """Return the next frame, None at the end. Raises SourceError where the file ends before its end."""
        there, image = self._capture.read()
        if not there:
            self._check_length()
            return None
        frame = Frame(cast(Pixels, image), self._clock(), self._number / self._fps)
        self._number += 1
        return frame

    def _check_length(self) -> None:
        missing = self._promised - self._number
        if not self._number or missing > max(2, SLACK * self._promised):
            raise SourceError(
                f"video {self._name} ended after {self._number} of {self._promised} frames: it is truncated or "
                "damaged; what was decided so far is written; copy the file anew"
            )
        if missing > 0:
            log.warning("video %s ended %d frames before its promised %d", self._name, missing, self._promised)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def __enter__(self) -> Video:
        return self


def open_video(uri: str, clock: Clock = time.monotonic) -> Video:
    """Open the file `uri`. Raises SourceError where it is no video that OpenCV's FFmpeg can read."""
    capture = None if _is_text(Path(uri)) else cv2.VideoCapture(uri, cv2.CAP_FFMPEG)
    if capture is None or not capture.isOpened():
        raise SourceError(
            f"{uri} is no video that can be read: it has another format, or its index is cut off; "
            "expected a file that ffprobe accepts, such as .mp4, .mkv or .avi"
        )
    return Video(capture, uri, clock)


def _is_text(path: Path) -> bool:
    """Tell whether the file begins like text, which FFmpeg would play: letters as a terminal's picture, or a
    playlist's lines as files elsewhere. Raises SourceError where it can't be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(f"video {path} can't be read: {error.strerror}") from error
    return all(byte >= ord(" ") or byte in b"\t\n\r\x1b" for byte in head)
