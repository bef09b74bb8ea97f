"""A camera on a Jetson's CSI connector, through GStreamer."""

from __future__ import annotations

import re
import time
from fractions import Fraction
from typing import Any, Protocol, cast

import cv2
import numpy as np

from edge.errors import SourceError
from edge.preprocess import Pixels
from edge.sources.base import Clock
from edge.sources.device import Address, CameraSettings, Device, Shot, check_asked

SINK = "pictures"

WAIT_NS = 200_000_000
"""Nanoseconds between two looks for a message of the pipeline."""

OLDEST_S = 5.0
"""Seconds. A picture that seems older has a time of another clock."""

PACKAGES = "apt-get install python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base"


class Capture(Protocol):
    """What is needed of cv2.VideoCapture."""

    def read(self) -> tuple[bool, Any]:
        """Wait for the next picture."""

    def release(self) -> None:
        """Stop."""


class Pipeline:
    """A running pipeline that ends in an appsink, read through PyGObject."""

    def __init__(self, text: str, shown: str, clock: Clock = time.monotonic) -> None:
        """Start it. Raises SourceError where an element is missing; ImportError, ValueError without GStreamer."""
        import gi  # noqa: PLC0415  Debian's, and only for this source

        gi.require_version("Gst", "1.0")
        from gi.repository import GLib, Gst  # noqa: PLC0415

        Gst.init(None)
        self._gst, self._shown, self._clock = Gst, shown, clock
        try:
            self._pipeline = Gst.parse_launch(text)
        except GLib.Error as error:
            raise SourceError(f"camera {shown} can't be opened: {_missing(error.message)}") from None
        self._sink = self._pipeline.get_by_name(SINK)
        self._bus = self._pipeline.get_bus()
        if self._pipeline.set_state(Gst.State.PLAYING) == Gst.StateChangeReturn.FAILURE:
            reason = self._trouble() or "the pipeline does not start"
            self.close()
            raise SourceError(f"camera {shown} can't be opened: {reason}")

    def read(self) -> Shot:
        """Wait for the next picture. Raises SourceError where the pipeline ends."""
        while True:
            sample = self._sink.emit("try-pull-sample", WAIT_NS)
            if sample is not None:
                return self._shot(sample)
            if reason := self._trouble():
                raise SourceError(f"camera {self._shown} gives no pictures: {reason}")

    def close(self) -> None:
        """Stop the pipeline."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _shot(self, sample: Any) -> Shot:
        shape = sample.get_caps().get_structure(0)
        width, height = shape.get_value("width"), shape.get_value("height")
        buffer = sample.get_buffer()
        there, mapped = buffer.map(self._gst.MapFlags.READ)
        if not there:
            raise SourceError(f"camera {self._shown} gave a picture that can't be read; start it again")
        try:
            image = pixels(mapped.data, width, height)
        finally:
            buffer.unmap(mapped)
        stamp = buffer.pts / 1e9 if buffer.pts != self._gst.CLOCK_TIME_NONE else None
        return Shot(image, self._captured(stamp), stamp)

    def _captured(self, stamp: float | None) -> float:
        now, clock = self._clock(), self._pipeline.get_clock()
        if stamp is None or clock is None:
            return now
        age = (clock.get_time() - self._pipeline.get_base_time()) / 1e9 - stamp
        return now - age if 0 <= age <= OLDEST_S else now

    def _trouble(self) -> str:
        """Say why the pipeline ended; empty where it goes on."""
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.EOS
        message = self._bus.timed_pop_filtered(0, kinds)
        if message is None:
            return ""
        if message.type == self._gst.MessageType.EOS:
            return "its stream has ended; check the ribbon cable"
        return str(message.parse_error()[0].message).strip().rstrip(".")


class OpenCv:
    """The same through an OpenCV that was built with GStreamer, as NVIDIA's is."""

    def __init__(self, capture: Capture, shown: str, clock: Clock = time.monotonic) -> None:
        self._capture, self._shown, self._clock = capture, shown, clock

    def read(self) -> Shot:
        """Wait for the next picture. Raises SourceError where the pipeline ends."""
        there, image = self._capture.read()
        if not there:
            raise SourceError(f"camera {self._shown} gives no pictures; check the ribbon cable and nvargus-daemon")
        return Shot(cast(Pixels, image), self._clock())

    def close(self) -> None:
        """Stop the pipeline."""
        self._capture.release()


def csi_address(uri: str) -> Address:
    """Take `csi://0` as a camera's address. Raises SourceError."""
    _sensor(uri)
    return Address(uri, uri)


def open_csi(address: Address, settings: CameraSettings) -> Device:
    """Open `csi://0` by PyGObject, or by an OpenCV that has GStreamer. Raises SourceError."""
    check_asked(settings, ("size", "fps"), address)
    return open_pipeline(pipeline(_sensor(address.uri), settings), address.shown)


def open_pipeline(text: str, shown: str) -> Device:
    """Open a pipeline whose appsink is called SINK. Raises SourceError."""
    try:
        return Pipeline(text, shown)
    except (ImportError, ValueError):  # no PyGObject, or no GStreamer for it
        capture = cv2.VideoCapture(text, cv2.CAP_GSTREAMER)
    if capture.isOpened():
        return OpenCv(capture, shown)
    raise SourceError(
        f"camera {shown} needs GStreamer for Python, or an OpenCV that has it and opens the camera; {PACKAGES}, "
        "and make the virtual environment with --system-site-packages"
    )


def pipeline(sensor: int, settings: CameraSettings) -> str:
    """Write the pipeline of a sensor. What is not asked for is the driver's choice."""
    caps = "video/x-raw(memory:NVMM)"
    if settings.size:
        caps += f",width={settings.size[0]},height={settings.size[1]}"
    if settings.fps:
        rate = Fraction(settings.fps).limit_denominator(1001)
        caps += f",framerate={rate.numerator}/{rate.denominator}"
    return f"nvarguscamerasrc sensor-id={sensor} ! {caps} ! nvvidconv ! video/x-raw,format=BGRx ! {TAIL}"


TAIL = f"videoconvert ! video/x-raw,format=BGR ! appsink name={SINK} drop=true max-buffers=1 sync=false"
"""From any picture in memory to the newest one in BGR."""


def pixels(data: bytes | memoryview, width: int, height: int) -> Pixels:
    """Copy a picture out of GStreamer's memory, where each row is filled up to 4 bytes."""
    rows = np.frombuffer(data, np.uint8).reshape(height, -1)
    return cast(Pixels, rows[:, : width * 3].reshape(height, width, 3).copy())


def _sensor(uri: str) -> int:
    number = re.fullmatch(r"csi://(\d{1,2})/?", uri)
    if not number:
        raise SourceError(f"camera {uri} has no number; expected csi://0, csi://1 or further")
    return int(number[1])


def _missing(message: str) -> str:
    element = re.search(r'no element "(\w+)"', message)
    if not element:
        return message
    package = "nvidia-l4t-gstreamer" if element[1].startswith("nv") else "gstreamer1.0-plugins-base"
    return f"GStreamer has no {element[1]}; apt-get install {package}"
