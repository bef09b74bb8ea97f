"""Another moving scene than `demo://`, to judge the segmenter on: its own bin, things, physics, light and camera.

A camera looks down into a bin. Things drop in, bounce, roll, pile up, stay for minutes, are laid in by hands; the
bin is emptied now and then. Lamps go on and off, clouds pass, tubes flicker in bands, the exposure and the white
balance wander, gleams and insects come by, somebody bumps into the camera; there is noise, and JPEG.

Seeds below 1000 show which kinds of failure there are; those from JUDGED on are for judging alone. Those from
1000 to 1030 were judged once and then looked at.

What it does not show, since no camera alone can tell it from a deposit: a patch of sunlight with a hard edge, a
fresh bag of another colour, a heap that topples long after it came to rest. A thing's outline differs from what it
lies on by CONTRAST at least.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.other_script import TOGETHER, Coming, Script, script
from benchmarks.other_things import KINDS, Floats, Sprite, Way, cloudy, draw_hand, draw_thing, fall, reach

SIZE = (320, 240)
MARGIN = 16
JUDGED = 2000
CONTRAST = 0.15
"""Least mean ratio, as a natural logarithm, between a thing's outline and what lies beside it, in the channel
where it is greatest: a sixth of the brightness."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Thing:
    """A thing or a hand on its way, or at rest from the way's end on."""

    sprite: Sprite
    way: Way
    kind: int
    """Class; -1: a hand."""


@dataclass(frozen=True)
class Deposit:
    """The truth of one deposit."""

    time: float
    """Seconds of the film at which it starts to come."""
    rests: float
    """Nothing of it moves from here on, nor does the hand that brought it."""
    way: str
    kinds: tuple[int, ...]
    """Classes of what came: of two at once, both are right."""


