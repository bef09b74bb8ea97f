"""A V4L2 node: what a device is, offers and controls, asked of its driver by ioctl.

Names, numbers and layouts are those of linux/videodev2.h and linux/v4l2-controls.h, the same on x86-64 and
aarch64. Controls go by G_CTRL and S_CTRL rather than by their extended forms: all that are set here have 32 bits,
and these carry no pointers.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.sources.base import Closing

Ioctl = Callable[[int, int, bytearray], object]
"""As fcntl.ioctl: file, request, argument that is changed in place. Raises OSError."""

Size = tuple[int, int]
"""Width and height in pixels."""

Sizes = tuple[tuple[Size, Size], ...]
"""Each the smallest and the largest of a range: often the same."""

CAPABILITY = struct.Struct("=16s32s32s3I12x")
FORMAT = struct.Struct("=3I32s2I12x")
SIZE = struct.Struct("=9I8x")
RATE = struct.Struct("=11I8x")
CONTROL = struct.Struct("=2I32s4iI8x")
MENU = struct.Struct("=2I32s4x")
VALUE = struct.Struct("=Ii")
BUFFERS = struct.Struct("=5I")


def _request(direction: int, number: int, layout: struct.Struct) -> int:
    """Return an ioctl's number: _IOC of asm-generic/ioctl.h."""
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


_READ, _BOTH = 2, 3
QUERYCAP = _request(_READ, 0, CAPABILITY)
ENUM_FMT = _request(_BOTH, 2, FORMAT)
REQBUFS = _request(_BOTH, 8, BUFFERS)
G_CTRL = _request(_BOTH, 27, VALUE)
S_CTRL = _request(_BOTH, 28, VALUE)
QUERYCTRL = _request(_BOTH, 36, CONTROL)
QUERYMENU = _request(_BOTH, 37, MENU)
ENUM_FRAMESIZES = _request(_BOTH, 74, SIZE)
ENUM_FRAMEINTERVALS = _request(_BOTH, 75, RATE)

CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE = 0x1, 0x1000
CAP_META_CAPTURE = 0x800000
CAP_DEVICE_CAPS = 0x80000000
BUF_VIDEO_CAPTURE, BUF_VIDEO_CAPTURE_MPLANE = 1, 9
MEMORY_MMAP = 1
DISCRETE = 1
"""Type of a size or rate that stands alone; others are ranges."""
TYPE_MENU, TYPE_CLASS, TYPE_INTEGER_MENU = 3, 6, 9
FLAG_DISABLED = 0x1
FLAG_NEXT = 0x80000000


@dataclass(frozen=True)
class Identity:
    """What a node says it is."""

    card: str
    """Name of the device."""
    bus: str
    """Where it is plugged in: the same for all nodes of one device."""
    flags: int
    """CAP_* of this node."""

    @property
    def captures(self) -> bool:
        """Whether pictures come from it."""
        return bool(self.flags & (CAP_VIDEO_CAPTURE | CAP_VIDEO_CAPTURE_MPLANE))


@dataclass(frozen=True)
class Control:
    """One control, and what it takes."""

    number: int
    """V4L2_CID_*."""
    name: str
    """As the driver calls it."""
    kind: int
    """TYPE_*."""
    minimum: int
    maximum: int
    step: int

    @property
    def span(self) -> str:
        """What it takes, as text."""
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"{self.minimum} to {self.maximum}{steps}"


