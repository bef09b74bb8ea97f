"""How long a camera is waited for, and when it is tried again. Pure: the time is handed in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

READ_S = 1.0
"""Seconds without a new picture after which the process that reads ends itself."""

SILENCE_S = 2.0
"""Seconds without a new picture after which it is killed: it could not end itself."""

OPENING_S = 10.0
"""Seconds from opening a camera to its first picture, at most."""

SHORT_OPENING_S = 3.0
"""The same where the camera was open before: one that was cut off in the middle may never answer, and while it is
waited for, it may be back."""

FULL_EVERY = 3
"""Of so many tries one may take OPENING_S all the same: the camera may have become slow."""

GRACE_S = 2.0
"""Seconds more for the process to end itself."""

STARTING_S = 30.0
"""Seconds for the process to be there at all: a busy board with a slow disk takes long to load its libraries."""

FIRST_WAIT_S = 0.25
"""Seconds before the first try; each wait is twice the last."""

QUICK_WAIT_S = 1.5
"""Longest wait in the first QUICK_S of an outage."""

QUICK_S = 300.0

SLOW_WAIT_S = 10.0
"""Longest wait later."""

SETTLED_S = 2.0
"""Seconds of pictures after which an outage is over."""


@dataclass
class Patience:
    """What is known of one camera's outages. Times are monotonic seconds."""

    jitter: Callable[[], float] = random.random
    """0 to 1: many cameras that went together must not come together."""
    due: float = 0.0
    """When the next try may begin."""
    _usual: float = OPENING_S
    """What an opening took, in seconds."""
    _since: float | None = field(default=None, init=False)
    """The newest frame before the outage."""
    _tries: int = field(default=0, init=False)
    _flowing: float | None = field(default=None, init=False)
    """The first frame after it."""

    @property
    def opening(self) -> float:
        """Seconds that the next opening may take."""
        if self._since is None or self._tries % FULL_EVERY == 0:
            return OPENING_S
        return min(OPENING_S, max(SHORT_OPENING_S, 2 * self._usual))

    def opened(self, took: float) -> None:
        """The first opening took so many seconds."""
        self._usual = took

    def deadline(self, told: float, opening: float, ready: float, beat: float) -> float:
        """Return when a process is killed that was told at `told` to open, was there at `ready`, and last gave a
        frame at `beat`."""
        if beat > told:
            return beat + SILENCE_S
        return ready + opening + GRACE_S if ready > told else told + STARTING_S

    def lost(self, time: float, newest: float, told: float = -math.inf) -> bool:
        """The camera is gone at `time`; its newest frame is of `newest`. Whether that begins an outage.

        `told`: when it was last tried to be opened. The wait counts from there: a try that hung has waited.
        """
        begins = self._since is None
        if self._since is None:
            self._since, self._tries = newest, 0
        longest = QUICK_WAIT_S if time - self._since < QUICK_S else SLOW_WAIT_S
        wait = min(longest, FIRST_WAIT_S * 2 ** min(self._tries, 16))
        spread = 0.5 + self.jitter() / 2
        self.due = max(time + FIRST_WAIT_S * spread, told + wait * spread)
        self._tries += 1
        self._flowing = None
        return begins

    def came(self, time: float) -> float | None:
        """A frame came at `time`. Returns how many seconds there was none, once that is surely over."""
        if self._since is None:
            return None
        self._flowing = time if self._flowing is None else self._flowing
        if time - self._flowing < SETTLED_S:
            return None
        lasted, self._since = self._flowing - self._since, None
        return lasted
