"""A square to draw things on: polygons with colour and alpha, prints that follow a bent surface, shading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels

SHIFT = 4
"""OpenCV's drawing calls take coordinates as fixed point with this many binary places."""

Rng = np.random.Generator
Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
"""float64 [n, 2]: x to the right and y down, 0 to 1 over the canvas (or over a surface: then u and v)."""

Surface = Callable[[Points], Points]
"""Where a point (u, v) of a flat print, 0 to 1 each, lies on the canvas: it bends prints round things."""

Range = tuple[float, float]
"""Lowest and highest."""

Colour = tuple[float, float, float]
"""BGR, 0 to 255."""


def tint(rng: Rng, hues: Range = (0, 180), fullness: Range = (0, 210), values: Range = (110, 250)) -> Colour:
    """Return a colour from ranges of hue, saturation and value (OpenCV's: 0 to 180, 255, 255), often pale."""
    hue, value = rng.uniform(*hues), rng.uniform(*values)
    full = rng.uniform(*fullness) * (0.2 if rng.random() < 0.4 else 1)
    pixel = cv2.cvtColor(np.array([[[hue, full, value]]], dtype=np.uint8), cv2.COLOR_HSV2BGR)
    return as_colour(pixel[0, 0])


def as_colour(values: Sequence[float] | npt.NDArray[np.generic]) -> Colour:
    """Return three numbers as the tuple that OpenCV's drawing calls take."""
    return float(values[0]), float(values[1]), float(values[2])


def fixed(points: Points) -> npt.NDArray[np.int32]:
    """Return points in pixels as OpenCV's fixed-point numbers."""
    return np.round(points * (1 << SHIFT)).astype(np.int32)


def fill(picture: Pixels, points: Points, colour: Colour) -> None:
    """Fill the polygon of `points`, in pixels, in place."""
    cv2.fillPoly(picture, [fixed(points)], colour, cv2.LINE_AA, SHIFT)


