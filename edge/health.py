"""The camera watches itself: whether what it gives is still a picture of the bin. Pure, on the source's own time.

A fault is one that every look shows for some seconds; a hand, a lamp or a thing is not. What is normal is learned
while nothing is wrong: the scene within a minute, and how sharp the lens is over hours.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import cast

import numpy as np
import numpy.typing as npt

from edge.just_before import JustBefore, largest
from edge.looks import LEAST_TILES, OUTLINED, Floats, Look, Looker, tiles
from edge.place import found
from edge.preprocess import Pixels
from edge.stillness import Stillness

Flags = npt.NDArray[np.bool_]

EACH_S = 1.0
"""From one look to the next, in seconds."""

NEVER = -99.0
"""No sharpness was normal for long enough yet."""

SHARPEST_S, SHARP_LOOKS = 3600.0, 20
"""Time constant at which the lens's sharpness is learned, in seconds; and looks that make a beginning."""


class State(str, Enum):
    """What the camera finds itself to be, the worst first."""

    LOST = "lost"
    FROZEN = "frozen"
    DARK = "dark"
    OVER_EXPOSED = "over_exposed"
    BLOCKED = "blocked"
    BLURRED = "blurred"
    MOVED = "moved"


OK = "ok"

LENS = (State.BLOCKED, State.BLURRED)
"""Of equally many looks the first counts."""

ROUNDING = 1e-9
"""Seconds that a sum of parts may lack."""


@dataclass(frozen=True)
class HealthSettings:
    """What counts as a fault."""

    hold_s: float = 6.0
    """A fault must show for so long, and be gone for as long."""
    scene_s: float = 60.0
    """Time constant at which the scene is learned."""
    first_looks: int = 5
    """Looks from which the scene is learned at the start."""
    dark: float = 14.0
    """Mean level below which the picture is dark."""
    dark_bright: float = 30.0
    """And no twentieth of it is brighter than this."""
    white: float = 0.5
    """Share of white pixels from which on it is over-exposed."""
    blur: float = 1.1
    """By how much sharpness falls, as in Look.sharpness: a blur by about a pixel of 320."""
    softest: float = -1.5
    """No lens is so bad that less than this is taken for normal."""
    fades: float = 0.35
    """By how much at most the normal sharpness falls below the best that was learned: dirt settles slowly."""
    smeared: float = 0.3
    """Share of the tiles with outlines that are blurred each for itself."""
    spot: float = 0.2
    """Share that is enough where they lie side by side and nearly all show the same."""
    lost_share: float = 0.8
    """Share of those tiles that lost their outlines where something covers the lens."""
    lost_to: float = 0.2
    """What is left of them at most."""
    plain: float = 0.3
    """Fine detail that a covered lens shows at most, in percent squared."""
    plainer: float = 0.5
    """And share at most of the least that was ever normal."""
    moved: float = 0.035
    """Share of the picture's width or height by which the camera must look elsewhere."""
    accepted_s: float = 86400.0
    """After so long, where the camera looks now is normal."""
    moving: float = 0.25
    """Share of moving tiles beyond which a look says nothing of blur, cover and place."""


@dataclass(frozen=True)
class Sharpness:
    """What was learned of the lens: what outlives a restart."""

    normal: float
    """As in Look.sharpness."""
    best: float
    """The best that was normal once."""
    looks: int


