"""Six kinds of waste, drawn with OpenCV's polygons on a transparent canvas.

What a thing is lies in its shape and structure. Each kind has a usual material but comes in any colour as
well, and turn, prints and dents are shared, so that a picture's pixels alone say little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.canvas import (
    Canvas,
    Points,
    Rng,
    as_colour,
    ellipse,
    frame,
    mirrored,
    points,
    print_any,
    print_picture,
    print_words,
    quad,
    sagging,
    tint,
)
from edge.errors import UsageError, nearest
from edge.preprocess import Pixels

LABELS = ("bottle", "box", "can", "crumpled", "cup", "sheet")
"""The kinds, sorted: the position is the index that a trained graph gives."""

FILL = 0.94
"""Share of an item's square canvas that its longer side fills: the rest is margin for dents and blur."""

LYING = 0.08
"""Share of the things that lie turned by any angle."""

TILT = 0.3
"""Standard deviation, in radians, of the turn of the others: most come to rest as they stood in the hand."""

USUAL = 0.4
"""Share of the things that come in their kind's usual material; the others have any colour."""

_OVERSAMPLING = 2
"""Items are drawn this many times larger and then averaged, which smooths their edges."""


@dataclass(frozen=True)
class Item:
    """One thing on a transparent square canvas; its longer side fills FILL of it."""

    colour: Pixels
    """uint8 [s, s, 3], BGR, not multiplied by alpha."""
    alpha: Pixels
    """uint8 [s, s]: 0 is clear, 255 hides the ground."""


def draw_item(label: str, rng: Rng, size: int) -> Item:
    """Draw one thing of kind `label`, dented and turned by any angle, on a canvas of size x size pixels.

    Most things stand nearly upright. Raises UsageError on a label that is not in LABELS.
    """
    if label not in _DRAWERS:
        raise UsageError(f"no kind of waste is called {label!r}; nearest: {nearest(label, LABELS)}")
    usual = _USUAL[label] if rng.random() < USUAL else ((0, 180), (0, 210), (110, 250))
    canvas = Canvas(size * _OVERSAMPLING, tint(rng, *usual))
    _DRAWERS[label](canvas, rng)
    canvas.grain(rng, rng.uniform(1, 6))
    return _turned(canvas, rng, size)


