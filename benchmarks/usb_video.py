"""What a USB camera made of software says of itself: its descriptors, and the formats it agrees to (UVC 1.0)."""

from __future__ import annotations

import struct

CARD, SERIAL = "Bin Camera", "0001"
SIZES = {"MJPG": ((640, 480), (1280, 720)), "YUYV": ((320, 240),)}
RATES = (30, 15)
PAYLOAD = 16384

PROBE = struct.Struct("<H2BI5H2I")

LENS, PROCESSING = 1, 2
"""Entities that have controls."""


def agreed(form: int, frame: int, interval: int) -> bytes:
    """Return the nearest that the camera can do: format, size and interval in units of 100 ns."""
    form = form if form in (1, 2) else 1
    sizes = SIZES["MJPG" if form == 1 else "YUYV"]
    frame = frame if 1 <= frame <= len(sizes) else 1
    width, height = sizes[frame - 1]
    intervals = [10_000_000 // rate for rate in RATES]
    interval = min(intervals, key=lambda known: abs(known - interval))
    return PROBE.pack(0, form, frame, interval, 0, 0, 0, 0, 0, width * height * 2, PAYLOAD)


def standard(request: int, value: int) -> bytes | None:
    """Answer what is asked of every USB device. None: refused."""
    if request == 0:  # status
        return b"\1\0"
    if request == 10:  # interface
        return b"\0"
    if request != 6:
        return None
    kind, index = divmod(value, 256)
    if kind == 1:
        return struct.pack("<2BH4B3H4B", 18, 1, 0x200, 0xEF, 2, 1, 64, 0x1D6B, 0x0104, 0x100, 1, 2, 3, 1)
    if kind == 2:
        return _configuration()
    if kind == 3:
        text = {1: "binsight", 2: CARD, 3: SERIAL}.get(index)
        data = struct.pack("<H", 0x409) if text is None else text.encode("utf-16-le")
        return bytes((len(data) + 2, 3)) + data
    return None


def _configuration() -> bytes:
    """Describe one camera terminal, one processing unit, and MJPG and YUYV over a bulk endpoint (UVC 1.0)."""
    units = _own(2, "<BHBB3HB3s", LENS, 0x201, 0, 0, 0, 0, 0, 3, b"\x2a\x00\x02")
    units += _own(5, "<2BHB2sB", PROCESSING, LENS, 0, 2, b"\x41\x14", 0)
    units += _own(3, "<BH3B", 3, 0x101, 0, PROCESSING, 0)
    control = _own(1, "<2HI2B", 0x100, 13 + len(units), 48_000_000, 1, 1) + units
    yuyv = b"YUY2\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    formats = _own(6, "<8B", 1, len(SIZES["MJPG"]), 1, 1, 0, 0, 0, 0) + _frames(7, "MJPG")
    formats += _own(4, "<2B16s6B", 2, len(SIZES["YUYV"]), yuyv, 16, 1, 0, 0, 0, 0) + _frames(5, "YUYV")
    stream = _own(1, "<BH7B2s", 2, 15 + len(formats), 0x81, 0, 3, 0, 0, 0, 1, b"\0\0") + formats
    body = (
        struct.pack("<8B", 8, 11, 0, 2, 14, 3, 0, 0)
        + struct.pack("<9B", 9, 4, 0, 0, 0, 14, 1, 0, 0)
        + control
        + struct.pack("<9B", 9, 4, 1, 0, 1, 14, 2, 0, 0)
        + stream
        + struct.pack("<4BHB", 7, 5, 0x81, 2, 512, 0)
    )
    return struct.pack("<2BH5B", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


def _frames(kind: int, name: str) -> bytes:
    intervals = [10_000_000 // rate for rate in RATES]
    return b"".join(
        _own(
            kind, f"<2B2H4IB{len(intervals)}I",
            number, 0, width, height, 10**6, 10**8, width * height * 2, intervals[0], len(intervals), *intervals,
        )
        for number, (width, height) in enumerate(SIZES[name], 1)
    )  # fmt: skip


def _own(kind: int, layout: str, *values: int | bytes) -> bytes:
    """Pack a descriptor that video devices have beside USB's own."""
    data = struct.pack(layout, *values)
    return bytes((len(data) + 3, 0x24, kind)) + data
