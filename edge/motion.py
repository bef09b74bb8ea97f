"""What changes in a scene: whether something lies in the bin, and whether it moves.

Both are judged on thumbnails, which cost a tenth of a millisecond to make and average the sensor's noise
away. A change of the light scales the whole picture; a thing changes a part of it: so the median
ratio to the ground, over its brighter cells, is taken out before the two are compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels

Thumbnail = npt.NDArray[np.float32]
"""float32 [3, 48, 64], BGR, levels 0 to 255: planes, since sums over the last of three are slow."""

THUMBNAIL_SIZE = (64, 48)
"""Width and height in cells."""

_BLACK = 8.0
"""Levels added before a ratio is taken, so that noise in black cells does not speak for the light."""


@dataclass(frozen=True)
class WatchSettings:
    """When a scene counts as occupied or moving."""

    level: float = 20.0
    """Levels (0 to 255) by which a cell must differ from the empty scene, in any channel."""
    enter: float = 0.012
    """Share of cells that must differ for something to be there."""
    leave: float = 0.006
    """Share below which it is gone: lower than `enter`, so that the answer does not flutter."""
    still_level: float = 12.0
    """Levels by which a cell must differ from the last change for something to move."""
    still_share: float = 0.004
    """Share of cells that must do so."""
    still_seconds: float = 0.2
    """Without such a change for so long, the scene is settled."""
    learn_seconds: float = 0.5
    """At the start: the bin is taken to be empty, and its picture learned."""
    adapt_seconds: float = 5.0
    """Time constant at which the empty scene follows slow changes of the light."""
    absorb_seconds: float = 30.0
    """Time constant at which it takes in what stays: a thing that differs by 100 levels is part of the
    empty scene after absorb_seconds * ln(100 / level), 48 s, and the next deposit can begin."""


@dataclass(frozen=True)
class Sight:
    """What one frame shows."""

    time: float
    """Seconds on the source's own clock."""
    occupied: bool
    """Something differs from the empty scene."""
    moving: bool
    """Something changed within the last `still_seconds`."""


def thumbnail(image: Pixels) -> Thumbnail:
    """Shrink a BGR uint8 [h, w, 3] frame of any size to a thumbnail.

    Every cell averages 4 x 4 samples: reading all pixels of a 1080p frame would cost 60 times as much.
    """
    width, height = THUMBNAIL_SIZE
    samples = cv2.resize(image, (width * 4, height * 4), interpolation=cv2.INTER_NEAREST)
    cells = cv2.resize(samples, THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)
    return np.stack(cv2.split(cells)).astype(np.float32)


def changed(picture: Thumbnail, ground: Thumbnail, level: float) -> npt.NDArray[np.bool_]:
    """Tell the cells, bool [48, 64], that differ by more than `level` once the change of light is taken out."""
    grey = ground.mean(axis=0)
    bright = grey >= grey.mean()
    ratio = (picture.mean(axis=0)[bright] + _BLACK) / (grey[bright] + _BLACK)
    lit = np.minimum((ground + _BLACK) * np.median(ratio) - _BLACK, 255.0)
    return cast(npt.NDArray[np.bool_], np.abs(picture - lit).max(axis=0) > level)


class SceneWatch:
    """Learns the empty scene and tells what differs from it. Holds a few thumbnails and no more."""

    def __init__(self, settings: WatchSettings | None = None) -> None:
        self._settings = settings or WatchSettings()
        self._ground: Thumbnail | None = None
        self._known: list[Thumbnail] = []
        """Empty scenes of before: what was absorbed and then taken away must not look like a deposit."""
        self._anchor: Thumbnail | None = None
        """The picture at the last change."""
        self._changed_at = 0.0
        self._started = 0.0
        self._time = 0.0
        self._learned = 0
        self._occupied = False

    def look(self, picture: Thumbnail, time: float) -> Sight:
        """Take in the next picture, `time` seconds on the source's clock."""
        moving = self._moves(picture, time)
        if self._ground is None:
            self._ground, self._started, self._time = picture.copy(), time, time
        if time - self._started <= self._settings.learn_seconds:
            self._learned += 1
            self._ground = _toward(self._ground, picture, np.float32(1 / self._learned))
            self._time = time
            return Sight(time, False, moving)
        cells = changed(picture, self._ground, self._settings.level)
        self._judge(picture, float(cells.mean()))
        self._adapt(picture, cells, max(0.0, time - self._time))
        self._time = time
        return Sight(time, self._occupied, moving)

    def _moves(self, picture: Thumbnail, time: float) -> bool:
        settings = self._settings
        if self._anchor is None or (
            changed(picture, self._anchor, settings.still_level).mean() > settings.still_share
        ):
            self._anchor, self._changed_at = picture, time
        return time - self._changed_at < settings.still_seconds

    def _judge(self, picture: Thumbnail, share: float) -> None:
        """Set `occupied` from the share of cells that differ, with hysteresis."""
        settings = self._settings
        if not self._occupied and share > settings.enter:
            self._remember()
            self._occupied = True
        elif self._occupied:
            self._occupied = share >= settings.leave
        if not self._occupied:
            return
        for known in self._known:
            if changed(picture, known, settings.level).mean() < settings.leave:
                self._ground, self._occupied = known.copy(), False
                return

    def _remember(self) -> None:
        """Keep the empty scene as it is now, in place of any that looks the same; three at most."""
        ground, settings = self._ground, self._settings
        assert ground is not None  # noqa: S101  set by the first look
        others = [
            known for known in self._known if changed(ground, known, settings.level).mean() >= settings.leave
        ]
        self._known = [*others[-2:], ground.copy()]

    def _adapt(self, picture: Thumbnail, cells: npt.NDArray[np.bool_], passed: float) -> None:
        """Let the empty scene follow the picture: slowly where a thing lies, faster elsewhere."""
        quick = 1 - math.exp(-passed / self._settings.adapt_seconds)
        slow = 1 - math.exp(-passed / self._settings.absorb_seconds)
        pace = np.where(cells & self._occupied, np.float32(slow), np.float32(quick))
        assert self._ground is not None  # noqa: S101  set by the first look
        self._ground = _toward(self._ground, picture, pace)


def _toward(ground: Thumbnail, picture: Thumbnail, pace: npt.NDArray[np.float32] | np.float32) -> Thumbnail:
    """Move `ground` to `picture` by the share `pace`, a scalar or float32 [48, 64]."""
    return cast(Thumbnail, ground + (picture - ground) * pace)
