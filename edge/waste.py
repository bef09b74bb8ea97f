"""The project's own picture maker: photos of six kinds of waste, so that all can be tried without a camera.

The things themselves are drawn by edge.items. Ground, light and camera come from the same ranges for every
kind. Each picture is a function of its random generator and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from edge.canvas import SHIFT, Colour, Floats, Rng, as_colour, fill, fixed, tint
from edge.items import FILL, LABELS, Item, draw_item
from edge.preprocess import Pixels

__all__ = [
    "FILL",
    "LABELS",
    "Item",
    "Look",
    "Shadow",
    "develop",
    "draw_background",
    "draw_bin",
    "draw_item",
    "draw_photo",
    "encode_photo",
    "place",
    "random_look",
    "random_shadow",
    "write_dataset",
]


@dataclass(frozen=True)
class Shadow:
    """The shadow that a thing casts on its ground."""

    dx: float
    """To the right, as a share of the item's canvas."""
    dy: float
    """Down, as a share of the item's canvas."""
    blur: float
    """Standard deviation, as a share of the item's canvas."""
    strength: float
    """Share of the light that is taken away, 0 to 1."""


@dataclass(frozen=True)
class Look:
    """How a lamp and a camera render a scene."""

    gain: Colour
    """Factor on blue, green and red: the lamp's colour and the exposure."""
    slope: tuple[float, float]
    """How much the light changes across the picture to the right and down, as a share of its mean."""
    contrast: float
    """Factor on the distance from mid grey."""
    defocus: float
    """Standard deviation of the lens blur, as a share of the picture's height."""
    motion: tuple[float, float]
    """The camera's movement while the shutter was open, to the right and down, as a share of the height."""
    noise: float
    """Standard deviation of the sensor noise, in levels of 255."""


def random_shadow(rng: Rng) -> Shadow:
    """Return a shadow by a lamp from any side."""
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.06)
    dx, dy = reach * np.cos(angle), reach * np.sin(angle)
    return Shadow(dx, dy, blur=rng.uniform(0.015, 0.05), strength=rng.uniform(0.2, 0.6))


def random_look(rng: Rng) -> Look:
    """Return a lamp and a camera from the range that the photos cover."""
    exposure, cast_by = rng.uniform(0.8, 1.2), rng.uniform(-0.1, 0.1)
    moved = rng.uniform(-0.02, 0.02, 2) if rng.random() < 0.2 else np.zeros(2)
    slope = rng.uniform(-0.25, 0.25, 2)
    return Look(
        gain=(exposure * (1 + cast_by), exposure * rng.uniform(0.96, 1.04), exposure * (1 - cast_by)),
        slope=(float(slope[0]), float(slope[1])),
        contrast=rng.uniform(0.85, 1.2),
        defocus=rng.uniform(0.003, 0.007) if rng.random() < 0.3 else 0.0,
        motion=(float(moved[0]), float(moved[1])),
        noise=rng.uniform(1.0, 4.0),
    )


def draw_background(rng: Rng, size: int) -> Pixels:
    """Draw a ground without any item: uint8 [size, size, 3], BGR."""
    grounds = (draw_bin, _draw_table, _draw_tiles, _draw_cloth)
    ground = grounds[rng.choice(len(grounds), p=(0.55, 0.15, 0.15, 0.15))](rng, size, size)
    for _ in range(max(0, int(rng.integers(-2, 3)))):
        _add_clutter(ground, rng)
    return ground


def draw_photo(label: str, rng: Rng, size: int = 128) -> Pixels:
    """Draw a photo of one thing on some ground: uint8 [size, size, 3], BGR.

    The thing's longer side takes 58 to 90 % of the frame. Raises UsageError as draw_item does.
    """
    share = rng.uniform(0.58, 0.9)
    item = draw_item(label, rng, max(8, round(size * share / FILL)))
    slack = size * (1 - share) / 2 * 0.8
    x, y = size / 2 + rng.uniform(-slack, slack, 2)
    scene = place(draw_background(rng, size), item, x, y, random_shadow(rng))
    return develop(scene, random_look(rng), rng)


