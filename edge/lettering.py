"""Text in pictures: fonts that are always there, measured, shortened and turned."""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

WIDE_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf")
"""Fonts of the machine, tried in order where Pillow's own, which has ASCII only, can't show a text."""


def width(text: str, size: int) -> int:
    """Width of a line of text in pixels, at a font size in pixels."""
    line, font = _line(text, size)
    return math.ceil(font.getlength(line))


def shorten(text: str, size: int, limit: int) -> str:
    """Return the text as one line of at most `limit` pixels: what is cut off is an ellipsis."""
    text = " ".join(text.split())
    if width(text, size) <= limit:
        return text
    while text and width(text + "...", size) > limit:
        text = text[:-1]
    return text.rstrip() + "..."


def write(page: Image.Image, at: tuple[float, float], text: str, size: int, *, ink: Colour, anchor: str) -> None:
    """Write a line of text at a point in pixels; `anchor` as Pillow's: "mm" middle, "la" left and top."""
    line, font = _line(text, size)
    ImageDraw.Draw(page).text(at, line, font=font, fill=ink, anchor=anchor)


def write_up(
    page: Image.Image, end: tuple[int, int], text: str, size: int, *, ink: Colour, angle: int = 90
) -> None:
    """Write a line of text that climbs by `angle` degrees, 0 to 90, and ends at the point `end`, in pixels."""
    line, font = _line(text, size)
    height = round(size * 1.3)
    mask = Image.new("L", (max(1, width(text, size)), height))
    ImageDraw.Draw(mask).text((0, height / 2), line, font=font, fill=255, anchor="lm")
    turned = mask.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True)
    left = round(end[0] - turned.width + height * math.sin(math.radians(angle)) / 2)
    page.paste(ink, (left, end[1]), turned)


def _line(text: str, size: int) -> tuple[str, Font]:
    """Return the text as it can be shown, on one line, and the font that shows it.

    ASCII is set in Pillow's own font, so that pictures are the same on every machine; anything else in a
    font of the machine, and without one the accents are dropped.
    """
    line = " ".join(text.encode("utf-8", "replace").decode().split())  # file names may hold lone surrogates
    if line.isascii():
        return line, _own_font(size)
    wide = _wide_font(size)
    if wide is not None:
        return line, wide
    bare = "".join(c for c in unicodedata.normalize("NFKD", line) if not unicodedata.combining(c))
    return bare.encode("ascii", "replace").decode(), _own_font(size)


@lru_cache(maxsize=32)
def _own_font(size: int) -> Font:
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=32)
def _wide_font(size: int) -> Font | None:
    for name in WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None