def _turned(canvas: Canvas, rng: Rng, size: int) -> Item:
    """Turn the thing, dent it, fit it to a size x size canvas and average it down."""
    side = canvas.side
    contours = cv2.findContours(canvas.alpha, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    shape = np.concatenate([contour.reshape(-1, 2) for contour in contours])
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < LYING else rng.normal(0, TILT)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = shape @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    zoom = float((high - low).max()) / (side * FILL)
    # From a pixel of the result back to the drawing: this is what remap asks for.
    back = turn.T * zoom
    start = turn.T @ ((low + high) / 2) - back @ np.array([side / 2, side / 2])
    axis = np.arange(side, dtype=np.float32)
    dents = rng.normal(0, rng.uniform(0, 0.008) * side * zoom, (5, 5, 2)).astype(np.float32)
    dent = cv2.resize(dents, (side, side), interpolation=cv2.INTER_CUBIC)
    across = (back[0, 0] * axis + (back[0, 1] * axis + start[0])[:, None]).astype(np.float32)
    along = (back[1, 0] * axis + (back[1, 1] * axis + start[1])[:, None]).astype(np.float32)
    drawn = np.dstack((canvas.colour, canvas.alpha))
    turned = cv2.remap(drawn, across + dent[:, :, 0], along + dent[:, :, 1], cv2.INTER_LINEAR)
    layers = cast(Pixels, cv2.resize(turned, (size, size), interpolation=cv2.INTER_AREA))
    return Item(np.ascontiguousarray(layers[:, :, :3]), np.ascontiguousarray(layers[:, :, 3]))


def _draw_bottle(canvas: Canvas, rng: Rng) -> None:
    """A body with shoulders, a narrow neck with a cap, and a label round it."""
    half = rng.uniform(0.13, 0.2)
    neck = half * rng.uniform(0.3, 0.45)
    cap, collar, shoulder = 0.11, rng.uniform(0.17, 0.24), rng.uniform(0.32, 0.46)
    y = np.linspace(0.04, 0.96, 60)
    slope = np.clip((y - collar) / (shoulder - collar), 0, 1)
    width = neck + (half - neck) * (3 * slope**2 - 2 * slope**3)
    width *= 1 - rng.uniform(0, 0.18) * np.exp(-(((y - rng.uniform(0.55, 0.8)) / 0.06) ** 2))
    width[-3:] *= (0.97, 0.92, 0.84)
    canvas.add(mirrored(0.5, np.stack((width, y), axis=1)), canvas.base)
    if rng.random() < 0.6:
        canvas.thin(rng.uniform(0.35, 0.8))
    top = rng.uniform(shoulder, 0.6)
    bottom = rng.uniform(top + 0.12, 0.92)
    label = points((0.5 - half, top), (0.5 + half, top), (0.5 + half, bottom), (0.5 - half, bottom))
    if rng.random() < 0.8:
        canvas.add(label, tint(rng))
    print_any(canvas, rng, quad(label))
    lid = neck * rng.uniform(1.1, 1.35)
    canvas.add(mirrored(0.5, points((lid, 0.04), (lid, cap))), tint(rng))
    canvas.round(rng, streaks=int(rng.integers(1, 3)))


def _draw_can(canvas: Canvas, rng: Rng) -> None:
    """A cylinder with a metal top, a rim and a tab; or the top alone."""
    if rng.random() < 0.2:
        _draw_lid(canvas, rng, 0.45, 0.45)
        return
    half, flat = rng.uniform(0.22, 0.3), rng.uniform(0.22, 0.45)
    sag, top = half * flat, 0.08 + half * flat
    bottom, chamfer = rng.uniform(0.74, 0.94) - sag * 0.5, rng.uniform(0.82, 0.95)
    sides = mirrored(0.5, points((half * chamfer, top), (half, top + 0.05), (half, bottom - 0.04)))
    foot = ellipse(0.5, bottom, half * 0.93, sag, begin=np.pi, end=0)
    canvas.add(np.concatenate((sides[:3], foot, sides[3:])), canvas.base)
    wrap = points((0.5 - half, top), (0.5 + half, top), (0.5 + half, bottom), (0.5 - half, bottom))
    print_any(canvas, rng, sagging(quad(wrap), sag))
    if rng.random() < 0.35:
        hoops = np.arange(top + 0.1, bottom - 0.08, 0.06)
        lines = [sagging(quad(wrap), sag)(points(*((u, h) for u in np.linspace(0, 1, 12)))) for h in hoops]
        canvas.stroke(lines, as_colour(np.array(canvas.base) * 0.6), 0.008)
    canvas.round(rng, streaks=int(rng.integers(2, 5)))
    _draw_lid(canvas, rng, half * chamfer, sag * chamfer, top)


def _draw_lid(canvas: Canvas, rng: Rng, rx: float, ry: float, y: float = 0.5) -> None:
    """A can's metal top: a bright rim, a sunken plate, a mouth and a tab with a hole."""
    metal = np.full(3, rng.uniform(130, 225)) * rng.uniform(0.9, 1.08, 3)
    canvas.add(ellipse(0.5, y, rx, ry), as_colour(np.clip(metal * 1.15, 0, 255)))
    canvas.ink(ellipse(0.5, y, rx * 0.9, ry * 0.9), as_colour(metal * 0.5))
    canvas.ink(ellipse(0.5, y + ry * 0.05, rx * 0.84, ry * 0.84), as_colour(metal * rng.uniform(0.75, 0.95)))
    if rng.random() < 0.7:
        mouth = as_colour(metal * (0.15 if rng.random() < 0.6 else 0.65))
        canvas.ink(ellipse(0.5, y + ry * 0.42, rx * 0.34, ry * 0.3), mouth)
    canvas.ink(ellipse(0.5, y - ry * 0.12, rx * 0.2, ry * 0.34), as_colour(np.clip(metal * 1.2, 0, 255)))
    canvas.ink(ellipse(0.5, y - ry * 0.25, rx * 0.1, ry * 0.13), as_colour(metal * 0.4))


def _draw_cup(canvas: Canvas, rng: Rng) -> None:
    """A cone that narrows downwards: open or with a lid and a straw, with a sleeve or a handle."""
    half = rng.uniform(0.26, 0.34)
    foot, sag = half * rng.uniform(0.5, 0.68), half * rng.uniform(0.28, 0.42)
    top, bottom = 0.12 + sag, rng.uniform(0.72, 0.9)
    base = ellipse(0.5, bottom, foot, sag * foot / half, begin=np.pi, end=0)
    canvas.add(np.concatenate((points((0.5 - half, top)), base, points((0.5 + half, top)))), canvas.base)
    if rng.random() < 0.15:
        canvas.thin(rng.uniform(0.45, 0.8))
    wrap = points((0.5 - half, top), (0.5 + half, top), (0.5 + foot, bottom), (0.5 - foot, bottom))
    side = sagging(quad(wrap), sag * 0.85)
    if rng.random() < 0.4:
        canvas.ink(side(frame(0, rng.uniform(0.2, 0.4), 1, rng.uniform(0.6, 0.85))), tint(rng))
    print_any(canvas, rng, side)
    canvas.round(rng, streaks=0)
    if rng.random() < 0.3:
        grip = (half + foot) / 2
        canvas.bar(ellipse(0.5 + grip, (top + bottom) / 2, 0.13, 0.16, begin=-1.6, end=1.4), canvas.base, 0.045)
    _draw_mouth(canvas, rng, half, sag, top)


def _draw_mouth(canvas: Canvas, rng: Rng, half: float, sag: float, top: float) -> None:
    """A cup's upper end: its dark inside within a rim, or a stepped lid, perhaps with a straw."""
    pale = as_colour(np.clip(np.array(canvas.base) * 1.15 + 25, 0, 255))
    straw = points((0.5, top), (0.5 + rng.uniform(-0.12, 0.12), 0.02))
    if rng.random() < 0.65:
        canvas.add(ellipse(0.5, top, half * 1.04, sag * 1.04), pale)
        canvas.ink(ellipse(0.5, top, half * 0.95, sag * 0.93), as_colour(np.array(canvas.base) * 0.35))
        floor = as_colour(np.array(tint(rng)) * 0.45)
        canvas.ink(ellipse(0.5, top + sag * 0.3, half * 0.72, sag * 0.6), floor)
        return
    cap = np.array(tint(rng))
    canvas.add(ellipse(0.5, top, half * 1.07, sag * 1.1), as_colour(cap * 0.75))
    canvas.add(ellipse(0.5, top - 0.03, half * 1.04, sag * 1.05), as_colour(cap))
    canvas.add(ellipse(0.5, top - 0.05, half * 0.82, sag * 0.8), as_colour(cap * 0.82))
    if rng.random() < 0.6:
        canvas.bar(straw - (0, 0.03), tint(rng), 0.03)


def _draw_box(canvas: Canvas, rng: Rng) -> None:
    """A cuboid of which two sides and the top are seen: taped, or open with flaps."""
    yaw, tilt = rng.uniform(0.4, 1.15), rng.uniform(0.5, 0.95)
    size = rng.uniform(0.55, 1.0, 3) * (1, 1, 0.9)
    size *= 0.6 / size.max()

    def at(x: float, y: float, z: float) -> tuple[float, float]:
        """Project a corner, each from -1 to 1 in half edges; z is up."""
        x, y, z = x * size[0] / 2, y * size[1] / 2, z * size[2] / 2
        across, depth = x * np.cos(yaw) - y * np.sin(yaw), x * np.sin(yaw) + y * np.cos(yaw)
        near = 1 + 0.25 * depth
        return 0.5 + across * near, 0.5 + (depth * np.sin(tilt) - z * np.cos(tilt)) * near

    lights = (rng.uniform(0.6, 0.8), rng.uniform(0.35, 0.55), 1.0)
    left = points(at(-1, 1, 1), at(1, 1, 1), at(1, 1, -1), at(-1, 1, -1))
    right = points(at(1, 1, 1), at(1, -1, 1), at(1, -1, -1), at(1, 1, -1))
    top = points(at(-1, -1, 1), at(1, -1, 1), at(1, 1, 1), at(-1, 1, 1))
    edge = as_colour(np.array(canvas.base) * 0.3)
    for face, light in zip((left, right, top), lights, strict=True):
        canvas.add(face, as_colour(np.array(canvas.base) * light))
        canvas.stroke([face[[0, 1, 2, 3, 0]]], edge, 0.012)
    print_any(canvas, rng, quad(left))
    if rng.random() < 0.6:
        _open_box(canvas, rng, top, at)
    else:
        canvas.ink(quad(top)(frame(0, 0.42, 1, 0.58)), tint(rng))


def _open_box(
    canvas: Canvas, rng: Rng, top: Points, at: Callable[[float, float, float], tuple[float, float]]
) -> None:
    """Open a box's top: a dark inside, and flaps that lean outwards."""
    canvas.ink(top, as_colour(np.array(canvas.base) * 0.25))
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    for side, (x0, y0) in enumerate(corners):
        x1, y1 = corners[(side + 1) % 4]
        out, up = rng.uniform(0.35, 0.7), 1 + rng.uniform(-0.5, 0.5)
        dx, dy = (x0 + x1) / 2 * out, (y0 + y1) / 2 * out
        flap = points(at(x0, y0, 1), at(x1, y1, 1), at(x1 + dx, y1 + dy, up), at(x0 + dx, y0 + dy, up))
        if rng.random() < 0.9:
            canvas.add(flap, as_colour(np.clip(np.array(canvas.base) * rng.uniform(0.75, 1.2), 0, 255)))


def _draw_sheet(canvas: Canvas, rng: Rng) -> None:
    """A flat page, a little curled and folded, with words and pictures on it."""
    ratio = rng.uniform(0.55, 0.9)
    page = quad(
        points(
            (0.5 - ratio / 2.4, 0.09),
            (0.5 + ratio / 2.4, 0.09),
            (0.5 + ratio / 2.4, 0.91),
            (0.5 - ratio / 2.4, 0.91),
        )
        + rng.normal(0, 0.025, (4, 2))
    )
    lift, waves, phase = rng.uniform(0, 0.035), rng.uniform(0.5, 1.6), rng.uniform(0, 2 * np.pi)

    def at(uv: Points) -> Points:
        wave = lift * np.sin(2 * np.pi * waves * uv[:, 1] + phase)
        return page(uv) + np.stack((wave, -wave / 2), axis=1)

    canvas.add(at(frame(0, 0, 1, 1)), canvas.base)
    for v in np.linspace(0, 1, 25)[:-1]:
        light = 1 + lift * 5 * np.cos(2 * np.pi * waves * v + phase)
        strip = at(frame(0, v, 1, min(1, v + 0.05)))
        canvas.ink(strip, as_colour(np.clip(np.array(canvas.base) * light, 0, 255)))
    print_words(canvas, rng, at)
    if rng.random() < 0.5:
        print_picture(canvas, rng, at)
    dark = as_colour(np.array(canvas.base) * 0.7)
    for v in rng.uniform(0.2, 0.8, rng.integers(0, 3)):
        canvas.stroke([at(points((0, v), (0.5, v), (1, v)))], dark, 0.006)
    if rng.random() < 0.4:
        corner = rng.uniform(0.12, 0.3)
        canvas.ink(at(points((1 - corner, 0), (1 - corner * 0.9, corner * 0.7), (1, corner))), dark)


def _draw_crumpled(canvas: Canvas, rng: Rng) -> None:
    """A ball of paper, foil or film: facets between three bent rings, each lit by its own slope."""
    count, rings = int(rng.integers(9, 14)), 4
    radius = np.array([0.0, 0.17, 0.31, 0.43])[:, None] * (1 + rng.normal(0, 0.1, (rings, count)))
    angle = np.arange(count) * 2 * np.pi / count + rng.normal(0, 0.16, (rings, count))
    stretch = rng.uniform(0.7, 1)
    flat = np.stack((0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle) * stretch), axis=2)
    height = np.array([0.3, 0.27, 0.18, 0.0])[:, None] + rng.normal(0, 0.07, (rings, count))
    knots = np.concatenate((flat, height[:, :, None]), axis=2)
    knots[0] = knots[0, 0]
    canvas.add(flat[-1], canvas.base)
    following = np.roll(knots, -1, axis=1)
    inner, outer = (knots[:-1], following[:-1]), (knots[1:], following[1:])
    facets = np.stack([(inner[0], outer[0], outer[1]), (inner[0], outer[1], inner[1])])
    facets = facets.transpose(0, 2, 3, 1, 4).reshape(-1, 3, 3)
    _add_facets(canvas, rng, facets)
    for _ in range(rng.integers(3, 9)):
        crease = flat[rng.integers(1, rings), rng.integers(count)] + rng.normal(0, 0.06, (3, 2)).cumsum(axis=0)
        canvas.stroke([crease], as_colour(np.array(canvas.base) * rng.choice((0.4, 0.6))), 0.008)


