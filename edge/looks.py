"""What one look at a whole frame measures of the camera's eye: light, sharpness, outlines, and what changed.

Two looks a second apart are multiplied with each other: noise, which differs between them, drops out of the mean
of the product, and what stands still stays. So sharpness is that of the scene, however much noise the sensor's
gain makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels
from edge.structure import THUMBNAIL_SIZE

Floats = npt.NDArray[np.float32]

WIDEST = 480
"""Pixels to which the picture is averaged down at most: a network sees half of that, and what only more would show
is no trouble."""

TILES = (8, 6)
"""Columns and rows that are judged apart."""

_BLACK = 16.0
"""Levels added before a logarithm is taken, so that noise in black says little."""

_WHITE = 250
"""Level from which on a colour is as bright as it gets."""

_MOVES, _SHARE = 2.0, 0.4
"""A tile moves where its outlines changed by more than this, in percent squared, and by this share of what they
are."""


@dataclass(frozen=True, eq=False)
class Look:
    """One look, and what the one before adds to it."""

    time: float
    """Seconds on the source's own clock."""
    level: float
    """Mean level, 0 to 255."""
    bright: float
    """Level that a twentieth of the picture exceeds."""
    white: float
    """Share of pixels that are clipped in two colours at least, 0 to 1."""
    change: float
    """Mean difference from the look before, in levels; 0: not one pixel differs."""
    noise: Floats
    """float32 [6, 8]: how much detail of 1 to 2 pixels each tile has in this look alone, in percent squared. No
    cloud does that."""
    fine: Floats
    """float32 [6, 8]: how much detail of 1 to 2 pixels each tile has, in percent squared; without noise, so that
    it may fall below 0."""
    coarse: Floats
    """The same of outlines of 4 to 8 pixels."""
    moving: float
    """Share of tiles that changed since the look before."""
    shape: Floats
    """float32 [48, 64]: outlines, as natural logarithms of the level over the mean around it."""

    @property
    def sharpness(self) -> float | None:
        """Natural logarithm of fine over coarse detail: 0 for sharp edges, -1.5 where they are blurred by a pixel
        and -3 by two; whatever their contrast, and whatever the light. None: there is too little to tell."""
        coarse = float(self.coarse.mean())
        return float(np.log(max(float(self.fine.mean()), 1e-3) / coarse)) if coarse > ENOUGH else None


OUTLINED, LEAST_TILES = 1.5, 3
"""Outlines that a tile must have had to be judged, in percent squared; and such tiles needed for a verdict."""

ENOUGH = 0.5
"""Outlines below which nothing is said of sharpness, in percent squared."""


class Looker:
    """Holds the newest look's bands, and no more."""

    def __init__(self) -> None:
        self._before: tuple[Pixels, Floats, Floats] | None = None

    def look(self, image: Pixels, time: float) -> Look | None:
        """Look at uint8 [height, width, 3] BGR, `time` seconds on the source's clock; None: it is the first.

        Takes 4 ms for 640x480, 10 ms for 720p and 1080p, of one core.
        """
        grey, white = _grey(image)
        logs = np.log(grey.astype(np.float32) + np.float32(_BLACK))
        fine, coarse = _bands(logs * 100)
        before, self._before = self._before, (grey, fine, coarse)
        if before is None or before[0].shape != grey.shape:
            return None
        product, own = (
            tiles(coarse * before[2]),
            tiles((coarse * coarse + before[2] * before[2]) * np.float32(0.5)),
        )
        return Look(
            time=time,
            level=float(grey.mean()),
            bright=float(np.percentile(grey[::4, ::4], 95)),
            white=white,
            change=float(cv2.absdiff(grey, before[0]).mean()),
            noise=tiles(np.square(fine - before[1])) * np.float32(0.5),
            fine=tiles(fine * before[1]),
            coarse=product,
            moving=float((own - product > np.maximum(_MOVES, _SHARE * own)).mean()),
            shape=_shape(logs),
        )


def _grey(image: Pixels) -> tuple[Pixels, float]:
    """Average the picture down, uint8 [height, width]; and say which share is clipped in two colours at least."""
    height, width = image.shape[:2]
    by = -(-width // WIDEST)
    small = image
    if by > 1:
        small = cast(Pixels, cv2.resize(image, (width // by, max(1, height // by)), interpolation=cv2.INTER_AREA))
    clipped = (small[::4, ::4] >= _WHITE).sum(axis=2) >= 2
    return cast(Pixels, cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)), float(clipped.mean())


def _bands(logs: Floats) -> tuple[Floats, Floats]:
    one, two, four = (cv2.GaussianBlur(logs, (0, 0), sigma) for sigma in (1, 2, 4))
    return cast(Floats, logs - one), cast(Floats, two - four)


def tiles(values: Floats) -> Floats:
    """Return the mean of each tile, float32 [6, 8]."""
    return cast(Floats, cv2.resize(values, TILES, interpolation=cv2.INTER_AREA))


def _shape(logs: Floats) -> Floats:
    small = cv2.GaussianBlur(cv2.resize(logs, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    return cast(Floats, small - cv2.blur(small, (7, 7), borderType=cv2.BORDER_REFLECT))
