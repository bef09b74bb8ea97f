"""A time drawn as black and white cells, so large that a video encoder keeps them. Standard library alone: the
process that serves pictures is Debian's Python."""

from __future__ import annotations

from typing import Any

COLUMNS, ROWS = 8, 6
"""40 bits of milliseconds, then 8 of a checksum; each cell one bit, the highest first."""

BITS = 40

BLACK, WHITE = 16, 235

NEITHER = (90, 165)
"""Grey levels between which a cell is no bit: the picture is blended or damaged."""


def _check(value: int) -> int:
    return sum(byte * weight for weight, byte in enumerate(value.to_bytes(5, "big"), 3)) * 37 % 251


def draw(milliseconds: int, width: int, height: int) -> bytes:
    """Return a picture of the time: one byte a pixel, row by row. Width and height are multiples of 8 and 6."""
    bits = f"{milliseconds % (1 << BITS):0{BITS}b}{_check(milliseconds % (1 << BITS)):08b}"
    rows = []
    for row in range(ROWS):
        cells = bits[row * COLUMNS : (row + 1) * COLUMNS]
        line = b"".join(bytes([WHITE if bit == "1" else BLACK]) * (width // COLUMNS) for bit in cells)
        rows.append(line * (height // ROWS))
    return b"".join(rows)


def read(image: Any) -> int | None:
    """Return the milliseconds in uint8 [height, width, 3] or [height, width]; None where no whole time stands."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    high, wide = grey.shape[0] / ROWS, grey.shape[1] / COLUMNS
    bits = ""
    for row in range(ROWS):
        for column in range(COLUMNS):
            top, left = int((row + 0.25) * high), int((column + 0.25) * wide)
            level = grey[top : top + int(high / 2), left : left + int(wide / 2)].mean()
            if NEITHER[0] < level < NEITHER[1]:
                return None
            bits += "1" if level > NEITHER[1] else "0"
    value = int(bits[:BITS], 2)
    return value if int(bits[BITS:], 2) == _check(value) else None