def _add_facets(canvas: Canvas, rng: Rng, facets: npt.NDArray[np.float64]) -> None:
    """Draw triangles, float64 [n, 3, 3] (corner; x, y, height), each lit by its slope."""
    lamp = np.array([*rng.uniform(-0.8, 0.8, 2), 0.8])
    normals = np.cross(facets[:, 1] - facets[:, 0], facets[:, 2] - facets[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    light = np.abs(normals @ lamp) / np.linalg.norm(lamp)
    light = 0.3 + rng.uniform(0.6, 1.0) * light + rng.choice((0.0, 0.9)) * light**8
    paints = np.where(rng.random((len(facets), 1)) < 0.85, canvas.base, tint(rng))
    colours = np.clip(paints * light[:, None], 0, 255)
    for facet, colour in zip(facets, colours, strict=True):
        canvas.add(facet[:, :2], as_colour(colour))


_USUAL = {
    "bottle": ((45, 110), (40, 130), (130, 220)),
    "box": ((10, 20), (70, 140), (130, 210)),
    "can": ((0, 180), (0, 25), (140, 230)),
    "crumpled": ((0, 180), (0, 30), (130, 250)),
    "cup": ((0, 180), (0, 30), (190, 250)),
    "sheet": ((0, 180), (0, 30), (190, 250)),
}
"""Hue, saturation and value, as OpenCV counts them in 8 bits, of the usual material."""

_DRAWERS: dict[str, Callable[[Canvas, Rng], None]] = {
    "bottle": _draw_bottle,
    "box": _draw_box,
    "can": _draw_can,
    "crumpled": _draw_crumpled,
    "cup": _draw_cup,
    "sheet": _draw_sheet,
}
