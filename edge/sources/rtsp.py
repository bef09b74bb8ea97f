"""A network camera, through FFmpeg as OpenCV has it."""

from __future__ import annotations

import os
import time
from typing import cast

import cv2

from edge import address as addresses
from edge import opencv
from edge.errors import SourceError
from edge.preprocess import Pixels
from edge.sources import rtsp_probe
from edge.sources.base import Clock
from edge.sources.device import Address, CameraSettings, Shot, check_asked
from edge.sources.timeline import Placed, Timeline

PORTS = {"rtsp": 554, "rtsps": 322}

OPTIONS = {"allowed_media_types": "video", "analyzeduration": "200000", "probesize": "65536"}
"""FFmpeg's, beside the transport. Without sound it does not turn the stream's time back when the camera's clock is
set; and it looks at 0.2 s of the stream before it decodes."""

OPEN_S = 4.0
"""Seconds that FFmpeg has to open a stream."""

FIRST_S = 4.0
"""Seconds that the first whole picture may take: an encoder begins one every few seconds."""

LATE_S = 0.5
"""Seconds that a picture may have waited. Those that waited longer are read and thrown away, so that the newer
ones behind them come."""

BEHIND_S = 0.8
"""Seconds for which all pictures may be late. Then only a new connection brings newer ones."""

TRIES = 3
"""Pictures in a row that FFmpeg may find broken before the stream is given up."""


class Rtsp:
    """An open stream. FFmpeg may block in `read` for longer than anyone should wait."""

    def __init__(self, capture: cv2.VideoCapture, shown: str, clock: Clock = time.monotonic) -> None:
        self._capture = capture
        self._shown = shown
        self._clock = clock
        self._timeline = Timeline()

    def settle(self) -> None:
        """Read until pictures come as they are made: those that were queued while the stream was opened are old.

        Raises SourceError where no picture comes, or their times stand still.
        """
        end, moved = self._clock() + FIRST_S, False
        while self._clock() < end:
            begun = self._clock()
            placed = self._grab()
            moved = moved or placed.step > 0
            if placed.step > 0 and self._clock() - begun >= placed.step / 2:
                return
        if not moved:
            raise SourceError(
                f"camera {self._shown} gives pictures whose times stand still, so that old ones can't be told "
                "from new; start the camera anew"
            )

    def read(self) -> Shot:
        """Wait for the next picture that is not late. Raises SourceError where the stream ends or falls behind."""
        since: float | None = None
        while True:
            placed = self._grab()
            arrived = self._clock()
            late = arrived - placed.taken
            if late <= LATE_S or not placed.step:
                there, image = self._capture.retrieve()
                if there:
                    return Shot(cast(Pixels, image), placed.taken, placed.stamp)
            since = arrived if since is None else since
            if arrived - since > BEHIND_S:
                raise SourceError(
                    f"camera {self._shown} falls behind: its pictures come {late:.1f} s late; choose its smaller "
                    "stream, or a better network"
                )

    def close(self) -> None:
        """End the stream."""
        self._capture.release()

    def _grab(self) -> Placed:
        """Decode the next picture. One that is broken makes FFmpeg say no; so does the end, again and again."""
        for _ in range(TRIES):
            if self._capture.grab():
                return self._timeline.place(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3, self._clock())
        raise SourceError(
            f"camera {self._shown} ended the stream, or no picture came; check its power and network"
        )


def rtsp_address(uri: str) -> Address:
    """Take `uri` as a camera's address. Raises SourceError, which shows no credentials."""
    return Address(uri, _parse(uri).shown)


def open_rtsp(address: Address, settings: CameraSettings) -> Rtsp:
    """Open `rtsp://` or `rtsps://`. For a process of its own, whose environment it changes. Raises SourceError."""
    parsed = _parse(address.uri)
    check_asked(settings, ("transport",), address)
    _quiet()
    options = {"rtsp_transport": settings.transport.value, **OPTIONS}
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{name};{value}" for name, value in options.items())
    capture = cv2.VideoCapture(address.uri, cv2.CAP_FFMPEG, _parameters())
    device = Rtsp(capture, address.shown)
    try:
        if not capture.isOpened():
            raise SourceError(f"camera {address.shown} can't be opened: {_why(parsed, settings)}")
        device.settle()
    except SourceError:
        device.close()
        raise
    return device


def _quiet() -> None:
    """Keep OpenCV and FFmpeg from writing the address, password and all, to the terminal."""
    opencv.set_log_level(opencv.SILENT)
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"


def _parameters() -> list[int]:
    return [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_S * 1e3)),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(FIRST_S * 1e3)),
        *(cv2.CAP_PROP_N_THREADS, 1),  # each further thread holds a picture back
    ]


def _why(parsed: addresses.Address, settings: CameraSettings) -> str:
    reason = rtsp_probe.why(parsed)
    if reason:
        return reason
    other = "tcp" if settings.transport.value == "udp" else "udp"
    return (
        f"it answers, but gives no picture by {settings.transport.value}; try {other} as transport, or another "
        "stream of the camera"
    )


def _parse(uri: str) -> addresses.Address:
    parsed = addresses.parse(uri, PORTS, "the camera's address", SourceError)
    # An @ without a user before it: a / or # in the password ended the host too early.
    if ("@" in uri and parsed.user is None) or not uri.isprintable() or " " in uri:
        raise SourceError(
            "the camera's address has a blank or an @ where none can be; expected "
            f"rtsp://USER:PASSWORD@HOST:554/PATH with {rtsp_probe.ESCAPES} in user and password"
        )
    return parsed
