"""Pictures of answers: a grid of photos with captions, and the confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from edge import lettering
from edge.files import replace_file
from edge.lettering import Colour
from edge.preprocess import InputSpec, Pixels, Resize, fit

WHITE: Colour = (255, 255, 255)
INK: Colour = (32, 36, 42)
FAINT: Colour = (105, 112, 122)
LINE: Colour = (222, 226, 231)
GREEN: Colour = (46, 140, 80)
RED: Colour = (205, 50, 45)
DARKEST: Colour = (12, 52, 110)
"""The shade of a full cell; an empty one is white."""

NUMBERED_CLASSES = 30
"""A matrix of more classes has cells too small for numbers: it gets a scale in their place."""

ZERO_CLASSES = 12
"""A matrix of more classes leaves out its zeros, among which the mistakes would be hard to find."""

Shares = npt.NDArray[np.float64]
"""float64 [classes, classes], 0 to 1."""


@dataclass(frozen=True)
class Tile:
    """A photo and what was said of it."""

    picture: Pixels
    """uint8 [height, width, 3], BGR, any size."""
    title: str
    detail: str = ""
    """A second line, fainter. What does not fit in the width of the tile is cut off."""
    good: bool | None = None
    """True gives a green frame, False a red one, None none."""


@dataclass(frozen=True)
class _Plan:
    """Where the parts of a confusion matrix lie, in pixels."""

    cell: int
    left: int
    top: int
    font: int
    labels: tuple[str, ...]
    """Shortened to what the margins hold."""
    angle: int
    """Degrees by which the column labels climb: 0 where they fit under their cells."""
    number: int
    """Font size of the numbers; 0 for none."""

    @property
    def side(self) -> int:
        """Width and height of the cells together."""
        return self.cell * len(self.labels)


def save_png(path: Path, picture: Pixels) -> None:
    """Write BGR uint8 [height, width, 3] as PNG, whole or not at all. Raises OSError."""
    image = _from_bgr(picture)
    replace_file(path, lambda temporary: image.save(temporary, format="PNG", optimize=True))


def grid(tiles: Sequence[Tile], columns: int = 6, size: int = 160) -> Pixels:
    """Draw the tiles in rows: BGR uint8 [height, width, 3].

    Each picture is letterboxed to `size` x `size` pixels and captioned below. Raises ImageError where a
    picture is not BGR uint8.
    """
    columns = max(1, min(columns, len(tiles)))
    rows = max(1, math.ceil(len(tiles) / columns))
    font, gap = max(11, size // 11), max(14, size // 8)
    step_x, step_y = size + gap, size + gap + round(3.2 * font)
    page = Image.new("RGB", (columns * step_x + gap, rows * step_y + gap), WHITE)
    for index, tile in enumerate(tiles):
        left, top = gap + index % columns * step_x, gap + index // columns * step_y
        _draw_tile(page, (left, top), tile, size, font)
    return to_bgr(page)


def confusion_matrix(confusion: Sequence[Sequence[int]], labels: tuple[str, ...], normalized: bool) -> Pixels:
    """Draw photos by true label (rows) and answer (columns): BGR uint8 [height, width, 3].

    `normalized` shows the per cent of each row in place of the count. A row without photos stays blank.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    shares: Shares = counts / np.maximum(totals, 1)
    texts = [_numbers(row, normalized) for row in counts]
    plan = _plan(labels, texts)
    unit = "per cent of the photos of each true class" if normalized else "photos"
    scale = 0 if plan.number else plan.font * 6
    right = plan.left + max(plan.side + scale, lettering.width(unit, plan.font)) + plan.font
    page = Image.new("RGB", (right, plan.top + plan.side + _foot(plan)), WHITE)
    _draw_cells(page, plan, shares if normalized else counts / max(1, counts.max()), texts)
    _draw_axes(page, plan, unit)
    if scale:
        _draw_scale(page, plan, "100 %" if normalized else str(counts.max()))
    return to_bgr(page)


def _from_bgr(picture: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))


def to_bgr(page: Image.Image) -> Pixels:
    """Return a page as BGR uint8 [height, width, 3]."""
    return np.ascontiguousarray(np.asarray(page, dtype=np.uint8)[:, :, ::-1])