class Health:
    """Looks once a second, and learns. Holds two pictures of a few hundred pixels and no more."""

    def __init__(self, settings: HealthSettings | None = None, sharpness: Sharpness | None = None) -> None:
        self._settings = settings or HealthSettings()
        self.sharpness = sharpness
        self._looker = Looker()
        self._stillness = Stillness(self._settings.moving)
        self._looked = float("-inf")
        self._scores = dict.fromkeys(State, 0.0)
        self._on: set[State] = set()
        self._scene: _Scene | None = None
        self._just_before = JustBefore()
        self._moved_at = 0.0

    @property
    def states(self) -> tuple[State, ...]:
        """All that is wrong, the worst first."""
        return tuple(state for state in State if state in self._on)

    def look(self, image: Pixels, time: float) -> bool:
        """Take in a frame, uint8 [height, width, 3] BGR, `time` seconds on the source's clock. True: a look was
        taken."""
        passed = time - self._looked
        if 0 <= passed < EACH_S - 1e-6:
            return False
        self._looked = time
        self._vote(State.LOST, False, self._settings.hold_s)  # a picture is there
        look = self._looker.look(image, time)
        if look is not None:
            self._judge(look, min(max(0.0, passed), 2 * EACH_S))
        return True

    def lost(self) -> None:
        """No frame comes, and that is no slow camera's way."""
        self._scores[State.LOST] = self._settings.hold_s
        self._on.add(State.LOST)

    def _judge(self, look: Look, passed: float) -> None:
        settings = self._settings
        self._vote(State.FROZEN, self._stillness.is_frozen(look, passed, State.FROZEN in self._on), passed)
        dim = 1.3 if State.DARK in self._on else 1.0
        dark = look.level < settings.dark * dim and look.bright < settings.dark_bright * dim
        white = look.white > settings.white * (0.8 if State.OVER_EXPOSED in self._on else 1.0)
        self._vote(State.DARK, dark, passed)
        self._vote(State.OVER_EXPOSED, white, passed)
        if dark or white or self._scores[State.FROZEN]:
            return
        if look.moving > settings.moving:
            if self._just_before.is_elsewhere(look, settings.moved):  # what moves may be all there is
                self._vote(State.MOVED, True, passed)
            return
        self._see(look, passed)

    def _see(self, look: Look, passed: float) -> None:
        """Judge lens and place, on a picture in which something can be seen."""
        if self._scene is None:
            self._scene = _Scene(self._settings, look)
        scene = self._scene
        if scene.looks >= self._settings.first_looks:
            covered, just_before = scene.is_covered(look), self._just_before
            hidden = (covered and not scene.shows(look)) or just_before.is_hidden(look, scene.plainest)
            blurred = not hidden and (covered or self._is_blurred(look, scene))
            self._vote_lens(State.BLOCKED if hidden else State.BLURRED if blurred else None, passed)
            if not hidden:
                elsewhere = scene.is_elsewhere(look) or just_before.is_elsewhere(look, self._settings.moved)
                self._vote(State.MOVED, elsewhere, passed)
        elif self._is_blurred(look, scene):
            self._vote_lens(State.BLURRED, passed)
        if State.MOVED in self._on and look.time - self._moved_at > self._settings.accepted_s:
            self._on.discard(State.MOVED)
            self._scores[State.MOVED] = 0.0
            self._scene = None
        elif not any(self._scores.values()):
            scene.learn(look, passed)
            self._just_before.take(look)
            self._learn(look, passed)

    def _vote(self, state: State, bad: bool, passed: float) -> None:
        hold = self._settings.hold_s
        score = self._scores[state] = min(hold, max(0.0, self._scores[state] + (passed if bad else -passed)))
        if score >= hold and state not in self._on:
            self._on.add(state)
            self._moved_at = self._looked if state is State.MOVED else self._moved_at
        elif score <= 0:
            self._on.discard(state)

    def _vote_lens(self, shown: State | None, passed: float) -> None:
        """Count looks that show a cover and looks that show a blur as one trouble, with the name of the more.

        Grease over much of the lens looks like either from one look to the next. None: this look shows neither.
        """
        hold, scores = self._settings.hold_s, self._scores
        if shown:
            (other,) = {*LENS} - {shown}
            scores[shown] = min(hold, scores[shown] + passed)
            scores[other] = min(scores[other], hold - scores[shown])
        else:
            for state in sorted(LENS, key=scores.__getitem__):
                forgotten = min(passed, scores[state])
                scores[state] -= forgotten
                passed -= forgotten
        total = sum(scores[state] for state in LENS)
        if total >= hold - ROUNDING:
            self._on = self._on - {*LENS} | {max(LENS, key=scores.__getitem__)}
        elif total <= 0:
            self._on -= {*LENS}

    def _is_blurred(self, look: Look, scene: _Scene) -> bool:
        easier = 0.75 if State.BLURRED in self._on else 1.0
        if scene.is_smeared(look, easier) or self._just_before.is_dulled(look, easier):
            return True
        now, known, settings = look.sharpness, self.sharpness, self._settings
        if now is None:
            return State.BLURRED in self._on  # nothing speaks for a lens that is clear again
        normal = settings.softest
        if known and known.looks >= SHARP_LOOKS:
            normal = max(known.normal, known.best - settings.fades, settings.softest)
        return now < normal - settings.blur * easier

    def _learn(self, look: Look, passed: float) -> None:
        """Learn the lens's sharpness: quickly at first, and then over hours."""
        now, known = look.sharpness, self.sharpness
        if now is None:
            return
        if known is None:
            self.sharpness = Sharpness(now, NEVER, 1)
            return
        looks = known.looks + 1
        pace = max(1 / looks, 1 - math.exp(-passed / SHARPEST_S))
        normal = known.normal + (now - known.normal) * pace
        best = max(known.best, normal) if looks * EACH_S >= SHARPEST_S else known.best
        self.sharpness = Sharpness(normal, best, looks)


