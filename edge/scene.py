"""The moving scene of `demo://`: a camera looks into a bin where things drop in, rest, and are taken away.

Truth (`script`) and pictures (`frames`) come from the same settings, so that what a daemon saw can be held
against what happened. Nothing here sleeps: the caller paces the frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from edge.errors import UsageError
from edge.preprocess import Pixels
from edge.waste import (
    FILL,
    LABELS,
    Item,
    Look,
    Shadow,
    develop,
    draw_bin,
    draw_item,
    place,
    random_look,
    random_shadow,
)

QUIET_START = 1.0
"""Seconds of empty bin at least before the first thing drops: a detector learns the ground from them."""

QUIET_END = 1.0
"""Seconds of empty bin after the last thing is gone."""

FLICKER = 0.012
"""Largest random change of the brightness from frame to frame, as a share."""

DRIFT = 0.02
"""Largest slow change of the brightness, as a share."""

DRIFT_PERIOD = 40.0
"""Seconds from one brightest moment to the next."""

SHUTTER = 0.4
"""Share of the time between two frames for which the shutter is open: what moves is blurred along it."""

_FALLING = 0.75
"""Share of the time from `appears` to `settles` that the fall takes; the rest is the bounce."""

_SHOWS = 30.0
"""Mean distance from the ground, in levels of 255, from which a thing is plain to see."""

# Streams of random numbers. A photo's second key is its label's index, so these never meet a photo's.
_SCRIPT, _GROUND, _THING, _FRAME = 1000, 1001, 1002, 1003


@dataclass(frozen=True)
class Deposit:
    """One thing that is thrown in. All times are seconds from the scene's start."""

    label: str
    """What it is: one of edge.waste.LABELS."""
    appears: float
    """It starts to fall in at the upper rim."""
    settles: float
    """It lies still from here on."""
    leaves: float
    """It starts to be taken away."""
    gone: float
    """The bin is empty again from here on."""


@dataclass(frozen=True)
class SceneSettings:
    """What is shown. Raises UsageError on numbers that can't be."""

    seed: int = 0
    """Everything follows from it."""
    deposits: int = 12
    """How many things are thrown in, one after the other."""
    width: int = 320
    """Pixels, at least 32."""
    height: int = 240
    """Pixels, at least 32."""
    fps: float = 15.0
    """Frames per second of the scene's own time."""

    def __post_init__(self) -> None:
        if self.seed < 0 or self.deposits < 1:
            got = f"seed {self.seed}, deposits {self.deposits}"
            raise UsageError(f"scene has {got}; seed must be at least 0 and deposits at least 1")
        if min(self.width, self.height) < 32 or not 0 < self.fps < math.inf:
            got = f"{self.width} x {self.height} at {self.fps} frames per second"
            raise UsageError(f"scene is {got}; it must be at least 32 x 32, and the rate above 0")


@dataclass(frozen=True)
class _Thing:
    """A deposit's picture and path."""

    item: Item
    shadow: Shadow
    rest: tuple[float, float]
    """Where its middle lies at rest, x and y in pixels."""
    spin: float
    """Degrees that it turns by during the fall."""
    exit: tuple[float, float] | None
    """How far it slides when it is taken away, x and y in pixels; None where it sinks through the flap."""


def script(settings: SceneSettings) -> tuple[Deposit, ...]:
    """Return what happens in the scene, in order: the truth that `frames` shows.

    Every kind comes once in every len(LABELS) deposits. No two things are in the bin at once.
    """
    rng = np.random.default_rng([settings.seed, _SCRIPT, 0])
    deposits: list[Deposit] = []
    clock = rng.uniform(QUIET_START, QUIET_START + 0.6)
    while len(deposits) < settings.deposits:
        for label in rng.permutation(LABELS):
            appears = clock
            settles = appears + rng.uniform(0.3, 0.6)
            leaves = settles + rng.uniform(1.0, 1.6)
            gone = leaves + rng.uniform(0.2, 0.4)
            clock = gone + rng.uniform(0.8, 1.4)
            deposits.append(Deposit(str(label), appears, settles, leaves, gone))
    return tuple(deposits[: settings.deposits])