def encode_photo(image: Pixels, rng: Rng) -> bytes:
    """Encode uint8 [height, width, 3] BGR as JPEG of a quality from 30 to 95."""
    quality = int(rng.integers(30, 96))
    return cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def write_dataset(folder: Path, per_class: int, seed: int, size: int = 128) -> None:
    """Write folder/<label>/<label>_0001.jpg and so on, `per_class` photos of size x size pixels a kind.

    A photo depends on its seed, label and number only: more photos leave the first ones as they are, and
    another seed gives photos that were never seen. Raises OSError.
    """
    for index, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(1, per_class + 1):
            rng = np.random.default_rng([seed, index, number])
            data = encode_photo(draw_photo(label, rng, size), rng)
            (folder / label / f"{label}_{number:04d}.jpg").write_bytes(data)


def place(
    ground: Pixels, item: Item, x: float, y: float, shadow: Shadow, *, scale: float = 1.0, turn: float = 0.0
) -> Pixels:
    """Return a copy of `ground`, uint8 [height, width, 3] BGR, with the item's middle at (x, y) pixels.

    The item is first scaled and turned by `turn` degrees. It may lie partly or wholly outside.
    """
    height, width = ground.shape[:2]
    side = item.alpha.shape[0] * scale
    middle = (item.alpha.shape[0] - 1) / 2
    move = cv2.getRotationMatrix2D((middle, middle), turn, scale)
    move[:, 2] += x - middle, y - middle
    # Blue, green, red and alpha move together: one call instead of two.
    layer = cv2.warpAffine(np.dstack((item.colour, item.alpha)), move, (width, height)).astype(np.float32)
    alpha = layer[:, :, 3] / 255
    shift = np.array([[1, 0, shadow.dx * side], [0, 1, shadow.dy * side]], dtype=np.float32)
    shade = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, (width, height)), (0, 0), shadow.blur * side + 0.1)
    lit = ground * (1 - shadow.strength * shade)[:, :, None]
    return cast(Pixels, (lit + (layer[:, :, :3] - lit) * alpha[:, :, None]).astype(np.uint8))


def develop(scene: Pixels, look: Look, rng: Rng) -> Pixels:
    """Return the picture that a camera takes of `scene`: uint8 [height, width, 3], BGR, both."""
    height, width = scene.shape[:2]
    right = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    light = 1 + look.slope[0] * right + look.slope[1] * down
    lit = scene * (light[:, :, None] * np.array(look.gain, dtype=np.float32) * look.contrast)
    picture: Floats = (lit + 127.5 * (1 - look.contrast)).astype(np.float32)
    if look.defocus:
        picture = cast(Floats, cv2.GaussianBlur(picture, (0, 0), look.defocus * height))
    if any(look.motion):
        streak = _streak(look.motion[0] * height, look.motion[1] * height)
        picture = cast(Floats, cv2.filter2D(picture, -1, streak))
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * look.noise
    return cast(Pixels, np.clip(picture, 0, 255).astype(np.uint8))


def draw_bin(rng: Rng, height: int, width: int) -> Pixels:
    """Draw the inside of an empty bin, seen from above: uint8 [height, width, 3], BGR."""
    wall = np.array(tint(rng)) * rng.uniform(0.15, 0.5) + rng.uniform(5, 35)
    low, high = rng.uniform(0.05, 0.32, 2), 1 - rng.uniform(0.05, 0.32, 2)
    floor = np.array([low, (high[0], low[1]), high, (low[0], high[1])]) + rng.normal(0, 0.02, (4, 2))
    rim = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    out = np.zeros((height, width, 3), dtype=np.uint8)
    for side in range(4):
        other = (side + 1) % 4
        corners = np.array([rim[side], rim[other], floor[other], floor[side]])
        fill(out, corners * (width, height), as_colour(wall * rng.uniform(0.5, 1.3)))
    fill(out, floor * (width, height), as_colour(wall * rng.uniform(0.5, 1.5)))
    soft = cast(Pixels, cv2.GaussianBlur(out, (0, 0), rng.uniform(0.002, 0.03) * height + 0.3))
    return _mottled(soft, rng, cells=int(rng.integers(3, 12)), amount=rng.uniform(2, 10))