class _Scene:
    """What the camera normally sees."""

    def __init__(self, settings: HealthSettings, look: Look) -> None:
        self._settings = settings
        self._fine, self._coarse, self._shape = look.fine, look.coarse, look.shape
        self.looks = 0
        self._recent, self._poorest = look.fine, look.fine
        """Fine detail of each tile: over the last looks, and the least that it had of late with nothing wrong."""
        self._shapes: deque[Floats] = deque([look.shape], LATELY)
        self.plainest = math.inf
        """Least detail that this camera showed with nothing wrong: a bin that was emptied is no cover."""

    def learn(self, look: Look, passed: float) -> None:
        """Follow what is seen."""
        self.looks += 1
        pace = np.float32(max(1 / self.looks, 1 - math.exp(-passed / self._settings.scene_s)))
        self._fine = self._fine + (look.fine - self._fine) * pace
        self._coarse = self._coarse + (look.coarse - self._coarse) * pace
        self._shape = self._shape + (look.shape - self._shape) * pace
        self._shapes.append(look.shape)
        self._recent = self._recent + (look.fine - self._recent) * np.float32(max(1 / self.looks, RECENT))
        regained = np.maximum(self._fine - self._poorest, 0) * np.float32(1 - math.exp(-passed / POOREST_S))
        self._poorest = np.minimum(self._poorest + regained, self._recent)
        if self.looks >= self._settings.first_looks:
            self.plainest = min(self.plainest, max(0.0, float(self._fine.mean())))

    def is_covered(self, look: Look) -> bool:
        """Whether nearly all outlines are gone, with nothing sharp in their place."""
        settings = self._settings
        had = self._coarse > OUTLINED
        if had.sum() < LEAST_TILES or look.fine.mean() > self._settings.plainer * self.plainest:
            return False
        gone = look.coarse < settings.lost_to * self._coarse
        return bool(gone[had].mean() >= settings.lost_share and look.fine[gone | ~had].mean() < settings.plain)

    def shows(self, look: Look) -> bool:
        """Whether the large shapes are still those of the scene."""
        alike = (look.shape * self._shape).sum()
        return bool(alike > ALIKE * np.sqrt((look.shape**2).sum() * (self._shape**2).sum()))

    def is_smeared(self, look: Look, easier: float) -> bool:
        """Whether tiles show the same shapes with less detail: what lies before the lens, not in the bin.

        A bin that is emptied is less than its mean, too: but its tiles were as poor before, and the shapes of what
        lay there are gone.
        """
        settings = self._settings
        had = (self._coarse > OUTLINED) & (self._fine > 0.1 * self._coarse)
        if self.looks < settings.first_looks or had.sum() < LEAST_TILES:
            return False
        fine = np.maximum(look.fine, 0)
        poorer = (fine < DULLED * easier**-2 * self._fine) & (fine < POORER * np.maximum(self._poorest, 0))
        dulled = had & poorer & (look.coarse < 0.8 * self._coarse)
        same = _same(look.shape, self._shape)
        if (dulled & same).sum() >= max(LEAST_TILES, settings.smeared * easier * had.sum()):
            return True
        spot = largest(dulled)
        enough = spot.sum() >= max(LEAST_TILES, settings.spot * easier * had.sum())
        return bool(enough and same[spot].mean() > SAME)

    def is_elsewhere(self, look: Look) -> bool:
        """Whether the scene, as it mostly was or as it was of late, is found in another place, in all parts of the
        picture."""
        moved = self._settings.moved
        return any(found(look.shape, shape, moved) for shape in (self._shape, self._before()))

    def _before(self) -> Floats:
        """Shape of some looks ago: a trouble that is not told at once is not in it."""
        return cast(Floats, np.mean([*self._shapes][: -(-len(self._shapes) // 2)], axis=0))


ALIKE, TILE_ALIKE = 0.6, 0.5
"""Least correlation of shapes that are the same, in the whole picture and in a tile."""

DULLED = 0.2
"""Share of its fine detail that a tile behind a smear keeps at most."""

SAME = 0.7
"""Share of the tiles that lie side by side behind a smear that must show the same as before: more than where a bin
was emptied."""

KEPT = 0.3
"""Share of the scene's shapes that a tile behind a smear keeps at least."""

POORER, POOREST_S, RECENT = 0.8, 600.0, 0.25
"""A tile behind a smear has less than this share of the fine detail that it ever had of late; the time constant at
which that is forgotten, in seconds; and the weight of the newest look in what it has."""

LATELY = 12
"""Newest shapes that are kept."""


def _same(here: Floats, there: Floats) -> Flags:
    """Which tiles show the same shapes, if weaker: bool [6, 8]."""
    own, known, both = tiles(here**2), tiles(there**2), tiles(here * there)
    return cast(Flags, (both > TILE_ALIKE * np.sqrt(own * known)) & (both > KEPT * known))
