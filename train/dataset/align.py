"""Two pictures laid on one another: are they the same but for encoding, size and a cut rim?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels
from train.dataset.describe import turned
from train.dataset.examine import THUMB, Thumb

Floats = npt.NDArray[np.float32]

COARSE, FINE = 64, 128
"""Sides of the stretched pictures that are compared, pixels."""
RIM = 0.05
"""Share of a side that a cut takes away, in the windows that thumbs are compared in."""
SAME_THUMB = 0.75
"""Correlation of the details of two thumbs from which a closer look is worth it: 0.83 for the hardest in a hundred
crops of TrashNet by 5 %, where 41 of 10,166 pairs of different photos come so far."""
SAME = 0.95
"""Correlation of the details at 128 pixels from which two pictures are one: 0.95 for the hardest in a hundred such
crops."""
SAME_LEVELS = 6.0
"""Mean difference up to which they are, levels of 255: 2.4 for 99 of 100 copies of TrashNet; things that were
photographed alike, as bottles from above, start at 9, and most photos of one scene from the hand, too."""
COARSENESS = 16
"""Side of a picture over the standard deviation of the blur that is taken away: shadows and vignettes."""
MOST_CUT = 8
"""Pixels of COARSE that may be cut from a side, 12.5 %."""

WINDOWS = tuple(
    (left * RIM, top * RIM, 1 - right * RIM, 1 - bottom * RIM)
    for left, top, right, bottom in (
        (0, 0, 0, 0), (0.5, 0.5, 0.5, 0.5), (1, 1, 1, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1),
        (1, 1, 0, 0), (0, 1, 1, 0), (1, 0, 0, 1), (0, 0, 1, 1),
    )
)  # fmt: skip
"""Left, top, right and bottom as shares: the whole, and what cuts leave. Closed under mirroring and turning, so
that only one of two pictures needs to be turned."""


@dataclass(frozen=True)
class Match:
    """How well two pictures agree."""

    score: float
    """Correlation of their details, -1 to 1."""
    levels: float
    """Mean difference of their colours, levels of 255."""
    cropped: bool
    """Whether one shows only a part of the other."""

    @property
    def same(self) -> bool:
        """Whether they are one picture."""
        return self.score >= SAME and self.levels <= SAME_LEVELS


@dataclass(frozen=True, order=True)
class _Place:
    """Where a part lies in a whole, pixels."""

    score: float
    width: int
    height: int
    x: int
    y: int


def thumb_score(first: Thumb, second: Thumb, position: int) -> float:
    """Return the correlation of the details of two thumbs, -1 to 1, one of which may be cut by 5 %.

    `position` is that of `turned` in which the second looks like the first.
    """
    moved = turned(second, position)
    a, b = _windows(first.tobytes()), _windows(moved.tobytes())
    return float(max((a @ b[0]).max(), (b @ a[0]).max()))


def match(first: Pixels, second: Pixels, position: int) -> Match:
    """Lay two BGR pictures of any size on one another, the second turned into `position`."""
    whole, part = _square(first), _square(turned(second, position))
    place, around = _coarse(_luma(whole), _luma(part)), _coarse(_luma(part), _luma(whole))
    if around.score > place.score:
        whole, part, place = part, whole, around
    place = _fine(_luma(whole), _luma(part), place)
    return Match(place.score, _difference(whole, part, place), min(place.width, place.height) < FINE - 2)


@lru_cache(maxsize=1024)
def _windows(thumb: bytes) -> Floats:
    """Details of the windows of a thumb, each of norm 1: float32 [windows, 1024]."""
    picture = np.frombuffer(thumb, dtype=np.uint8).reshape(THUMB, THUMB).astype(np.float32)
    rows = []
    for left, top, right, bottom in WINDOWS:
        wide, high = right - left, bottom - top  # centres of pixels lie at halves
        scale = np.array([[wide, 0, left * THUMB + wide / 2 - 0.5], [0, high, top * THUMB + high / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = cv2.warpAffine(picture, scale, (THUMB, THUMB), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        rows.append(_details(cut, THUMB, 0))
    table = np.stack(rows).reshape(len(rows), -1)
    table -= table.mean(axis=1, keepdims=True)
    return cast(Floats, table / (np.linalg.norm(table, axis=1, keepdims=True) + 1))


def _square(picture: Pixels) -> Pixels:
    """Return a stretched picture, uint8 [128, 128, 3]."""
    return cast(Pixels, cv2.resize(picture, (FINE, FINE), interpolation=cv2.INTER_AREA))


def _luma(picture: Pixels) -> Pixels:
    return cast(Pixels, cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))


def _difference(whole: Pixels, part: Pixels, place: _Place) -> float:
    """Mean absolute difference of two BGR pictures where they lie on one another, levels of 255."""
    window = whole[place.y : place.y + place.height, place.x : place.x + place.width].astype(np.float32)
    scaled = cv2.resize(part, (place.width, place.height), interpolation=cv2.INTER_AREA).astype(np.float32)
    a, b = (cv2.GaussianBlur(picture, (0, 0), 1.5) for picture in (window, scaled))
    return float(np.abs(a - b).mean())


def _details(picture: npt.NDArray[np.generic], side: int, noise: float) -> Floats:
    """Take away what is coarser than COARSENESS lets be, and noise finer than `noise` pixels."""
    levels = picture.astype(np.float32)
    if noise:
        levels = cast(Floats, cv2.GaussianBlur(levels, (0, 0), noise))
    return cast(Floats, levels - cv2.GaussianBlur(levels, (0, 0), side / COARSENESS))


def _coarse(whole: Pixels, part: Pixels) -> _Place:
    """Find the part in the whole, both luma of side FINE; the place is in pixels of FINE, to about 2."""
    small = cv2.resize(part, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    ground = _details(cv2.resize(whole, (COARSE, COARSE), interpolation=cv2.INTER_AREA), COARSE, 0)
    best = _Place(-1.0, FINE, FINE, 0, 0)
    sides = range(COARSE - MOST_CUT, COARSE + 1, 2)
    for width in sides:
        for height in sides:
            score, x, y = _find(
                ground, cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA), COARSE, 0
            )
            best = max(best, _Place(score, 2 * width, 2 * height, 2 * x, 2 * y))
    return best


def _fine(whole: Pixels, part: Pixels, near: _Place) -> _Place:
    """Find the part again to the pixel of FINE, near where it was."""
    ground = _details(whole, FINE, 1)
    left, top = max(0, near.x - 3), max(0, near.y - 3)
    best = _Place(-1.0, near.width, near.height, near.x, near.y)
    for width in range(near.width - 2, min(FINE, near.width + 2) + 1):
        for height in range(near.height - 2, min(FINE, near.height + 2) + 1):
            window = ground[top : top + height + 6, left : left + width + 6]
            if window.shape[0] >= height and window.shape[1] >= width:
                scaled = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
                score, x, y = _find(window, scaled, FINE, 1)
                best = max(best, _Place(score, width, height, left + x, top + y))
    return best


def _find(ground: Floats, part: npt.NDArray[np.generic], side: int, noise: float) -> tuple[float, int, int]:
    """Return the best correlation of the details of `part` with a place in `ground`, and its x and y.

    The rim is left out: details there depend on what lies beyond, which a cut took away.
    """
    rim = side // COARSENESS
    inner = _details(part, side, noise)[rim:-rim, rim:-rim]
    found = cv2.matchTemplate(ground[rim:-rim, rim:-rim], inner, cv2.TM_CCOEFF_NORMED)
    _, score, _, (x, y) = cv2.minMaxLoc(found)
    return (float(score) if np.isfinite(score) else -1.0), int(x), int(y)
