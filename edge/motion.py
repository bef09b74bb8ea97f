"""What changes in a scene: whether something new lies in the bin, and whether it moves.

Both are judged on thumbnails, which cost a tenth of a millisecond to make and average the sensor's noise away,
and on their structure, which the light does not change. What has come to rest is part of the scene a second
later, so that the next thing on top of it is new again; earlier scenes are kept, so that taking things away is
not.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from edge.structure import (
    Cells,
    Floats,
    Structure,
    Thumbnail,
    around,
    changed,
    closer,
    follow,
    kept,
    largest,
    new_since,
    pushed,
    relighting,
    relit,
    structure,
    thumbnail,
    toward,
)

__all__ = ["SceneWatch", "Sight", "Thumbnail", "WatchSettings", "thumbnail"]


_WHITE = 250.0
"""Level from which on a cell is white."""


@dataclass(frozen=True)
class WatchSettings:
    """When a scene counts as occupied or moving."""

    edge: float = 0.075
    """By how much a cell's edges must differ from the scene as it was, as a natural logarithm: 7.5 %."""
    level: float = 7.0
    """And by how many levels (0 to 255): what counts in the dark, where noise is a larger share."""
    enter: float = 0.012
    """Share of all cells that must differ, side by side, for something to be there."""
    leave: float = 0.006
    """Share below which it is gone: lower than `enter`, so that the answer does not flutter."""
    alike: float = 0.5
    """An earlier scene is known again where the picture differs from it by no more than this share of what it
    differs from the newest one."""
    still_edge: float = 0.09
    """As `edge`, against the picture at the last change, for something to move."""
    still_share: float = 0.004
    """Share of cells that must do so."""
    still_part: float = 0.1
    """And what part of those in which the thing shows: noise on its outlines, a gleam and a fly are less."""
    still_seconds: float = 0.2
    """Without such a change for so long, the scene is settled."""
    faint_seconds: float = 0.5
    """And for so long, where it shows by less than `enter`: a lamp's afterglow does not."""
    rest_seconds: float = 1.0
    """And for so long, what lies there is part of the scene, and the next deposit can begin."""
    reaching_seconds: float = 1.5
    """The same for what reaches in over the picture's rim, which may be an arm."""
    lost_seconds: float = 30.0
    """What has not come to rest for so long is not a thing: the scene is learned anew."""
    learn_seconds: float = 0.5
    """At the start: what is in view is taken to be the scene without a deposit."""
    adapt_seconds: float = 5.0
    """Time constant at which the scene follows slow changes."""
    sudden_seconds: float = 1.0
    """Within so long a thing comes: what takes longer to show is the light's doing."""
    lamp_seconds: float = 5.0
    """For so long, the scene before a lamp was switched is known too."""
    gap_seconds: float = 1.0
    """From one frame to the next at most, else nothing is known of the time between."""
    idle_seconds: float = 2.0
    """After so long with nothing there and nothing moving, a look every 0.2 s is enough."""
    dark: float = 5.0
    """Mean level below which nothing is seen, and nothing is learned."""
    glare: float = 0.3
    """Share of white cells from which on nothing is seen either."""
    kept: int = 8
    """Earlier scenes that are known again."""


@dataclass(frozen=True)
class Sight:
    """What one frame shows."""

    time: float
    """Seconds on the source's own clock."""
    occupied: bool
    """Something differs from the scene as it was."""
    moving: bool
    """Something changed within the last `still_seconds`."""
    reaching: bool = False
    """What differs reaches in over the picture's rim: it may be an arm."""
    known: bool = False
    """The scene was known again, or was learned anew: what seemed to be there is no deposit."""
    taken: bool = False
    """What lay there is part of the scene from here on: the next thing is another deposit."""
    bare: bool = True
    """Nothing lies in the scene that came to rest there before: what only moves is no thing that is taken away."""
    idle: bool = False
    """Nothing is there and nothing has moved for some seconds: fewer looks will do."""