def _draw_tile(page: Image.Image, at: tuple[int, int], tile: Tile, size: int, font: int) -> None:
    left, top = at
    if tile.good is not None:
        rim = max(3, size // 36)  # outside the picture, so that it hides nothing
        box = (left - rim, top - rim, left + size + rim - 1, top + size + rim - 1)
        ImageDraw.Draw(page).rectangle(box, fill=GREEN if tile.good else RED)
    page.paste(_from_bgr(fit(tile.picture, InputSpec(size, size, Resize.LETTERBOX))), at)
    below = top + size + font * 0.6
    lettering.write(page, (left, below), lettering.shorten(tile.title, font, size), font, ink=INK, anchor="la")
    small = max(10, font - 2)
    detail = lettering.shorten(tile.detail, small, size)
    lettering.write(page, (left, below + font * 1.3), detail, small, ink=FAINT, anchor="la")


def _numbers(row: npt.NDArray[np.int64], normalized: bool) -> list[str]:
    """Return what the cells of a row say: counts, or per cent of the row; nothing where it has no photo."""
    if not row.any():
        return [""] * len(row)
    zero = "0" if len(row) <= ZERO_CLASSES else ""
    if not normalized:
        return [str(count) if count else zero for count in row]
    return [_per_cent(float(share)) if share else zero for share in row / row.sum()]


def _per_cent(share: float) -> str:
    if share < 0.005:
        return "<1"
    return ">99" if 0.995 <= share < 1 else f"{100 * share:.0f}"


def _plan(labels: tuple[str, ...], texts: list[list[str]]) -> _Plan:
    cell = max(16, min(76, 960 // len(labels)))
    font = max(11, min(16, cell - 4))
    short = tuple(lettering.shorten(label, font, 12 * font) for label in labels)
    longest = max(lettering.width(label, font) for label in short)
    widest = max(lettering.width(text, 100) for row in texts for text in row) or 1
    number = min(max(11, round(cell * 0.27)), 85 * cell // widest)
    angle = 0 if longest <= cell - 6 else 45 if cell >= 20 else 90
    left, top = longest + font * 3, font * 3
    fits = len(labels) <= NUMBERED_CLASSES and number >= 7
    return _Plan(cell, left, top, font, short, angle, number if fits else 0)


def _foot(plan: _Plan) -> int:
    """Height in pixels of what lies below the cells: the column labels and the name of their axis."""
    longest = max(lettering.width(label, plan.font) for label in plan.labels)
    climb = (longest + plan.font * 1.3) * math.sin(math.radians(plan.angle))
    return math.ceil(max(climb, plan.font * 1.3) + plan.font * 2.2)


def _draw_cells(page: Image.Image, plan: _Plan, shades: Shares, texts: list[list[str]]) -> None:
    draw, cell = ImageDraw.Draw(page), plan.cell
    for (row, column), shade in np.ndenumerate(shades):
        left, top = plan.left + column * cell, plan.top + row * cell
        colour = _shade(float(shade))
        draw.rectangle((left, top, left + cell, top + cell), fill=colour, outline=LINE)
        if plan.number:
            ink = WHITE if _luma(colour) < 125 else INK if shade else FAINT
            centre = (left + cell / 2, top + cell / 2)
            lettering.write(page, centre, texts[row][column], plan.number, ink=ink, anchor="mm")


def _draw_axes(page: Image.Image, plan: _Plan, unit: str) -> None:
    bottom, middle = plan.top + plan.side, plan.side // 2
    for index, label in enumerate(plan.labels):
        centre = index * plan.cell + plan.cell // 2
        lettering.write(page, (plan.left - 8, plan.top + centre), label, plan.font, ink=INK, anchor="rm")
        if plan.angle:
            lettering.write_up(page, (plan.left + centre, bottom + 6), label, plan.font, ink=INK, angle=plan.angle)
        else:
            lettering.write(page, (plan.left + centre, bottom + 8), label, plan.font, ink=INK, anchor="ma")
    lettering.write(page, (plan.left, plan.top - plan.font), unit, plan.font, ink=FAINT, anchor="ls")
    below = (plan.left + middle, page.height - plan.font // 2)
    lettering.write(page, below, "answered", plan.font, ink=FAINT, anchor="ms")
    top = plan.top + middle - lettering.width("true", plan.font) // 2
    lettering.write_up(page, (plan.font, top), "true", plan.font, ink=FAINT)


def _draw_scale(page: Image.Image, plan: _Plan, most: str) -> None:
    """Draw which shade means how much, from `most` down to 0, right of the cells."""
    draw, left, height = ImageDraw.Draw(page), plan.left + plan.side + plan.font, min(plan.side, 240)
    for y in range(height):
        line = (left, plan.top + y, left + plan.font, plan.top + y)
        draw.line(line, fill=_shade(1 - y / (height - 1)))
    draw.rectangle((left, plan.top, left + plan.font, plan.top + height), outline=LINE)
    right = left + plan.font + 6
    lettering.write(page, (right, plan.top), most, plan.font, ink=FAINT, anchor="la")
    lettering.write(page, (right, plan.top + height), "0", plan.font, ink=FAINT, anchor="ls")


def _shade(share: float) -> Colour:
    """Mix white and the darkest shade; the root lifts small shares, which are the mistakes, from white."""
    red, green, blue = (round(255 + (dark - 255) * share**0.75) for dark in DARKEST)
    return red, green, blue


def _luma(colour: Colour) -> float:
    """Brightness as the eye sees it, 0 to 255 (ITU-R BT.601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