def frames(settings: SceneSettings) -> Iterator[tuple[float, Pixels]]:
    """Yield (seconds from the scene's start, uint8 [height, width, 3] BGR), as fast as the caller asks.

    The last frame comes QUIET_END seconds after the last thing is gone. One frame and one thing are held
    at a time.
    """
    ground, look = _bin(settings)
    thing: tuple[int, _Thing] | None = None
    deposits = script(settings)
    current = 0
    for number in range(math.ceil((deposits[-1].gone + QUIET_END) * settings.fps)):
        time = number / settings.fps
        while current < len(deposits) and time >= deposits[current].gone:
            current += 1
        picture = ground
        if current < len(deposits) and time >= deposits[current].appears:
            if thing is None or thing[0] != current:
                thing = current, _thing(settings, deposits[current].label, current, ground)
            picture = _exposed(ground, thing[1], deposits[current], time, SHUTTER / settings.fps)
        rng = np.random.default_rng([settings.seed, _FRAME, number])
        light = 1 + rng.uniform(-FLICKER, FLICKER) + DRIFT * math.sin(2 * math.pi * time / DRIFT_PERIOD)
        blue, green, red = look.gain
        yield time, develop(picture, replace(look, gain=(blue * light, green * light, red * light)), rng)


def _bin(settings: SceneSettings) -> tuple[Pixels, Look]:
    """Draw the empty bin, uint8 [height, width, 3] BGR, and choose its lamp and camera.

    A camera in a bin has its own lamp and doesn't move: of the photos' range, the better part.
    """
    rng = np.random.default_rng([settings.seed, _GROUND, 0])
    ground = draw_bin(rng, settings.height, settings.width)
    look = random_look(rng)
    exposure = rng.uniform(0.95, 1.15) / look.gain[1]
    blue, green, red = look.gain
    return ground, replace(
        look,
        gain=(blue * exposure, green * exposure, red * exposure),
        contrast=rng.uniform(0.9, 1.1),
        defocus=min(look.defocus, 0.004),
        motion=(0.0, 0.0),
        noise=rng.uniform(1.5, 3.5),
    )


def _thing(settings: SceneSettings, label: str, index: int, ground: Pixels) -> _Thing:
    """Draw the deposit number `index` and choose its path. At rest it is wholly within the central square."""
    rng = np.random.default_rng([settings.seed, _THING, index])
    square = min(settings.width, settings.height)
    share = rng.uniform(0.52, 0.83)
    size = round(square * share / FILL)
    slack = square * (1 - share) / 2 * 0.7
    x, y = np.array([settings.width, settings.height]) / 2 + rng.uniform(-slack, slack, 2)
    shadow = random_shadow(rng)
    item = draw_item(label, rng, size)
    for _ in range(8):
        if _stands_out(place(ground, item, x, y, shadow), ground, item):
            break
        item = draw_item(label, rng, size)
    away = ((0.0, 1.0), (-1.0, 0.0), (1.0, 0.0), None)[rng.integers(4)]
    reach = (settings.width / 2 + size, settings.height / 2 + size)
    slide = (away[0] * reach[0], away[1] * reach[1]) if away else None
    return _Thing(item, shadow, (float(x), float(y)), rng.uniform(-120, 120), slide)


def _stands_out(picture: Pixels, ground: Pixels, item: Item) -> bool:
    """Tell whether the thing shows: grey on grey at the bottom of a bin would be no fair test."""
    change = np.abs(picture.astype(np.int16) - ground).sum(dtype=np.int64) / 3
    return bool(change / max(1, np.count_nonzero(item.alpha > 127)) > _SHOWS)


def _exposed(ground: Pixels, thing: _Thing, deposit: Deposit, time: float, shutter: float) -> Pixels:
    """Return bin and thing as a shutter sees them that is open for `shutter` seconds from `time` on."""
    if deposit.settles <= time <= deposit.leaves - shutter:
        return place(ground, thing.item, *thing.rest, thing.shadow)
    moments = [_posed(ground, thing, deposit, time + part * shutter) for part in (0.0, 0.5, 1.0)]
    return cast(Pixels, np.mean(moments, axis=0).astype(np.uint8))


def _posed(ground: Pixels, thing: _Thing, deposit: Deposit, time: float) -> Pixels:
    """Return the bin with the thing where it is at `time`: falling, at rest, or being taken away."""
    x, y = thing.rest
    if time < deposit.settles:
        part = (time - deposit.appears) / (deposit.settles - deposit.appears)
        fallen = min(1.0, part / _FALLING) ** 2
        bounce = 0.1 * math.sin(math.pi * max(0.0, part - _FALLING) / (1 - _FALLING))
        start = -thing.item.alpha.shape[0] / 2
        y = start + (y - start) * (fallen - bounce)
        return place(ground, thing.item, x, y, thing.shadow, turn=thing.spin * (1 - part))
    part = min(1.0, max(0.0, time - deposit.leaves) / (deposit.gone - deposit.leaves))
    if thing.exit:
        x, y = x + thing.exit[0] * part**2, y + thing.exit[1] * part**2
        return place(ground, thing.item, x, y, thing.shadow)
    return place(ground, thing.item, x, y, thing.shadow, scale=1 - 0.97 * part)
