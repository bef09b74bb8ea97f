"""Tells a picture that is given again and again from a scene in which nothing happens: sensors have noise."""

from __future__ import annotations

import numpy as np

from edge.looks import Floats, Look

STILL, STILLEST = 0.5, 0.1
"""A picture that is given again changes by less than this share of the energy by which it did; and by how much it
must begin while nothing is known of the scene: lenses out of focus and turned pictures are quieter, too."""

REPEATED = 0.3
"""And at least this share of what was noise is the same again: it has come to stay. A lens that goes out of focus
or a cover quietens the picture, too, but repeats nothing."""

DETAILED = 1.0
"""Times its usual noise that a picture which is given again has of fine detail at least, while nothing is known of
the scene: its noise is part of that. A cover or the dark, which quieten noise, leave less."""

NOISE_LOOKS, NOISE_MEMORY = 8, 30
"""Looks after which noise is known, and that it is averaged over."""

OTHER = 2.0
"""Times the usual change from which on it is another picture: a lamp, a hand, a cover."""

LONGEST_S = 30.0
"""The bar is raised to twice this at most, in seconds."""


class Stillness:
    """Learns the noise of each tile.

    A camera whose encoder leaves out what hardly changes gives the same picture for a while without being frozen:
    a run of them that ended by itself raises the bar for the next.
    """

    def __init__(self, moving: float) -> None:
        """`moving`: share of moving tiles beyond which it is another picture."""
        self._moving = moving
        self._noise: Floats | None = None
        self._fine: Floats | None = None
        """As in Look, where nothing happens; None: before the first look."""
        self._usual: Floats | None = None
        """Noise of the scene before, float32 [6, 8]; None: none was known for long enough."""
        self._change = 0.0
        self._looks = 0
        self._run = 0.0
        self._longest = 0.0
        """Seconds of the longest run of still pictures that no fault explains."""

    def is_frozen(self, look: Look, passed: float, frozen: bool) -> bool:
        """Take in a look."""
        other = look.moving > self._moving or (self._looks > 0 and look.change > OTHER * self._change)
        if look.change == 0 or (not other and self._repeats(look)):
            self._run += passed
            return frozen or self._run > 2 * self._longest
        if self._run and not frozen and not other:
            self._longest = min(LONGEST_S, max(self._longest, self._run))
        self._run = 0.0
        self._learn(look, other)
        return False

    def _repeats(self, look: Look) -> bool:
        """Whether the noise of the look before is in this one, too, in most tiles; encoded anew it may be."""
        if self._noise is None or self._fine is None:
            return False
        if self._looks < NOISE_LOOKS:  # the scene is not known yet, but what noise this camera has is
            if self._usual is None:
                return False
            usual = np.maximum(self._usual, 1e-3)
            still = STILL if self._run else STILLEST
            return bool(np.median(look.noise / usual) < still and np.median(look.fine / usual) > DETAILED)
        noise = np.maximum(self._noise, 1e-3)
        return bool(
            np.median(look.noise / noise) < STILL and np.median((look.fine - self._fine) / noise) > REPEATED
        )

    def _learn(self, look: Look, other: bool) -> None:
        if other and self._looks >= NOISE_LOOKS:
            self._usual = self._noise
        if other:  # another picture has another noise, and this look is of both
            self._looks = 0
            return
        self._looks += 1
        if self._noise is None or self._fine is None:
            self._noise, self._fine = look.noise, look.fine
        pace = max(1 / self._looks, 1 / NOISE_MEMORY)
        self._noise = self._noise + (look.noise - self._noise) * np.float32(pace)
        self._fine = self._fine + (look.fine - self._fine) * np.float32(pace)
        self._change += (look.change - self._change) * pace