class SceneWatch:
    """Learns the scene and tells what is new in it. Holds a few thumbnails and no more."""

    def __init__(self, settings: WatchSettings | None = None) -> None:
        self._settings = settings or WatchSettings()
        self._ground: Structure | None = None
        self._known: list[Structure] = []
        """Scenes of before, the oldest first: what is taken away must not look like a deposit."""
        self._anchor: Structure | None = None
        """The picture at the last change."""
        self._newest: Structure | None = None
        self._recent: deque[tuple[float, Structure]] = deque(maxlen=4)
        """The pictures of the last second or so, with their times."""
        self._unlit: Structure | None = None
        """The scene before a lamp changed it, for some seconds: an arm may have passed for a lamp."""
        self._lit_at = 0.0
        self._lamps: tuple[float, Structure] | None = None
        """The picture with which slow lamps are compared, and its time."""
        self._changed_at = 0.0
        self._entered_at = 0.0
        self._started = 0.0
        self._time = 0.0
        self._learned = 0
        self._occupied = False
        self._taken = False
        """What lay there became part of the scene in this look."""
        self._traces = False
        """Something reached in and has not lain still yet: less than `enter` of it are a hand's traces."""
        self._home = 1
        """Place in `_known` of the one to forget next: not the first, while that one is come back to."""
        self._asked = False
        """Whether it was asked, since the last movement, if the camera was pushed."""

    def look(self, picture: Thumbnail, time: float) -> Sight:
        """Take in the next picture, `time` seconds on the source's clock."""
        if picture.mean() < self._settings.dark or (picture.min(axis=0) > _WHITE).mean() > self._settings.glare:
            return Sight(time, self._occupied, True)
        view, before = structure(picture), self._newest
        self._newest = view
        if before is not None:
            self._relight(view, before, time)
        if self._ground is None:
            self._ground, self._started = view, time
        cells = self._differs(view, self._ground)
        thing = largest(cells)
        moving = self._moves(view, time, thing)
        passed = min(max(0.0, time - self._time), self._settings.gap_seconds)
        self._time = time
        if time - self._started <= self._settings.learn_seconds:
            self._learned += 1
            self._ground = toward(self._ground, view, 1 / self._learned)
            return Sight(time, False, moving)
        share, known, self._taken = float(thing.mean()), False, False
        if not self._occupied and share > self._settings.enter and not self._came_suddenly(view):
            self._ground = toward(self._ground, view, 0.5)  # it crept in, as light does
        elif self._occupied or share > self._settings.enter:
            known = self._judge(view, cells, share, time)
        if self._occupied and share < self._settings.enter:
            moving = time - self._changed_at < self._settings.faint_seconds
        self._adapt(view, passed)
        self._keep(view, time)
        return Sight(
            time,
            self._occupied,
            moving,
            reaching=self._occupied and _reaches(cells),
            known=known,
            taken=self._taken,
            bare=not self._known,
            idle=not self._occupied and time - self._changed_at >= self._settings.idle_seconds,
        )

    def absorb(self) -> None:
        """Take what is in view for the scene without a deposit: whoever looked closer says that nothing is
        there."""
        if self._newest is not None and self._ground is not None:
            self._learn(self._newest)

    def _differs(self, view: Structure, ground: Structure) -> Cells:
        return changed(view, ground, self._settings.edge, self._settings.level)

    def _came_suddenly(self, view: Structure) -> bool:
        """Tell whether a second ago the picture was another: a thing drops in, and the sun creeps."""
        return not self._recent or largest(self._differs(view, self._recent[0][1])).mean() > self._settings.enter

    def _keep(self, view: Structure, time: float) -> None:
        if not self._recent or time - self._recent[-1][0] >= self._settings.sudden_seconds / 4:
            self._recent.append((time, view))

    def _relight(self, view: Structure, before: Structure, time: float) -> None:
        """Do to all scenes that are kept what a lamp did to this one, at once or within some frames."""
        settings = self._settings
        change = self._lamp_did(view, before)
        if change is None and self._lamps is not None and time - self._lamps[0] >= settings.sudden_seconds / 2:
            change, self._lamps = self._lamp_did(view, self._lamps[1]), (time, view)
        elif change is not None or self._lamps is None:
            self._lamps = (time, view)
        if change is None or self._ground is None or self._anchor is None:
            return
        ground = relit(self._ground, change)
        if self._occupied and largest(self._differs(view, ground)).mean() >= settings.leave:
            return  # the lamp does not explain what is there: better leave the scenes as they were
        if self._unlit is None:
            self._unlit, self._lit_at = self._ground, time
        self._ground, self._anchor = ground, relit(self._anchor, change)
        self._known = [relit(known, change) for known in self._known]
        for number, (then, recent) in enumerate(self._recent):
            self._recent[number] = (then, relit(recent, change))

    def _lamp_did(self, view: Structure, before: Structure) -> Floats | None:
        cells = changed(view, before, self._settings.edge, self._settings.level, fit=False)
        return relighting(view, before, cells)

    def _moves(self, view: Structure, time: float, thing: Cells) -> bool:
        """Tell whether the thing moved a moment ago; where there is none, whether anything did."""
        settings = self._settings
        if self._anchor is None or time - self._time > settings.gap_seconds:
            self._anchor, self._changed_at, self._asked = view, time, False
        else:
            cells = changed(view, self._anchor, settings.still_edge, settings.level, fit=False)
            least = settings.still_share
            if self._occupied:
                cells, least = cells & around(thing), max(least, settings.still_part * float(thing.mean()))
            if largest(cells).mean() > least:
                self._anchor, self._changed_at, self._asked = view, time, False
        return time - self._changed_at < settings.still_seconds

    def _judge(self, view: Structure, cells: Cells, share: float, time: float) -> bool:
        """Set `occupied`, with hysteresis. True where the scene is one of before, or was learned anew."""
        settings = self._settings
        if not self._occupied:
            self._occupied, self._entered_at, self._asked, self._traces = True, time, False, False
        rested = time - self._changed_at
        rests = rested >= settings.still_seconds
        if share < (settings.enter if rests and self._traces else settings.leave):
            self._occupied = False
            return False
        self._traces = not rests and (self._traces or _reaches(cells))
        if rests and (self._was_known(view) or self._was_pushed(view)):
            return True
        if rested >= (settings.reaching_seconds if _reaches(cells) else settings.rest_seconds):
            self._learn(view)
            self._taken = True
        elif time - self._entered_at > settings.lost_seconds:
            self._learn(view)
            return True
        return False

    def _was_known(self, view: Structure) -> bool:
        """Go back to a scene of before, where the view shows one: all that came on top of it has gone."""
        ground = self._ground
        assert ground is not None  # noqa: S101  set by the first look
        cells = self._differs(view, ground)
        if self._unlit is not None and closer(view, self._unlit, ground, cells) < self._settings.alike:
            self._ground, self._occupied, self._unlit = view, False, None
            return True
        for number, known in enumerate(self._known):
            if closer(view, known, ground, cells) < self._settings.alike:
                self._known = self._known[:number]
                self._ground, self._occupied, self._home = view, False, 1 if number == 0 else 0
                return True
        return False

    def _was_pushed(self, view: Structure) -> bool:
        """Follow a camera that somebody pushed. True where it was."""
        ground, settings = self._ground, self._settings
        assert ground is not None  # noqa: S101  set by the first look
        if self._asked:
            return False
        self._asked = True
        by = pushed(view, ground, self._differs(view, ground))
        if by is None:
            return False
        self._recent.clear()
        thing = largest(new_since(view, ground, by, settings.edge, settings.level))
        self._occupied = bool(thing.mean() > settings.enter)  # it may have come together with the push
        seen = kept(view, ground, by, around(thing)) if self._occupied else view
        self._known = [follow(known, by, ground, seen, settings.edge) for known in self._known]
        self._ground = seen
        return not self._occupied

    def _learn(self, view: Structure) -> None:
        """Take a view for the scene as it is, and keep the one before."""
        assert self._ground is not None  # noqa: S101  set by the first look
        self._known.append(self._ground)
        if len(self._known) > self._settings.kept:
            del self._known[self._home]
        self._ground, self._occupied = view, False

    def _adapt(self, view: Structure, passed: float) -> None:
        """Let the scene follow the picture while nothing lies there: half of a thing would stay in it
        otherwise."""
        if self._occupied or self._ground is None:
            return
        if self._time - self._lit_at > self._settings.lamp_seconds:
            self._unlit = None
        self._ground = toward(self._ground, view, 1 - math.exp(-passed / self._settings.adapt_seconds))


def _reaches(cells: Cells) -> bool:
    """Tell whether at least two cells at one side of the picture differ."""
    return max(int(side.sum()) for side in (cells[0], cells[-1], cells[:, 0], cells[:, -1])) >= 2
