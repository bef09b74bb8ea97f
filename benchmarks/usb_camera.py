"""A USB camera made of software: plugged in by USB/IP, so that the kernel's own uvcvideo drives it.

It behaves as webcams do. Exposure, white balance and focus can be set only where it does not choose by itself, and
it forgets all of them when pictures begin to flow. It needs root and the modules vhci-hcd and uvcvideo.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from benchmarks.usb_video import LENS, PAYLOAD, PROBE, PROCESSING, RATES, SIZES, agreed, standard

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
HIGH_SPEED = 3
DEVICE_ID = 0x10001

HEAD = struct.Struct(">5I")
SUBMIT = struct.Struct(">I4i8s")
ANSWER = struct.Struct(">5I5i8x")
SETUP = struct.Struct("<2B3H")

UNLINK = 2
ECONNRESET, EPIPE = -104, -32
SET_CUR, GET_CUR, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF = 0x01, *range(0x81, 0x88)

BROKEN = (0, 0, 255)
"""BGR of a picture whose second half is lost."""


@dataclass
class Dial:
    """One control as the camera keeps it."""

    bytes: int
    low: int
    high: int
    step: int
    default: int
    boss: tuple[int, int] | None = None
    """The control that must be off."""
    value: int = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.default


AE_MODE, EXPOSURE, FOCUS, AUTO_FOCUS = (LENS, 2), (LENS, 4), (LENS, 6), (LENS, 8)
BRIGHTNESS, MAINS, TEMPERATURE, AUTO_WHITE = (PROCESSING, 2), (PROCESSING, 5), (PROCESSING, 10), (PROCESSING, 11)
MANUAL, APERTURE_PRIORITY = 1, 8
HELD = (AE_MODE, EXPOSURE, AUTO_WHITE, TEMPERATURE, AUTO_FOCUS, FOCUS, MAINS)


def dials() -> dict[tuple[int, int], Dial]:
    return {
        AE_MODE: Dial(1, 0, 0, MANUAL | APERTURE_PRIORITY, APERTURE_PRIORITY),
        EXPOSURE: Dial(4, 3, 2047, 1, 250, boss=AE_MODE),
        FOCUS: Dial(2, 0, 250, 5, 0, boss=AUTO_FOCUS),
        AUTO_FOCUS: Dial(1, 0, 1, 1, 1),
        BRIGHTNESS: Dial(2, 0, 255, 1, 128),
        MAINS: Dial(1, 0, 2, 1, 2),
        TEMPERATURE: Dial(2, 2000, 6500, 10, 4000, boss=AUTO_WHITE),
        AUTO_WHITE: Dial(1, 0, 1, 1, 1),
    }


class UsbCamera:
    """A camera that may be plugged in and out."""

    def __init__(self) -> None:
        self.dials = dials()
        self.tears = 0
        """Each picture of this number in turn is sent by half; 0: none."""
        self.silent = 0
        """1: it gives no pictures."""
        self._cable: Cable | None = None

    def plug(self, port: int = 0) -> None:
        """Plug it in."""
        mine, kernels = socket.socketpair()
        self.dials = dials()
        self._cable = Cable(self, mine)
        _patiently(lambda: (VHCI / "attach").write_text(f"{port} {kernels.fileno()} {DEVICE_ID} {HIGH_SPEED}"))
        kernels.close()
        for work in (self._cable.serve, self._cable.film):
            threading.Thread(target=work, daemon=True).start()

    def unplug(self) -> None:
        """Pull the plug."""
        if self._cable:
            self._cable.cut()
            self._cable = None


class Cable:
    """One plugging of a camera: what the kernel asks and what it is answered."""

    def __init__(self, camera: UsbCamera, wire: socket.socket) -> None:
        self._camera = camera
        self._wire = wire
        self._waiting: deque[int] = deque()
        """Requests for a part of a picture."""
        self._there = threading.Condition()
        """Held while something is sent, too: the kernel cuts a cable that answers what it has taken back."""
        self._probe = agreed(1, 1, 10_000_000 // RATES[0])
        self._whole = True

    def cut(self) -> None:
        """End it."""
        self._whole = False
        self._wire.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Answer the kernel until the cable is cut."""
        with self._wire:
            try:
                while self._one():
                    pass
            except OSError:
                return

    def film(self) -> None:
        """Send pictures while the kernel asks for them."""
        number = 0
        try:
            while self._whole:
                _, form, frame, interval, *_ = PROBE.unpack(self._probe)
                time.sleep(interval / 1e7)
                with self._there:
                    if not self._there.wait_for(lambda: self._waiting, 0.2) or self._camera.silent:
                        continue
                number += 1
                torn = bool(self._camera.tears) and number % self._camera.tears == 0
                for payload in _payloads(_picture(form, frame, number, torn), number):
                    self._deliver(payload)
        except OSError:
            return

    def _one(self) -> bool:
        head = self._exactly(48)
        if not head:
            return False
        command, number, _, inward, endpoint = HEAD.unpack_from(head)
        if command == UNLINK:
            self._take_back(number, *struct.unpack_from(">I", head, 20))
            return True
        _, length, _, _, _, setup = SUBMIT.unpack_from(head, 20)
        data = b"" if inward else self._exactly(length)
        if endpoint:
            with self._there:
                self._waiting.append(number)
                self._there.notify_all()
            return True
        answer = self._control(setup, data)
        status = EPIPE if answer is None else 0
        answer = (answer or b"")[:length] if inward else b""
        size = len(answer) if inward else length
        with self._there:
            self._wire.sendall(ANSWER.pack(3, number, 0, 0, 0, status, size, 0, 0, 0) + answer)
        return True

    def _take_back(self, number: int, victim: int) -> None:
        with self._there:
            known = victim in self._waiting
            if known:
                self._waiting.remove(victim)
            self._wire.sendall(struct.pack(">5Ii24x", 4, number, 0, 0, 0, ECONNRESET if known else 0))

    def _deliver(self, payload: bytes) -> None:
        with self._there:
            if not self._there.wait_for(lambda: self._waiting, 1):
                return
            number = self._waiting.popleft()
            self._wire.sendall(ANSWER.pack(3, number, 0, 0, 0, 0, len(payload), 0, 0, 0) + payload)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self._wire.recv(length - len(data))
            if not more:
                return b""
            data += more
        return data

    def _control(self, setup: bytes, data: bytes) -> bytes | None:
        """Answer a request to endpoint 0. None: refused."""
        kind, request, value, index, _ = SETUP.unpack(setup)
        if kind & 0x60 == 0:
            return standard(request, value) if kind & 0x80 else b""
        if index >> 8 == 0:
            return self._stream(request, value >> 8, data) if index == 1 else None
        dial = self._camera.dials.get((index >> 8, value >> 8))
        if dial is None:
            return None
        if request == SET_CUR:
            return self._turn(dial, int.from_bytes(data, "little"))
        told = {
            GET_CUR: dial.value, GET_MIN: dial.low, GET_MAX: dial.high, GET_RES: dial.step, GET_DEF: dial.default
        }  # fmt: skip
        if request == GET_INFO:
            return b"\3"
        if request == GET_LEN:
            return dial.bytes.to_bytes(2, "little")
        return told[request].to_bytes(dial.bytes, "little")

    def _turn(self, dial: Dial, value: int) -> bytes | None:
        if dial.boss and self._camera.dials[dial.boss].value not in (0, MANUAL * (dial.boss == AE_MODE)):
            return None
        dial.value = value
        return b""

    def _stream(self, request: int, selector: int, data: bytes) -> bytes | None:
        """Agree on a format: 1 tries one, 2 begins with it."""
        if selector not in (1, 2):
            return None
        if request == SET_CUR:
            _, form, frame, interval, *_ = PROBE.unpack(data)
            self._probe = agreed(form, frame, interval)
            if selector == 2:
                for dial in self._camera.dials.values():
                    dial.value = dial.default
            return b""
        return {GET_LEN: PROBE.size.to_bytes(2, "little"), GET_INFO: b"\3"}.get(request, self._probe)