class Film:
    """Pictures and truth of one seed. `picture` must be asked in order of time."""

    def __init__(self, seed: int, deposits: int = 0, minutes: float = 0.0) -> None:
        self._rng = np.random.default_rng([seed, 77])
        self.fps = float(self._rng.choice([10, 15, 20, 30]))
        self.script: Script = script(self._rng, deposits, minutes)
        self._ground, self._lamps, self._room = _bin(self._rng)
        self._camera = Camera(self._rng, self.script, self._lamps)
        self._things: list[Thing] = []
        self._hands: list[Thing] = []
        self.deposits: list[Deposit] = []
        self._baked: tuple[tuple[int, int], Floats] = ((0, 0), self._ground)
        for coming in self.script.deposits:
            self._throw(coming)
        for time in self.script.hands:
            self._hands.append(self._hand(time, self._goal(), self._rng.uniform(0, 1.2)))
        self._hands += [self._hand(time - 0.5, self._goal(), 0.6) for time in self.script.empties]

    def away(self, time: float) -> bool:
        return any(begin <= time < end for begin, end in self.script.away)

    def newest(self, time: float) -> Deposit | None:
        """What was thrown in last, where it is still there."""
        since = max((end for end in self.script.empties if end <= time), default=0.0)
        return next((found for found in reversed(self.deposits) if since < found.time <= time), None)

    def covered(self, time: float) -> bool:
        """Whether a hand is in the picture or something moves."""
        return any(way.begins <= time <= way.ends for way in (thing.way for thing in self._hands + self._things))

    def picture(self, time: float) -> Pixels:
        """Return what the camera gives at `time`: uint8 [240, 320, 3] BGR."""
        scene = self._at_rest(time)
        moving = [thing for thing in self._things if thing.way.begins <= time < thing.way.ends]
        moving += [hand for hand in self._hands if hand.way.begins <= time < hand.way.ends]
        if moving or any(end <= time < end + 1.2 for end in self.script.empties):
            scene = scene.copy()
        for end in self.script.empties:
            if end <= time < end + 1.2:
                self._sink(scene, end, (time - end) / 1.2)
        for thing in moving:
            put(scene, thing, thing.way.at(time), blur=0.4 / self.fps, before=thing.way.at(time - 0.4 / self.fps))
        return self._camera.take(scene, time)

    def _at_rest(self, time: float) -> Floats:
        since = max((end for end in self.script.empties if end <= time), default=0.0)
        lie = [thing for thing in self._things if since < thing.way.begins and thing.way.ends <= time]
        key = (round(since * 100), len(lie))
        if self._baked[0] != key:
            scene = self._ground.copy()
            for thing in lie:
                put(scene, thing, thing.way.poses[-1])
            self._baked = (key, scene)
        return self._baked[1]

    def _sink(self, scene: Floats, end: float, part: float) -> None:
        """Draw the heap as it is pulled out, upward in the picture."""
        since = max((other for other in self.script.empties if other < end), default=0.0)
        for thing in self._things:
            if since < thing.way.begins < end:
                put(
                    scene, thing, thing.way.poses[-1] - np.array([0, 330 * part**1.5, 0, 0, -part / 2], np.float32)
                )

    def _goal(self) -> tuple[float, float]:
        left, top, right, bottom = self._room
        return float(self._rng.uniform(left, right)), float(self._rng.uniform(top, bottom))

    def _hand(self, time: float, goal: tuple[float, float], pause: float) -> Thing:
        return Thing(draw_hand(self._rng, 640), reach(self._rng, time, goal, SIZE, pause), -1)

    def _throw(self, coming: Coming) -> None:
        first = self._thing(coming.time, coming.way)
        things, rests = [first], first.way.ends
        if coming.way == "pair":
            things.append(self._thing(coming.time + self._rng.uniform(0, TOGETHER), "drop"))
            rests = max(rests, things[1].way.ends)
        if coming.way == "hand":
            rests = max(rests, self._hands[-1].way.ends)
        self._things += things
        self.deposits.append(Deposit(coming.time, rests, coming.way, tuple(thing.kind for thing in things)))

    def _thing(self, time: float, way: str) -> Thing:
        rng, goal = self._rng, self._goal()
        kind = int(rng.integers(len(KINDS)))
        lively = {"bounce": 1.0, "roll": 0.9}.get(way, rng.uniform(0, 0.4))
        begins, carried = time, np.empty((0, 5), np.float32)
        if way == "hand":
            pause = rng.uniform(0.3, 1.2)
            hand = self._hand(time, goal, pause)
            self._hands.append(hand)
            steps = round(len(hand.way.poses) * rng.uniform(0.4, 0.6))
            carried = hand.way.poses[:steps] * np.array([1, 1, 0, 1, 0]) + np.array([0, 0, 1.2, 0, 0.36])
        path = fall(rng, begins, self._room, goal, lively, 0.36 if way == "hand" else 1.0)
        if len(carried):
            path = Way(
                begins, np.concatenate([carried, path.poses + (carried[-1] - path.poses[0])[[0, 1, 3]] @ _TURN])
            )
        shares = {"large": (0.4, 0.6), "small": (0.11, 0.15)}.get(way, (0.16, 0.4))
        side = round(SIZE[0] * rng.uniform(*shares))
        x, y = path.poses[-1][:2]
        below = self._ground[int(y), int(x)] if way == "matching" else None
        for _ in range(20):
            thing = Thing(draw_thing(rng, kind, side, below, way == "clear"), path, kind)
            if self._contrast(thing) >= CONTRAST:
                break
        else:
            return self._thing(time, "drop")
        return thing

    def _contrast(self, thing: Thing) -> float:
        scene = self._at_rest(thing.way.begins)
        drawn = scene.copy()
        put(drawn, thing, thing.way.poses[-1], shadow=0.0)
        whole = Sprite(np.ones_like(thing.sprite.colour), (thing.sprite.alpha > 0.05).astype(np.float32))
        mask = (
            put(np.zeros_like(scene), replace(thing, sprite=whole), thing.way.poses[-1], shadow=0.0)[..., 0] > 0.5
        )
        rim = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        if not rim.any():
            return 0.0
        return float(np.abs(np.log((drawn[rim] + 0.03) / (scene[rim] + 0.03))).mean(axis=0).max())


_TURN = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]], np.float32)


