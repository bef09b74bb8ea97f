"""A webcam on a machine that has none: its driver's answers to ioctl, and OpenCV's to whoever reads it.

It is the camera that benchmarks/usb_camera.py makes for the real uvcvideo; `make proof-camera` asks both the same.
Structures are laid out by ctypes, as a C compiler does, and not by what they test.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable
from ctypes import c_char, c_int32, c_uint32
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.sources.v4l2 import Machine

CARD, BUS = "Bin Camera", "usb-vhci_hcd.0-1"
SIZES = {"MJPG": ((640, 480), (1280, 720)), "YUYV": ((320, 240),)}
RATES = (30, 15)


class Capability(ctypes.Structure):
    _fields_ = [
        ("driver", c_char * 16), ("card", c_char * 32), ("bus", c_char * 32), ("version", c_uint32),
        ("whole", c_uint32), ("own", c_uint32), ("reserved", c_uint32 * 3),
    ]  # fmt: skip


class Format(ctypes.Structure):
    _fields_ = [
        ("index", c_uint32), ("type", c_uint32), ("flags", c_uint32), ("description", c_char * 32),
        ("code", c_uint32), ("bus", c_uint32), ("reserved", c_uint32 * 3),
    ]  # fmt: skip


class FrameSize(ctypes.Structure):
    _fields_ = [
        ("index", c_uint32), ("code", c_uint32), ("type", c_uint32), ("numbers", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]  # fmt: skip


class Interval(ctypes.Structure):
    _fields_ = [
        ("index", c_uint32), ("code", c_uint32), ("width", c_uint32), ("height", c_uint32), ("type", c_uint32),
        ("numbers", c_uint32 * 6), ("reserved", c_uint32 * 2),
    ]  # fmt: skip


class Query(ctypes.Structure):
    _fields_ = [
        ("id", c_uint32), ("type", c_uint32), ("name", c_char * 32), ("minimum", c_int32), ("maximum", c_int32),
        ("step", c_int32), ("default", c_int32), ("flags", c_uint32), ("reserved", c_uint32 * 2),
    ]  # fmt: skip


class Menu(ctypes.Structure):
    _fields_ = [("id", c_uint32), ("index", c_uint32), ("name", c_char * 32), ("reserved", c_uint32)]


class Value(ctypes.Structure):
    _fields_ = [("id", c_uint32), ("value", c_int32)]


class Buffers(ctypes.Structure):
    _fields_ = [("count", c_uint32), ("type", c_uint32), ("memory", c_uint32), ("rest", c_uint32 * 2)]


@dataclass(frozen=True)
class Dial:
    """One control of the camera."""

    kind: int
    name: str
    low: int
    high: int
    step: int
    default: int
    boss: tuple[int, int] | None = None
    """Control and value without which it can't be set."""
    menu: tuple[tuple[int, str], ...] = ()


DIALS = {
    0x980900: Dial(1, "Brightness", 0, 255, 1, 128),
    0x98090C: Dial(2, "White Balance, Automatic", 0, 1, 1, 1),
    0x980918: Dial(3, "Power Line Frequency", 0, 2, 1, 2, menu=((0, "Disabled"), (1, "50 Hz"), (2, "60 Hz"))),
    0x98091A: Dial(1, "White Balance Temperature", 2000, 6500, 10, 4000, boss=(0x98090C, 0)),
    0x9A0901: Dial(3, "Auto Exposure", 0, 3, 1, 3, menu=((1, "Manual Mode"), (3, "Aperture Priority Mode"))),
    0x9A0902: Dial(1, "Exposure Time, Absolute", 3, 2047, 1, 250, boss=(0x9A0901, 1)),
    0x9A090A: Dial(1, "Focus, Absolute", 0, 250, 5, 0, boss=(0x9A090C, 0)),
    0x9A090C: Dial(2, "Focus, Automatic Continuous", 0, 1, 1, 1),
}


class FakeCamera:
    """Its nodes lie in `dev`: video0 gives pictures, video1 what belongs to them."""

    def __init__(self, dev: Path) -> None:
        self.dev = dev
        self.dials = dict(DIALS)
        self.driver = {number: dial.default for number, dial in DIALS.items()}
        """What the driver believes to be set."""
        self.camera = dict(self.driver)
        """What the camera has."""
        self.gone = False
        self.busy = False
        self.clock: Callable[[], float] = time.monotonic
        self.reader = FakeCapture(self)
        for name, stand_in in (("video0", "/dev/null"), ("video1", "/dev/zero")):
            (dev / name).symlink_to(stand_in)

    @property
    def machine(self) -> Machine:
        return Machine(self.dev, self.ioctl, lambda path, api: self.reader, self.clock)

    def ioctl(self, file: int, request: int, buffer: bytearray) -> int:
        """Do as the driver would."""
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")
        metadata = os.fstat(file).st_rdev == os.stat("/dev/zero").st_rdev
        answer = ANSWERS.get(request)
        if answer is None or (metadata and answer[1] is not _identify):
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        data = answer[0].from_buffer_copy(bytes(buffer))
        if metadata:
            _identify(self, data)
            data.own = 0x4A00000
        else:
            answer[1](self, data)
        buffer[:] = bytes(data)
        return 0


