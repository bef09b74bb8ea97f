"""Small pictures that stand inside a page, as data: URIs."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge.errors import ImageError
from edge.preprocess import Pixels, glance
from train.dataset.examine import on_all_cores

SIDE = 160
"""Longest side, pixels."""
MOST_BYTES = 10_000
"""Of an encoded picture: 300 of them are 4 MB of a page at the very most."""
QUALITIES = (80, 60, 40, 20)
"""JPEG qualities, from the one that is wanted to the one that noise is made to fit with."""


@dataclass(frozen=True)
class Thumb:
    """A picture that is part of a page."""

    source: str
    """data: URI of a JPEG."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def draw_thumbs(paths: Iterable[Path]) -> dict[Path, Thumb]:
    """Decode photos, each once and on all cores, and draw them small. What can't be decoded is not among them."""
    unique = list(dict.fromkeys(paths))
    drawn = zip(unique, on_all_cores(_draw, unique), strict=True)
    return {path: thumb for path, thumb in drawn if thumb}


def _draw(path: Path) -> Thumb | None:
    try:
        picture = glance(path.read_bytes(), SIDE)
    except (ImageError, OSError):
        return None
    return draw_thumb(picture)


def draw_thumb(picture: Pixels) -> Thumb:
    """Draw a BGR picture small, its longer side at most 160 pixels."""
    small = _shrink(picture)
    encoded = base64.b64encode(_encode(small)).decode()
    return Thumb(f"data:image/jpeg;base64,{encoded}", small.shape[1], small.shape[0])


def _shrink(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype("uint8", copy=False)


def _encode(picture: Pixels) -> bytes:
    for quality in QUALITIES:
        data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()
        if len(data) <= MOST_BYTES:
            break
    return data