def _patiently(action: Callable[[], object], seconds: float = 20) -> None:
    """Do it as soon as the port is free."""
    end = time.monotonic() + seconds
    while True:
        try:
            action()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _picture(form: int, frame: int, number: int, torn: bool) -> bytes:
    """Grey that brightens from picture to picture; a torn one is red and ends in the middle."""
    width, height = SIZES["MJPG" if form == 1 else "YUYV"][frame - 1]
    level = 40 + number * 7 % 150
    if form == 2:
        return bytes((level, 128)) * (width * height)
    image = np.full((height, width, 3), BROKEN if torn else level, np.uint8)
    if torn:
        image = (
            np.random.default_rng(number).integers(0, 99, (height, width, 3)).astype(np.uint8)
            + np.array(BROKEN, np.uint8) // 2
        )
    data = cv2.imencode(".jpg", image)[1].tobytes()
    return data[: len(data) // 2] if torn else data


def _payloads(picture: bytes, number: int) -> Iterator[bytes]:
    step = PAYLOAD - 2
    for start in range(0, len(picture), step):
        last = start + step >= len(picture)
        yield bytes((2, 0x80 | number & 1 | last << 1)) + picture[start : start + step]


def main() -> None:
    """Do as stdin says."""
    camera = UsbCamera()
    for line in sys.stdin:
        word, value = line.split()
        if word in ("plug", "unplug"):
            getattr(camera, word)()
        elif word != "held":
            setattr(camera, word, int(value))
        print(*(camera.dials[dial].value for dial in HELD), flush=True)