class FakeCapture:
    """What OpenCV makes of the camera."""

    def __init__(self, camera: FakeCamera) -> None:
        self._camera = camera
        self.format, self.size, self.fps = "YUYV", SIZES["YUYV"][0], 30.0
        self.raw = self.released = False
        self.number = 0
        self.ends = 10**6
        """Pictures after which no more come."""
        self.tears = 0
        """Each picture of this number in turn is half there; 0: none."""
        self.lag = 0.01
        """Seconds between a picture and its reading; None: the driver tells no time."""
        self.epoch = 0.0
        """Seconds by which the driver's clock is another one."""
        self.stamp = 0.0

    def isOpened(self) -> bool:
        return not self._camera.gone

    def set(self, what: int, value: float) -> bool:
        if what == cv2.CAP_PROP_FOURCC:
            name = int(value).to_bytes(4, "little").decode()
            if name in SIZES:
                self.format = name
            self._resize((640, 480))
        elif what == cv2.CAP_PROP_FRAME_WIDTH:
            self.asked = int(value)
        elif what == cv2.CAP_PROP_FRAME_HEIGHT:
            self._resize((self.asked, int(value)))
        elif what == cv2.CAP_PROP_FPS:
            self.fps = min(RATES, key=lambda rate: abs(rate - value))
        elif what == cv2.CAP_PROP_CONVERT_RGB:
            self.raw = not value
        return True

    def _resize(self, wanted: tuple[int, int]) -> None:
        def apart(size: tuple[int, int]) -> int:
            return abs(size[0] * size[1] - wanted[0] * wanted[1])

        self.size = min(SIZES[self.format], key=apart)

    def get(self, what: int) -> float:
        known = {
            cv2.CAP_PROP_FOURCC: int.from_bytes(self.format.encode(), "little"),
            cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_POS_MSEC: self.stamp * 1000,
        }
        return known[what]

    def read(self) -> tuple[bool, Any]:
        if self._camera.gone or self.number >= self.ends:
            return False, None
        if not self.number:
            self._camera.camera = {number: dial.default for number, dial in DIALS.items()}
        self.number += 1
        self.stamp = self._camera.clock() - self.lag + self.epoch
        image = np.full((self.size[1], self.size[0], 3), self.number, np.uint8)
        if not self.raw:
            return True, image
        data = cv2.imencode(".jpg", image)[1].ravel()
        torn = self.tears and self.number % self.tears == 0
        return True, (data[: data.size // 2] if torn else data)[np.newaxis]

    def release(self) -> None:
        self.released = True


def _identify(camera: FakeCamera, data: Any) -> None:
    data.driver, data.card, data.bus = b"uvcvideo", CARD.encode(), BUS.encode()
    data.whole, data.own = 0x84A00001, 0x4200001


def _format(camera: FakeCamera, data: Any) -> None:
    data.code = _code([*SIZES][_index(data.index, len(SIZES))])


def _size(camera: FakeCamera, data: Any) -> None:
    sizes = SIZES[data.code.to_bytes(4, "little").decode()]
    data.type, data.numbers[:2] = 1, sizes[_index(data.index, len(sizes))]


def _interval(camera: FakeCamera, data: Any) -> None:
    assert (data.width, data.height) in SIZES[data.code.to_bytes(4, "little").decode()]
    data.type, data.numbers[:2] = 1, (1, RATES[_index(data.index, len(RATES))])


def _query(camera: FakeCamera, data: Any) -> None:
    after = data.id & 0x7FFFFFFF
    later = [number for number in sorted(camera.dials) if number > after]
    number = later[_index(0, len(later))] if data.id & 0x80000000 else data.id
    dial = _dial(camera, number)
    data.id, data.type, data.name = number, dial.kind, dial.name.encode()
    data.minimum, data.maximum, data.step, data.default = dial.low, dial.high, dial.step, dial.default


def _menu(camera: FakeCamera, data: Any) -> None:
    names = dict(_dial(camera, data.id).menu)
    if data.index not in names:
        raise OSError(errno.EINVAL, "Invalid argument")
    data.name = names[data.index].encode()


def _get(camera: FakeCamera, data: Any) -> None:
    _dial(camera, data.id)
    data.value = camera.driver[data.id]


def _set(camera: FakeCamera, data: Any) -> None:
    dial = _dial(camera, data.id)
    if dial.menu and not dial.low <= data.value <= dial.high:
        raise OSError(errno.ERANGE, "Numerical result out of range")
    if dial.menu and data.value not in dict(dial.menu):
        raise OSError(errno.EINVAL, "Invalid argument")
    if dial.boss and camera.camera[dial.boss[0]] != dial.boss[1]:
        raise OSError(errno.EACCES, "Permission denied")
    near = dial.low + (data.value - dial.low + dial.step // 2) // dial.step * dial.step
    data.value = min(max(near, dial.low), dial.high)
    camera.driver[data.id] = camera.camera[data.id] = data.value


def _buffers(camera: FakeCamera, data: Any) -> None:
    assert (data.count, data.type, data.memory) == (0, 1, 1)
    if camera.busy:
        raise OSError(errno.EBUSY, "Device or resource busy")


def _dial(camera: FakeCamera, number: int) -> Dial:
    if number not in camera.dials:
        raise OSError(errno.EINVAL, "Invalid argument")
    return camera.dials[number]


def _index(index: int, count: int) -> int:
    if index >= count:
        raise OSError(errno.EINVAL, "Invalid argument")
    return index


def _code(name: str) -> int:
    return int.from_bytes(name.encode(), "little")


ANSWERS: dict[int, tuple[Any, Callable[[FakeCamera, Any], None]]] = {
    0x80685600: (Capability, _identify),
    0xC0405602: (Format, _format),
    0xC0145608: (Buffers, _buffers),
    0xC008561B: (Value, _get),
    0xC008561C: (Value, _set),
    0xC0445624: (Query, _query),
    0xC02C5625: (Menu, _menu),
    0xC02C564A: (FrameSize, _size),
    0xC034564B: (Interval, _interval),
}
"""By the numbers that the kernel knows; tests/edge/test_v4l2.py asks a C compiler."""