def _draw_table(rng: Rng, height: int, width: int) -> Pixels:
    """Draw boards or a plain top: streaks along one direction."""
    out = np.full((height, width, 3), _ground_tint(rng), dtype=np.uint8)
    coarse = rng.normal(0, rng.uniform(2, 9), (int(rng.integers(10, 60)), int(rng.integers(1, 5))))
    streaks = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        streaks = cv2.resize(coarse.T, (width, height), interpolation=cv2.INTER_CUBIC)
    out = np.clip(out + streaks[:, :, None], 0, 255).astype(np.uint8)
    return _mottled(out, rng, cells=4, amount=rng.uniform(2, 15))


def _draw_tiles(rng: Rng, height: int, width: int) -> Pixels:
    """Draw a turned grid of tiles, each of its own brightness."""
    count = int(rng.integers(3, 9))
    levels = np.clip(rng.normal(1, rng.uniform(0.01, 0.07), (count, count, 1)) * _ground_tint(rng), 0, 255)
    cell = 16
    grid = np.kron(levels, np.ones((cell, cell, 1))).astype(np.uint8)
    grid[::cell] = grid[:, ::cell] = _ground_tint(rng)
    middle = count * cell / 2
    turn = cv2.getRotationMatrix2D((middle, middle), rng.uniform(0, 90), 0.75 * max(height, width) / middle)
    turn[:, 2] += np.array((width / 2 - middle, height / 2 - middle))
    out = cast(Pixels, cv2.warpAffine(grid, turn, (width, height), borderMode=cv2.BORDER_WRAP))
    return _mottled(out, rng, cells=5, amount=rng.uniform(2, 12))


def _draw_cloth(rng: Rng, height: int, width: int) -> Pixels:
    """Draw cloth, carpet or sand: fine grain over wide folds."""
    out = np.full((height, width, 3), _ground_tint(rng), dtype=np.uint8)
    grain = rng.normal(0, rng.uniform(2, 9), (height // 2, width // 2))
    out = np.clip(out + cv2.resize(grain, (width, height))[:, :, None], 0, 255).astype(np.uint8)
    return _mottled(out, rng, cells=int(rng.integers(3, 9)), amount=rng.uniform(3, 12))


def _add_clutter(ground: Pixels, rng: Rng) -> None:
    """Draw a piece of something over the rim of `ground`, in place: too little of it to be a thing."""
    side = ground.shape[0]
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
    spokes = np.stack((np.cos(angles), np.sin(angles)), axis=1) * rng.uniform(0.1, 0.3)
    along, off = rng.uniform(0, 1), rng.uniform(-0.06, 0.02)
    middle = [(along, off), (along, 1 - off), (off, along), (1 - off, along)][rng.integers(4)]
    fill(ground, (spokes + middle) * side, _ground_tint(rng))


def _mottled(picture: Pixels, rng: Rng, cells: int, amount: float) -> Pixels:
    """Return `picture` with soft spots, `cells` of them across, of `amount` levels standard deviation."""
    height, width = picture.shape[:2]
    spots = rng.normal(0, amount, (cells, cells)).astype(np.float32)
    spread = cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
    return cast(Pixels, np.clip(picture + spread[:, :, None], 0, 255).astype(np.uint8))


def _ground_tint(rng: Rng) -> Colour:
    """Return a colour of grounds: duller and darker than most waste, which would be lost on its like."""
    colour = np.array(tint(rng))
    grey = colour.mean()
    return as_colour((grey + (colour - grey) * 0.5) * rng.uniform(0.25, 0.6))


def _streak(dx: float, dy: float) -> Floats:
    """Return the filter of a movement by (dx, dy) pixels: a thin line whose sum is 1."""
    reach = int(np.ceil(max(abs(dx), abs(dy)) / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.uint8)
    ends = np.array([(-dx / 2, -dy / 2), (dx / 2, dy / 2)]) + reach
    cv2.polylines(kernel, [fixed(ends)], False, 255, 1, cv2.LINE_AA, SHIFT)
    return cast(Floats, (kernel / kernel.sum()).astype(np.float32))
