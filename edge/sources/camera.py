"""A camera on this machine, through V4L2."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import cv2

from edge.errors import SourceError
from edge.preprocess import Pixels
from edge.sources.base import Clock, Closing, Frame


class Camera(Closing):
    """Frames of an open camera, as they come."""

    single = False
    live = True
    broken = 0

    def __init__(self, capture: cv2.VideoCapture, device: str, clock: Clock) -> None:
        self._capture = capture
        self._device = device
        self._clock = clock
        self._started: float | None = None
        self._number = 0

    def read(self) -> Frame:
        """Wait for the next frame. Raises SourceError where the camera gives none."""
        there, image = self._capture.read()
        captured = self._clock()
        if not there:
            raise SourceError(
                f"camera {self._device} stopped giving frames after {self._number}: "
                "check its cable and power, then start again"
            )
        self._number += 1
        if self._started is None:
            self._started = captured
        return Frame(cast(Pixels, image), captured, captured - self._started)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()

    def __enter__(self) -> Camera:
        return self


def open_camera(uri: str, clock: Clock = time.monotonic) -> Camera:
    """Open `0` or `/dev/video0`. Raises SourceError naming the device and those that exist."""
    device = f"/dev/video{int(uri)}" if uri.isdecimal() else uri
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceError(f"camera {device} can't be opened: {_why(Path(device))}")
    return Camera(capture, device, clock)


def _why(device: Path) -> str:
    if device.exists():
        return (
            "it is there, but gives no frames; close other programs that use it, take another of its "
            "/dev/video* nodes, or join the group video (usermod -aG video $USER)"
        )
    found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
    return f"no such device (this machine has: {found}); plug the camera in, or name one that is there"