def put(
    scene: Floats,
    thing: Thing,
    pose: Floats,
    shadow: float = 0.35,
    blur: float = 0.0,
    before: Floats | None = None,
) -> Floats:
    """Lay a thing into the scene, in place, with the soft shadow below it; blurred along its way since
    `before`."""
    x, y, scale, angle, height = (float(value) for value in pose)
    side = thing.sprite.alpha.shape[0]
    half = int(side * scale * 0.72) + 8
    left, top = int(x) + MARGIN - half, int(y) + MARGIN - half
    x0, y0, x1, y1 = (
        max(0, left),
        max(0, top),
        min(scene.shape[1], left + 2 * half),
        min(scene.shape[0], top + 2 * half),
    )
    if x0 >= x1 or y0 >= y1:
        return scene
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, scale)
    turn[:, 2] += (x + MARGIN - x0 - side / 2, y + MARGIN - y0 - side / 2)
    size = (x1 - x0, y1 - y0)
    colour = cv2.warpAffine(thing.sprite.colour, turn, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(thing.sprite.alpha, turn, size)
    if before is not None:
        along = (float(before[0]) - x, float(before[1]) - y)
        for part in (0.5, 1.0):
            moved = turn.copy()
            moved[:, 2] += (along[0] * part, along[1] * part)
            alpha = alpha + cv2.warpAffine(thing.sprite.alpha, moved, size)
        alpha = alpha / 3
    patch = scene[y0:y1, x0:x1]
    if shadow:
        dark = cv2.GaussianBlur(alpha, (0, 0), 3 + 14 * max(0.0, height))
        reach_ = np.float32([[1, 0, 4 + 30 * height], [0, 1, 4 + 20 * height]])
        dark = cv2.warpAffine(dark, reach_, size)
        patch *= (1 - shadow * dark / (1 + height))[..., None]
    patch += (colour - patch) * alpha[..., None]
    return scene


def _bin(rng: np.random.Generator) -> tuple[Floats, list[Floats], tuple[float, float, float, float]]:
    """Draw the empty bin and how three lamps light it; and say where on its ground a thing can come to rest."""
    width, height = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
    inset = [MARGIN + rng.uniform(0.0, 0.14) * SIZE[n % 2] for n in range(4)]
    ground = np.array([[inset[0], inset[1]], [width - inset[2], inset[1]]])
    floor = np.array([*ground, [width - inset[2], height - inset[3]], [inset[0], height - inset[3]]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    base = np.clip(np.full(3, rng.uniform(0.1, 0.7)) * rng.uniform(0.75, 1.25, 3), 0.05, 0.9)
    rough = rng.choice([0.01, 0.04, 0.1])
    picture = (
        base * (1 + rough * cloudy(rng, height, width, 3) + rough * cloudy(rng, height, width, 18))[..., None]
    )
    for _ in range(rng.integers(0, 8)):  # scratches and stains
        ends = [(int(rng.uniform(0, width)), int(rng.uniform(0, height))) for _ in range(2)]
        cv2.line(picture, *ends, tuple(base * rng.uniform(0.6, 1.4)), int(rng.integers(1, 4)))
    lamps = []
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    for lamp in range(3):
        x, y = rng.uniform(-0.5, 1.5) * width, rng.uniform(-0.5, 1.5) * height
        far = ((across - x) ** 2 + (down - y) ** 2) / (width * rng.uniform(0.8, 2)) ** 2
        field = 1 / (1 + far)
        for side in range(4):  # walls stand in another angle to the lamp than the ground
            quad = np.array([corners[side], corners[(side + 1) % 4], floor[(side + 1) % 4], floor[side]])
            wall = np.zeros((height, width), np.uint8)
            cv2.fillPoly(wall, [quad.astype(np.int32)], 1)
            field = np.where(wall > 0, field * rng.uniform(0.6, 1.25), field)
        tint = 1 + rng.uniform(-0.15, 0.15, 3) * (lamp > 0)
        lamps.append((cv2.GaussianBlur(field, (0, 0), 1.2)[..., None] / field.mean() * tint).astype(np.float32))
    left, top, right, bottom = (
        value - MARGIN for value in (inset[0], inset[1], width - inset[2], height - inset[3])
    )
    room = (left + 30, top + 30, right - 30, bottom - 30)
    return np.clip(picture, 0.02, 1).astype(np.float32), lamps, room


class Camera:
    """Light, lens and sensor: from reflectances to the picture that comes out."""

    def __init__(self, rng: np.random.Generator, told: Script, lamps: list[Floats]) -> None:
        self._told, self._lamps = told, lamps
        self._first = np.array([rng.uniform(0.5, 1.0), rng.choice([0, 0.6]), rng.choice([0, 0.6])])
        self._bank = rng.normal(0, rng.uniform(1.0, 5.0), (SIZE[1] + 64, SIZE[0] + 64, 3)).astype(np.float32)
        self._quality = int(rng.integers(60, 92))
        self._bands = (rng.choice([0, 0.02, 0.06]), rng.uniform(0.5, 2.5), rng.uniform(0.3, 8))
        self._cloud = (
            rng.choice([0, 0.2, 0.45]),
            rng.uniform(0, 6.28),
            rng.uniform(0.03, 0.25),
            rng.uniform(0.12, 0.4),
        )
        self._wander = rng.uniform(0.01, 0.08), rng.uniform(10, 90)
        self._adapts = rng.uniform(0.3, 2.0)
        self._target = rng.uniform(85, 125)
        self._spots = rng.uniform(0.1, 0.9, (64, 4))
        self._lit: tuple[tuple[float, ...], Floats] = ((), lamps[0])
        self._exposure: tuple[float, float] = (0.0, 0.0)

    def take(self, scene: Floats, time: float) -> Pixels:
        dx, dy = self._look(time)
        window = np.s_[MARGIN + dy : MARGIN + dy + SIZE[1], MARGIN + dx : MARGIN + dx + SIZE[0]]
        lit = scene[window] * self._lamp(time)[window] * self._passing(time)
        self._glints(lit, time)
        lit *= self._gain(lit, time)
        x, y = np.random.default_rng(round(time * 1000)).integers(0, 64, 2)
        lit += self._bank[y : y + SIZE[1], x : x + SIZE[0]]
        self._insects(lit, time)
        raw = cv2.convertScaleAbs(np.maximum(lit, 0, out=lit))
        return cv2.imdecode(
            cv2.imencode(".jpg", raw, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1], cv2.IMREAD_COLOR
        )

    def _look(self, time: float) -> tuple[int, int]:
        found = (0, 0)
        for when, dx, dy in self._told.bumps:
            if when <= time:
                shake = 6 * np.exp(-(time - when) / 0.15) * np.sin((time - when) * 40)
                found = (
                    int(np.clip(round(dx + shake), -MARGIN, MARGIN)),
                    int(np.clip(round(dy + shake), -MARGIN, MARGIN)),
                )
        return found

    def _lamp(self, time: float) -> Floats:
        level = self._first.copy()
        for when, lamp, to in self._told.lamps:
            if when <= time:
                slow = 0.02 if lamp < 2 else 0.4
                level[lamp] += (to - level[lamp]) * (1 - np.exp(-(time - when) / slow))
        level[0] = max(level[0], 0.15)  # never quite dark
        key = tuple(np.round(level, 3))
        if self._lit[0] != key:
            lit = sum(np.float32(part) * lamp for part, lamp in zip(level, self._lamps, strict=True))
            self._lit = (key, lit)
        return self._lit[1]

    def _passing(self, time: float) -> Floats:
        """Clouds and bands, [240, 320, 1]: soft, and so drawn small."""
        down, across = np.mgrid[0:60, 0:80].astype(np.float32) / 60
        depth, angle, speed, edge = self._cloud
        along = (
            across * np.cos(angle) + down * np.sin(angle) - time * speed + 0.2 * np.sin(across * 4 + time * 0.3)
        )
        shade = 1 - depth / (1 + np.exp(np.clip(np.sin(along * 2.5) / edge * 1.6, -20, 20)))
        strength, waves, rate = self._bands
        small = shade * (1 + strength * np.sin(6.283 * (down * waves + time * rate)))
        return cv2.resize(small.astype(np.float32), SIZE, interpolation=cv2.INTER_LINEAR)[..., None]

    def _gain(self, lit: Floats, time: float) -> Floats:
        """Auto-exposure that lags behind, a white balance that wanders."""
        mean = float(lit[::8, ::8].mean())
        since, gain = self._exposure
        wanted = self._target / max(mean, 1e-3)
        share = 1 - np.exp(-(time - since) / self._adapts) if gain else 1.0
        gain = float(np.exp(np.log(max(gain, 1e-3)) * (1 - share) + np.log(wanted) * share))
        self._exposure = (time, gain)
        depth, period = self._wander
        red = sum(to * (1 - np.exp(-(time - when) / 0.7)) for when, to in self._told.whites if when <= time)
        wave = depth * np.sin(time / period)
        return np.array([1 - red - wave / 2, 1 + wave / 3, 1 + red + wave], np.float32) * np.float32(gain)

    def _glints(self, lit: Floats, time: float) -> None:
        """Gleams: small sharp ones that jump, and large soft ones that wander."""
        for number, when in enumerate(self._told.glints):
            if when <= time < when + 6:
                x, y, size, speed = self._spots[number % 64]
                place = (int((x + (speed - 0.5) * (time - when) * 0.2) * SIZE[0]), int(y * SIZE[1]))
                if number % 2:
                    cv2.circle(lit, place, 2 + int(size * 6), (3.0, 3.0, 3.0), -1)
                else:
                    glow = np.zeros((30, 40), np.float32)
                    cv2.circle(glow, (place[0] // 8, place[1] // 8), 2 + int(size * 5), 0.4, -1)
                    lit += cv2.resize(cv2.GaussianBlur(glow, (0, 0), 3), SIZE)[..., None] * np.sin(
                        (time - when) * 0.52
                    )

    def _insects(self, lit: Floats, time: float) -> None:
        for number, when in enumerate(self._told.insects):
            if when <= time < when + 12:
                phase, pace, _, size = self._spots[(number * 7) % 64]
                x = 160 + 150 * np.sin(time * (0.5 + pace) + phase * 6) + 15 * np.sin(time * 7)
                y = 120 + 110 * np.sin(time * (0.7 + phase)) + 15 * np.cos(time * 9)
                cv2.ellipse(
                    lit,
                    (int(x), int(y)),
                    (2 + int(size * 5), 2 + int(size * 3)),
                    phase * 180,
                    0,
                    360,
                    (12, 14, 16),
                    -1,
                )
