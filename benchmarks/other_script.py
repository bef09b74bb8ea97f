"""What happens in the other scene, and when: deposits, hands, emptyings, and what the light does.

The truth is drawn before any picture is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

GAP = 1.6
"""Least seconds from a thing's rest to the next one's coming: two things within less are one deposit to a camera
that must see the first at rest."""

TOGETHER = 0.4
"""Most seconds between two things that are thrown in at once, which are one deposit."""

WAYS = ("drop", "drop", "bounce", "roll", "hand", "hand", "pair", "clear", "matching", "large", "small")
"""How a thing comes, or what is special in it; each once in so many deposits."""


@dataclass(frozen=True)
class Coming:
    """One deposit."""

    time: float
    """Seconds of the film at which it starts to come into view."""
    way: str
    """One of WAYS."""


@dataclass
class Script:
    """What happens in one film, each list in order of time."""

    seconds: float = 0.0
    deposits: list[Coming] = field(default_factory=list)
    hands: list[float] = field(default_factory=list)
    """A hand comes without a thing."""
    empties: list[float] = field(default_factory=list)
    """All that lies in the bin is taken away."""
    away: list[tuple[float, float]] = field(default_factory=list)
    """No frame comes, from and to."""
    lamps: list[tuple[float, int, float]] = field(default_factory=list)
    """Time, lamp, and what it is turned to, 0 to 1.3."""
    bumps: list[tuple[float, int, int]] = field(default_factory=list)
    """Time, and where the camera looks from then on, in pixels."""
    glints: list[float] = field(default_factory=list)
    insects: list[float] = field(default_factory=list)
    whites: list[tuple[float, float]] = field(default_factory=list)
    """Time, and by what share the white balance goes to the red from then on."""


REST = 3.4
"""Seconds that are left for a thing to come to rest in; most need half of it."""


def script(rng: np.random.Generator, deposits: int, minutes: float = 0.0) -> Script:
    """Make up a film with so many deposits, or one of so many `minutes` with none."""
    told = Script()
    clock = 3.0 + rng.uniform(0, 3)
    chute = rng.random() < 0.3  # each thing goes down a flap before the next comes
    pile = 0
    ways: list[str] = []
    while len(told.deposits) < deposits:
        ways = ways or list(rng.permutation(WAYS))
        told.deposits.append(Coming(clock, ways.pop()))
        pile += 1
        clock += REST + (2.0 if told.deposits[-1].way == "hand" else 0) + GAP + rng.exponential(2.5)
        if rng.random() < 0.12:  # it stays for long
            stay = float(np.exp(rng.uniform(np.log(30), np.log(300))))
            if rng.random() < 0.3:
                told.away.append((clock, clock + stay * 0.7))
            clock += stay
        if rng.random() < 0.25:
            told.hands.append(clock)
            clock += 5.0 + rng.exponential(2)
        if chute or rng.random() < 0.2 or pile == 7:
            told.empties.append(clock)
            clock, pile = clock + 4.5 + rng.exponential(2), 0
    told.seconds = max(clock + 2, minutes * 60)
    _disturb(rng, told)
    return told


def _disturb(rng: np.random.Generator, told: Script) -> None:
    def times(every: float) -> list[float]:
        count = rng.poisson(told.seconds / every)
        return sorted(float(time) for time in rng.uniform(4, told.seconds, count))

    told.lamps = [(time, int(rng.integers(3)), float(rng.choice([0, 0.4, 1, 1.3]))) for time in times(45)]
    told.bumps = [(time, int(rng.integers(-9, 10)), int(rng.integers(-9, 10))) for time in times(240)]
    told.glints, told.insects = times(20), times(60)
    told.whites = [(time, float(rng.normal(0, 0.05))) for time in times(90)]
