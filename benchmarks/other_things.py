"""Things, hands and their ways, for the other scene. Nothing here is shared with `edge.scene` and what it draws
with.

Pictures are reflectances: float32, 0 to 1, BGR, before any light falls on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

KINDS = ("paper", "carton", "cup", "tin", "foil", "bag")
"""What a thing may be; its place is its class."""

STEP = 1 / 120
"""Seconds from one step of the physics to the next."""

NEAR = 0.55
"""By how much a thing at the height of the rim looks larger than on the ground."""


@dataclass(frozen=True)
class Sprite:
    """A thing or a hand as it is seen from above."""

    colour: Floats
    """[side, side, 3]."""
    alpha: Floats
    """[side, side], 0 to 1."""


@dataclass(frozen=True)
class Way:
    """Where a thing is, from the moment that it comes into view until it rests."""

    begins: float
    """Seconds of the film."""
    poses: Floats
    """[steps, 5], one every STEP: x, y in pixels, scale, degrees, height 0 to 1."""

    @property
    def ends(self) -> float:
        return self.begins + (len(self.poses) - 1) * STEP

    def at(self, time: float) -> Floats:
        place = min(max((time - self.begins) / STEP, 0.0), len(self.poses) - 1.0)
        low = int(place)
        high = min(low + 1, len(self.poses) - 1)
        return self.poses[low] + (self.poses[high] - self.poses[low]) * np.float32(place - low)


def cloudy(rng: np.random.Generator, height: int, width: int, grain: float) -> Floats:
    """Smooth random field of mean 0 and spread 1, [height, width], with lumps of `grain` pixels."""
    small = rng.normal(size=(max(2, round(height / grain)) + 1, max(2, round(width / grain)) + 1))
    field = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return ((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32)


def colour(rng: np.random.Generator) -> Floats:
    """Any colour, the pale ones more often: that is how waste is."""
    value, saturation = rng.uniform(0.08, 0.95), rng.uniform(0, 0.8) ** 1.5
    pixel = np.array([[[rng.uniform(0, 360), saturation, value]]], dtype=np.float32)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0]


def _mask(side: int, points: npt.NDArray[np.float64]) -> Floats:
    mask = np.zeros((side * 4, side * 4), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 4).astype(np.int32)], 255)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _outline(rng: np.random.Generator, side: int, rough: float) -> Floats:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = 1 + sum(rough / n * rng.normal() * np.cos(n * turn + rng.uniform(0, 6.28)) for n in (2, 3, 4, 5))
    radius = radius / radius.max() * side * 0.48
    flat = rng.uniform(0.6, 1.0)
    return _mask(side, np.stack([np.cos(turn), np.sin(turn) * flat], 1) * radius[:, None] + side / 2)


def _box(side: int, ratio: float, cut: float) -> Floats:
    half, low = side * 0.48, side * 0.48 * ratio
    c = cut * low
    corners = [
        (c - half, -low),
        (half - c, -low),
        (half, c - low),
        (half, low - c),
        (half - c, low),
        (c - half, low),
    ]
    return _mask(side, np.array([*corners, (-half, low - c), (-half, c - low)]) + side / 2)


def draw_thing(rng: np.random.Generator, kind: int, side: int, ground: Floats | None, see_through: bool) -> Sprite:
    """Draw a thing of a kind; `ground` [3]: in the colour of what lies below it."""
    name = KINDS[kind]
    base = colour(rng) if ground is None else np.clip(ground * rng.choice([0.72, 1.4]), 0.03, 0.97)
    down, across = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    alpha = {
        "carton": lambda: _box(side, rng.uniform(0.4, 0.95), 0.0),
        "cup": lambda: _box(side, rng.uniform(0.5, 0.8), 0.5),
        "tin": lambda: _box(side, rng.uniform(0.4, 0.6), 0.25),
    }.get(name, lambda: _outline(rng, side, 0.3 if name == "paper" else 0.15))()
    shade = np.ones((side, side), np.float32)
    if name in ("paper", "foil", "bag"):
        folds = np.abs(cloudy(rng, side, side, side / rng.uniform(3, 7)))
        shade += (0.12 if name == "paper" else 0.25) * (folds - folds.mean())
    else:
        shade += 0.5 * (0.5 - np.abs(down)) - 0.2
    picture = base * shade[..., None]
    if name in ("carton", "cup", "tin") and rng.random() < 0.7:  # a print
        stripe = np.sin((across * rng.uniform(-1, 1) + down * rng.uniform(-1, 1)) * rng.uniform(10, 40)) > 0.3
        other = colour(rng) if ground is None else base * rng.uniform(0.85, 1.15)
        picture = np.where(stripe[..., None], other * shade[..., None], picture)
    rim = cv2.GaussianBlur(alpha, (0, 0), side / 25)
    picture = picture * (0.75 + 0.25 * np.clip(rim * 2 - 1, 0, 1))[..., None]
    if see_through:
        gleam = np.abs(cloudy(rng, side, side, side / 5)) > 1.6
        edge = (rim < 0.93).astype(np.float32)
        alpha = alpha * np.clip(rng.uniform(0.2, 0.35) + 0.4 * edge + 0.5 * gleam, 0, 1)
        picture = np.where(gleam[..., None], 0.95, picture)
    return Sprite(np.clip(picture, 0.02, 1).astype(np.float32), alpha.astype(np.float32))


def draw_hand(rng: np.random.Generator, side: int) -> Sprite:
    """Draw a fist or a flat hand in the middle, with an arm that leaves at the left and never ends."""
    skin = np.array([0.45, 0.55, 0.75]) * rng.uniform(0.35, 1.15) if rng.random() < 0.75 else colour(rng)
    sleeve = colour(rng)
    mask = np.zeros((side, side), np.uint8)
    middle, unit = side // 2, 17.0
    arm = round(unit * rng.uniform(0.9, 1.4))
    cv2.rectangle(mask, (0, middle - arm), (middle, middle + arm), 255, -1)
    cv2.ellipse(mask, (middle, middle), (round(unit * 2.0), round(unit * 1.6)), 0, 0, 360, 255, -1)
    for finger in range(rng.integers(0, 5)):
        y = middle + round((finger - 1.5) * unit * 0.8)
        cv2.line(mask, (middle, y), (middle + round(unit * 3.2), y), 255, max(2, round(unit * 0.55)))
    alpha = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.0)
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = skin
    picture[:, : round(middle - unit * 2.5)] = sleeve
    picture *= (1 + 0.08 * cloudy(rng, side, side, side / 12))[..., None]
    return Sprite(np.clip(picture, 0.02, 1), alpha)


def fall(
    rng: np.random.Generator,
    begins: float,
    room: tuple[float, float, float, float],
    goal: tuple[float, float],
    lively: float,
    height: float = 1.0,
) -> Way:
    """Drop a thing over `goal`: it falls, bounces, slides or rolls, and comes to rest within `room`.

    `lively` 0 to 1: how much of its speed it keeps. `height` 1 is the rim, where it comes into view.
    """
    left, top, right, bottom = room
    place = np.array(goal, np.float64)
    speed = rng.normal(0, (40 + 160 * lively) * height, 2)
    sinking = rng.uniform(0, 1.0) * height
    angle, spin = rng.uniform(0, 360), rng.normal(0, 150 + 300 * lively) * height
    poses = []
    for _ in range(round(4 / STEP)):
        poses.append((*place, 1 + NEAR * height, angle, height))
        sinking += 9.0 * STEP
        height -= sinking * STEP
        if height <= 0:
            height, sinking = 0.0, -sinking * (0.15 + 0.4 * lively) if sinking > 0.6 else 0.0
            speed *= 0.75
            spin *= 0.7
        if height == 0.0:
            drag = (90 + 260 * (1 - lively)) * STEP
            pace = float(np.hypot(*speed))
            speed *= max(0.0, pace - drag) / max(pace, 1e-6)
            spin *= 0.93
        place = place + speed * STEP
        for axis, (low, high) in enumerate(((left, right), (top, bottom))):
            if not low <= place[axis] <= high:
                place[axis] = min(max(place[axis], low), high)
                speed[axis] *= -0.4
        angle += spin * STEP
        if height == sinking == 0.0 and np.hypot(*speed) < 1.0 and abs(spin) < 2.0:
            break
    return Way(begins, np.array(poses, np.float32))


def reach(
    rng: np.random.Generator, begins: float, goal: tuple[float, float], size: tuple[int, int], pause: float
) -> Way:
    """Let a hand come in from one side, stay over `goal` for `pause` seconds, not quite still, and go."""
    width, _ = size
    angle = rng.uniform(-180, 180)
    out = -np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * (width * 0.75)
    come, leave = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)
    times = np.arange(0, come + pause + leave, STEP)
    part = np.clip(np.minimum(times / come, (come + pause + leave - times) / leave), 0, 1)
    part = 1 - part * part * (3 - 2 * part)
    sway = np.stack([np.sin(times * rng.uniform(5, 9)), np.sin(times * rng.uniform(5, 9) + 1)], 1)
    places = np.array(goal) + out * part[:, None] + sway * rng.uniform(0.7, 2.5)
    rest = np.stack([np.full_like(times, v) for v in (rng.uniform(1.1, 1.5), -angle, 0.6)], 1)
    return Way(begins, np.concatenate([places, rest], 1).astype(np.float32))
