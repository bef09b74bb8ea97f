"""Where the camera looks: whether a scene is found again in another place of the picture."""

from __future__ import annotations

import cv2
import numpy as np

from edge.looks import Floats

Place = tuple[int, int]
"""Cells, of 64 in the width, to the right and down."""

FARTHEST = 14
"""Cells, of 64 in the width, by which the camera may have been moved to be found again."""

FEATURE, FAINTEST = 2.0, 0.01
"""Outlines count with so many times their median at most, and with this much at least, so that one thing does not
speak for all."""

FITS, FITS_STILL, BETTER = 0.4, 0.25, 0.15
"""Least correlation with the scene in its new place; the same where it was found before; and least gain over the
old place."""

PARTS, MOST_PARTS = 3, 0.6
"""The overlap is cut into so many parts each way; and the share of those with outlines that must fit better."""


def found(now: Floats, known: Floats, moved: float, before: Place | None = None) -> Place | None:
    """Return where `known`, float32 [48, 64] as in Look.shape, is found in `now`, in all parts of the picture.

    None: nowhere, or by less than the share `moved` of width and height away. `before`: where it was found
    already, so that less of it, as beside a new thing, is enough there.
    """
    height, width = now.shape
    far_x = far_y = FARTHEST
    most = max(FAINTEST, FEATURE * float(np.median(np.abs(known))))
    here, there = (np.clip(one, -most, most) for one in (now, known))
    fits = cv2.matchTemplate(here, there[far_y:-far_y, far_x:-far_x], cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(fits)
    by_x, by_y = x - far_x, y - far_y
    if max(abs(by_x) / width, abs(by_y) / height) < moved or best - float(fits[far_y, far_x]) < BETTER:
        return None
    if before and max(abs(by_x - before[0]), abs(by_y - before[1])) <= 1 and best > FITS_STILL:
        return before
    return (by_x, by_y) if best > FITS and _agree(here, there, by_x, by_y) else None


def _agree(here: Floats, there: Floats, by_x: int, by_y: int) -> bool:
    """Whether most parts fit better in the new place: one thing that was pushed does not move the rest."""
    height, width = here.shape
    rows, columns = _overlap(height, by_y), _overlap(width, by_x)
    now = here[rows[0], columns[0]]
    moved = there[rows[1], columns[1]]
    stayed = there[rows[0], columns[0]]
    least = max(0.004, 0.3 * float(np.abs(there).mean()))
    better = [
        float((np.abs(a - b)).sum()) < 0.8 * float(np.abs(a - c).sum())
        for a, b, c in zip(_parts(now), _parts(moved), _parts(stayed), strict=True)
        if max(float(np.abs(c).mean()), float(np.abs(a).mean())) > least
    ]
    return len(better) >= 4 and sum(better) >= MOST_PARTS * len(better)


def _overlap(size: int, by: int) -> tuple[slice, slice]:
    return slice(max(0, by), size + min(0, by)), slice(max(0, -by), size - max(0, by))


def _parts(cells: Floats) -> list[Floats]:
    return [part for rows in np.array_split(cells, PARTS) for part in np.array_split(rows, PARTS, axis=1)]
