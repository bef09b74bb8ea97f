"""What the camera saw just before: the best measure of what befalls it from one look to the next.

A bin changes all the time, and the learned scene lags behind it. What befell the camera is in no look of some
seconds ago: against that one, all tiles behind a smear are dull and nothing else, and a push fits to the cell. A
deposit changes many tiles at once, too, but brings outlines of its own.
"""

from __future__ import annotations

import math
from collections import deque
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.looks import LEAST_TILES, OUTLINED, Floats, Look
from edge.place import Place, found

Flags = npt.NDArray[np.bool_]

LAG = 3
"""Looks from the one that is compared with to the newest: the first with a trouble is half without it."""

MOST_TILES = 32
"""Tiles with outlines needed to be taken for covered: of a bin whose plain bottom shows, all outlines are taken
out with what lies in it."""

SPOT, REGION, STAY = 0.2, 0.88, 0.8
"""Share of those tiles that must be dull side by side; least correlation of what they show with what they showed,
out of focus; and share of them that stay dull whatever is put behind them."""

SMALL_SPOT, SMALL_REGION = 0.1, 0.95
"""The same two for a spot that is enough where it shows all the more what was there."""

DULL, FAINT = 0.2, 0.5
"""Share that a dull tile keeps of its fine detail and of its outlines at most."""

HIDDEN, LEFT, OTHER = 0.7, 0.25, 0.5
"""Share of the tiles that lose their outlines behind a cover, what is left of these at most, and their correlation
with what was seen at most."""

PLAIN, PLAIN_SHARE = 0.3, 0.04
"""Fine detail there at most, in percent squared; or as a share of what there was in the whole picture."""

PLAINER = 0.75
"""Share that a cover leaves at most of the least fine detail that was ever normal: an emptied bin is as plain as
it was before."""

KEPT = 0.5
"""Share of the large shapes that is seen through grease at least. Of what is taken out of a bin that shows a print
of its own, less stays."""

KEPT_S = 3600.0
"""Seconds after which what was seen says nothing more: by then a bin shows other things, whatever was wrong."""

SOFT = 0.8
"""Cells by which what is seen through grease is blurred."""


class JustBefore:
    """Holds the last looks with nothing wrong, and no more: a trouble that shows is never among them."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque(maxlen=LAG)
        self._off: Place | None = None
        """Where what was seen has been found since."""
        self._spot: Flags | None = None
        """Tiles that have been dull since."""

    def take(self, look: Look) -> None:
        """Take in a look with nothing wrong."""
        self._looks.append(look)
        self._off = self._spot = None

    def is_dulled(self, look: Look, easier: float) -> bool:
        """Whether tiles side by side show what they showed, out of focus."""
        then = self._then(look)
        if then is None:
            return False
        had = (then.coarse > OUTLINED) & (then.fine > 0.1 * then.coarse)
        fine = np.maximum(look.fine, 0)
        dull = had & (fine < DULL * easier**-2 * then.fine) & (look.coarse < FAINT / easier * then.coarse)
        if self._spot is not None and dull[self._spot].mean() > STAY:
            return True
        spot = largest(dull)
        if spot.sum() < max(LEAST_TILES, SMALL_SPOT * easier * had.sum()):
            return False
        soft = cast(Floats, cv2.GaussianBlur(then.shape, (0, 0), SOFT))
        alike, kept = _alike(look.shape, soft, spot)
        region = REGION if spot.sum() >= SPOT * easier * had.sum() else SMALL_REGION
        if alike < region * easier or kept < KEPT:
            return False
        self._spot = spot
        return True

    def is_hidden(self, look: Look, plainest: float) -> bool:
        """Whether most outlines are gone at once, with nothing in their place.

        `plainest`: mean fine detail that the scene had at the least, in percent squared. An emptied bin shows less
        at once, too.
        """
        then = self._then(look)
        if then is None or look.fine.mean() > PLAINER * plainest:
            return False
        had = then.coarse > OUTLINED
        gone = look.coarse < LEFT * then.coarse
        if had.sum() < MOST_TILES or gone[had].mean() < HIDDEN:
            return False
        plain = max(PLAIN, PLAIN_SHARE * float(then.fine.mean()))
        alike, _ = _alike(look.shape, then.shape, gone & had)
        return alike < OTHER and bool(look.fine[gone | ~had].mean() < plain)

    def is_elsewhere(self, look: Look, moved: float) -> bool:
        """Whether all parts of what was seen are at least the share `moved` of the picture away."""
        then = self._then(look)
        off = found(look.shape, then.shape, moved, self._off) if then else None
        self._off = off or self._off
        return off is not None

    def _then(self, look: Look) -> Look | None:
        return self._looks[0] if self._looks and look.time - self._looks[0].time <= KEPT_S else None


def largest(flags: Flags) -> Flags:
    """Keep the largest group of tiles that lie side by side: bool [6, 8]."""
    _, groups, stats, _ = cv2.connectedComponentsWithStats(flags.astype(np.uint8), connectivity=4)
    return flags & (groups == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))) if len(stats) > 1 else flags


def _alike(now: Floats, then: Floats, spot: Flags) -> tuple[float, float]:
    """Return the correlation of two shapes in some tiles, 0 to 1; and how strong the first is, as a share."""
    cells = cv2.resize(spot.astype(np.uint8), (now.shape[1], now.shape[0]), interpolation=cv2.INTER_NEAREST) > 0
    one, other = now[cells], then[cells]
    both, own, before = (max(1e-9, float(product.sum())) for product in (one * other, one**2, other**2))
    return both / math.sqrt(own * before), both / before