class Node(Closing):
    """An open node."""

    def __init__(self, file: int, ioctl: Ioctl) -> None:
        self._file = file
        self._ioctl = ioctl

    @classmethod
    def open(cls, path: Path, ioctl: Ioctl = fcntl.ioctl) -> Node:
        """Open the device. Raises OSError."""
        return cls(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), ioctl)

    def identity(self) -> Identity:
        """Return what it is. Raises OSError: ENOTTY where it is no V4L2 device, ENODEV where it is gone."""
        _, card, bus, _, whole, own = self._ask(QUERYCAP, CAPABILITY)
        return Identity(_text(card), _text(bus), own if whole & CAP_DEVICE_CAPS else whole)

    def formats(self) -> tuple[str, ...]:
        """Return the pixel formats on offer, four letters each."""
        kind = self._kind()
        found = self._listed(lambda number: (number, kind, 0, b"", 0, 0), ENUM_FMT, FORMAT)
        return tuple(letters(answer[4]) for answer in found)

    def sizes(self, fourcc: str) -> Sizes:
        """Return the sizes on offer."""
        found: list[tuple[Size, Size]] = []
        code = _code(fourcc)
        for _, _, kind, *numbers in self._listed(lambda n: (n, code, *[0] * 7), ENUM_FRAMESIZES, SIZE):
            if kind != DISCRETE:
                return (((numbers[0], numbers[3]), (numbers[1], numbers[4])),)
            found.append(((numbers[0], numbers[1]),) * 2)
        return tuple(found)

    def rates(self, fourcc: str, size: Size) -> tuple[float, ...]:
        """Return the frames a second on offer, or the fewest and the most of a range."""
        found = []
        code = _code(fourcc)
        for *_, kind, a, b, c, d, _, _ in self._listed(
            lambda n: (n, code, *size, *[0] * 7), ENUM_FRAMEINTERVALS, RATE
        ):
            if kind != DISCRETE:  # intervals, of which the shortest comes first
                return (d / max(1, c), b / max(1, a))
            found.append(b / max(1, a))
        return tuple(sorted(found))

    def busy(self) -> bool:
        """Whether another program takes pictures from it."""
        try:
            self._ask(REQBUFS, BUFFERS, 0, self._kind(), MEMORY_MMAP, 0, 0)
        except OSError as error:
            return error.errno == errno.EBUSY
        return False

    def controls(self) -> dict[int, Control]:
        """Return its controls by number."""
        found: dict[int, Control] = {}
        number = 0
        while True:
            try:
                answer = self._ask(QUERYCTRL, CONTROL, number | FLAG_NEXT, 0, b"", 0, 0, 0, 0, 0)
            except OSError:
                return found
            number, kind, name, minimum, maximum, step, _, flags = answer
            if not flags & FLAG_DISABLED and kind != TYPE_CLASS:
                found[number] = Control(number, _text(name), kind, minimum, maximum, step)

    def menu(self, control: Control) -> dict[int, str]:
        """Return what can be chosen, by value. Numbers that the driver leaves out are no choice."""
        found = {}
        for value in range(control.minimum, control.maximum + 1):
            try:
                found[value] = _text(self._ask(QUERYMENU, MENU, control.number, value, b"")[2])
            except OSError:
                continue
        return found

    def get(self, number: int) -> int:
        """Return a control's value. Raises OSError."""
        return int(self._ask(G_CTRL, VALUE, number, 0)[1])

    def set(self, number: int, value: int) -> None:
        """Set a control. Raises OSError."""
        self._ask(S_CTRL, VALUE, number, value)

    def close(self) -> None:
        """Close the node. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Node:
        return self

    def _kind(self) -> int:
        return BUF_VIDEO_CAPTURE if self.identity().flags & CAP_VIDEO_CAPTURE else BUF_VIDEO_CAPTURE_MPLANE

    def _ask(self, request: int, layout: struct.Struct, *values: Any) -> tuple[Any, ...]:
        buffer = bytearray(layout.pack(*values) if values else layout.size)
        self._ioctl(self._file, request, buffer)
        return layout.unpack(buffer)

    def _listed(
        self, question: Callable[[int], tuple[Any, ...]], request: int, layout: struct.Struct
    ) -> Iterator[tuple[Any, ...]]:
        """Ask for number 0, 1, 2, until the driver has no more."""
        for number in range(256):
            try:
                yield self._ask(request, layout, *question(number))
            except OSError:
                return


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def letters(code: int) -> str:
    """Return the name of a pixel format, four letters or fewer."""
    return code.to_bytes(4, "little").decode("latin-1").rstrip(" ")


def _code(fourcc: str) -> int:
    return int.from_bytes(fourcc.ljust(4).encode("latin-1"), "little")