class Canvas:
    """A square under work: colour and alpha apart, so that prints don't add to the shape."""

    def __init__(self, side: int, base: Colour) -> None:
        self.side = side
        self.base = base
        # All is in the base colour from the start: no dark seam where averaging mixes inside and outside.
        self.colour: Pixels = np.full((side, side, 3), base, dtype=np.uint8)
        self.alpha: Pixels = np.zeros((side, side), dtype=np.uint8)

    def add(self, points: Points, colour: Colour, opacity: float = 255) -> None:
        """Fill a polygon that is a part of the thing."""
        self.ink(points, colour)
        cv2.fillPoly(self.alpha, [fixed(points * self.side)], opacity, cv2.LINE_8, SHIFT)

    def ink(self, points: Points, colour: Colour) -> None:
        """Fill a polygon that is printed on the thing."""
        cv2.fillPoly(self.colour, [fixed(points * self.side)], colour, cv2.LINE_8, SHIFT)

    def bar(self, points: Points, colour: Colour, width: float) -> None:
        """Add a stroke, `width` of the canvas wide, that is a part of the thing."""
        self.stroke([points], colour, width)
        cv2.polylines(self.alpha, [fixed(points * self.side)], False, 255, self._thick(width), 8, SHIFT)

    def stroke(self, lines: Sequence[Points], colour: Colour, width: float) -> None:
        """Print strokes, `width` of the canvas wide."""
        paths = [fixed(line * self.side) for line in lines]
        cv2.polylines(self.colour, paths, False, colour, self._thick(width), 8, SHIFT)

    def thin(self, opacity: float) -> None:
        """Make what was drawn so far clear as plastic: `opacity` in the middle, more at the edges."""
        edge = np.abs(self._across()) ** 3
        seen = opacity + (1 - opacity) * edge.clip(0, 1)
        self.alpha = (self.alpha * seen).astype(np.uint8)

    def round(self, rng: Rng, streaks: int) -> None:
        """Shade every row as a round body lit from one side, with bright streaks where it is glossy."""
        u = np.linspace(-1, 1, 256)
        lamp, dark = rng.uniform(-0.7, 0.7), rng.uniform(0.3, 0.6)
        light = 1.1 - dark * np.clip(np.abs(u - lamp * 0.6), 0, 1.3) ** 1.7
        shine = np.zeros(256)
        for _ in range(streaks):
            at, wide = rng.uniform(-0.8, 0.8), rng.uniform(0.03, 0.15)
            shine += rng.uniform(30, 130) * np.exp(-(((u - at) / wide) ** 2))
        where = ((self._across() + 1) * 127.5).clip(0, 255).astype(np.uint8)
        factor = cv2.merge([light.astype(np.float32)[where]] * 3)
        extra = cv2.merge([shine.clip(0, 255).astype(np.uint8)[where]] * 3)
        self.colour = cast(Pixels, cv2.add(cv2.multiply(self.colour, factor, dtype=cv2.CV_8U), extra))

    def grain(self, rng: Rng, amount: float) -> None:
        """Roughen the surface by `amount` levels of 255."""
        cells = int(rng.integers(12, self.side // 2 + 13))
        rough = rng.standard_normal((cells, cells), dtype=np.float32) * amount
        spread = cv2.merge([cv2.resize(rough, (self.side, self.side))] * 3)
        self.colour = cast(Pixels, cv2.add(self.colour, spread, dtype=cv2.CV_8U))

    def _across(self) -> Floats:
        """Return where each pixel lies in its row's part of the shape: -1 at the left edge, 1 at the right."""
        inside = self.alpha > 0
        left = inside.argmax(axis=1).astype(np.float32)[:, None]
        right = self.side - 1 - inside[:, ::-1].argmax(axis=1).astype(np.float32)[:, None]
        columns = np.arange(self.side, dtype=np.float32)
        return cast(Floats, (2 * columns - left - right) / np.maximum(right - left, 1))

    def _thick(self, width: float) -> int:
        return max(1, round(width * self.side))


def points(*pairs: tuple[float, float]) -> Points:
    """Return points from pairs of x and y (or u and v)."""
    return np.array(pairs, dtype=np.float64)


def ellipse(x: float, y: float, rx: float, ry: float, *, begin: float = 0.0, end: float = 2 * np.pi) -> Points:
    """Return an arc round (x, y) from angle `begin` to `end`, in radians, clockwise from the right."""
    angles = np.linspace(begin, end, 33)
    return np.stack((x + rx * np.cos(angles), y + ry * np.sin(angles)), axis=1)


def mirrored(x: float, rows: Points) -> Points:
    """Return the outline of a thing that is even about the upright x; `rows` are (half width, y), top first."""
    left, right = rows * (-1, 1), rows[::-1]
    return cast(Points, np.concatenate((left, right)) + np.array((x, 0)))


def quad(corners: Points) -> Surface:
    """Return a flat print with these four corners: top left, top right, bottom right, bottom left."""

    def at(uv: Points) -> Points:
        u, v = uv[:, :1], uv[:, 1:]
        top = corners[0] * (1 - u) + corners[1] * u
        return cast(Points, top * (1 - v) + (corners[3] * (1 - u) + corners[2] * u) * v)

    return at


def sagging(surface: Surface, sag: float) -> Surface:
    """Return the same print round a cylinder seen from a little above: its middle hangs down by `sag`."""

    def at(uv: Points) -> Points:
        drop = sag * np.sqrt(np.clip(1 - (2 * uv[:, 0] - 1) ** 2, 0, 1))
        return surface(uv) + np.stack((np.zeros_like(drop), drop), axis=1)

    return at


def frame(u0: float, v0: float, u1: float, v1: float) -> Points:
    """Return the outline of a rectangle in u and v, with points enough to bend."""
    t = np.linspace(0, 1, 9)[:, None]
    corners = points((u0, v0), (u1, v0), (u1, v1), (u0, v1))
    return np.concatenate([a * (1 - t) + b * t for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])


def print_any(canvas: Canvas, rng: Rng, surface: Surface) -> None:
    """Print bands, a picture or a mark on a surface, or nothing."""
    prints = (_print_bands, print_picture, _print_mark)
    for _ in range(rng.integers(0, 2)):
        prints[rng.integers(len(prints))](canvas, rng, surface)


def print_words(canvas: Canvas, rng: Rng, surface: Surface) -> None:
    """Print rows of dashes: text too small to read."""
    rows = int(rng.integers(6, 13))
    top, bottom = np.sort(rng.uniform(0.05, 0.95, 2)) if rng.random() < 0.2 else (0.08, 0.92)
    ink = as_colour(np.array(tint(rng)) * 0.4)
    lines = []
    for v in np.linspace(top, bottom, rows):
        ends = np.cumsum(rng.uniform(0.06, 0.3, 5)) + 0.04
        for u0, u1 in zip(ends[:-1], ends[1:] - 0.04, strict=True):
            if u1 < 0.96:
                lines.append(surface(points((u0, v), ((u0 + u1) / 2, v), (u1, v))))
    canvas.stroke(lines, ink, rng.uniform(0.008, 0.018))


def _print_bands(canvas: Canvas, rng: Rng, surface: Surface) -> None:
    for _ in range(rng.integers(1, 4)):
        v = rng.uniform(0.05, 0.85)
        canvas.ink(surface(frame(0.02, v, 0.98, v + rng.uniform(0.03, 0.13))), tint(rng))


def print_picture(canvas: Canvas, rng: Rng, surface: Surface) -> None:
    """Print a frame with something round in it."""
    u, v = rng.uniform(0.1, 0.4, 2)
    wide, high = rng.uniform(0.25, 0.5, 2)
    canvas.ink(surface(frame(u, v, u + wide, v + high)), tint(rng))
    canvas.ink(surface(ellipse(u + wide / 2, v + high / 2, wide / 3, high / 3)), tint(rng))


def _print_mark(canvas: Canvas, rng: Rng, surface: Surface) -> None:
    spikes = 2 * int(rng.integers(3, 9))
    mark = ellipse(0.5, 0.5, 1, 1)[:: 32 // spikes] - 0.5
    mark[::2] *= rng.uniform(0.3, 1)
    canvas.ink(surface(mark * rng.uniform(0.15, 0.38) + (0.5, rng.uniform(0.35, 0.65))), tint(rng))
