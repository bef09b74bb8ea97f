"""What every trigger does: it tells that something was thrown in, where the picture is not to decide that."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from edge import choices
from edge.sources.base import Clock

log = logging.getLogger(__name__)

MOTION = choices.MOTION

STALE_S = 2.0
"""A throw that nobody asked for within so many seconds is over: what fell then is no longer what is seen."""

WAITING = 256
"""Most throws that wait to be asked for; the oldest go first."""

FIRST_TRY_S = 1.0
"""Until the first new try, in seconds; it doubles with each that fails."""

SETTLED_S = 60.0
"""What has gone well for so long begins anew: the next trouble is said, and tried again soon."""


@dataclass(frozen=True)
class TriggerSettings:
    """What tells that something was thrown in."""

    text: str = MOTION
    """motion, mqtt, gpio://CHIP/LINE or a command, as in edge.triggers.open_trigger."""
    hold_ms: int = choices.HOLD_MS
    """Signals that follow a throw's first within so many milliseconds belong to it; 0: each is one of its own."""


class Trigger(Protocol):
    """An open trigger. `poll` and `close` are for one thread."""

    @property
    def healthy(self) -> bool:
        """Whether a throw would be heard now."""

    def poll(self, time: float) -> bool:
        """Say whether something was thrown in: once for each throw, at the latest 2 s after it.

        `time` is now, in seconds of the monotonic clock. Never waits, never raises.
        """

    def close(self) -> None:
        """Let go of what is held. May be called twice."""

    def __enter__(self) -> Trigger: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing:
    """The context manager that triggers share: leaving it closes."""

    def close(self) -> None:
        """Let go of what is held."""
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Throws:
    """Signals in, throws out. One thread may add, and another take."""

    def __init__(self, hold_s: float) -> None:
        self._hold = hold_s
        self._first = float("-inf")
        """When the newest throw began."""
        self._waiting: deque[float] = deque(maxlen=WAITING)

    def add(self, time: float) -> None:
        """A signal came at `time`, in monotonic seconds."""
        if time - self._first < self._hold:
            return
        self._first = time
        self._waiting.append(time)

    def take(self, time: float) -> bool:
        """Take the oldest throw that still counts at `time`. False where there is none."""
        while self._waiting:
            if time - self._waiting.popleft() <= STALE_S:
                return True
        return False


class Standing:
    """How a trigger stands: whether it hears, when to try again, and that a trouble is said once."""

    def __init__(
        self,
        name: str,
        longest_s: float,
        clock: Clock = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._longest = longest_s
        """Between two tries, in seconds."""
        self._clock, self._jitter = clock, jitter
        self._fails = 0
        self._said = ""
        self._since: float | None = None
        """When it began to hear; None: it does not."""

    @property
    def healthy(self) -> bool:
        """Whether it hears."""
        return self._since is not None

    def hears(self) -> None:
        """All is well. May be called again and again."""
        if self._since is None:
            self._since = self._clock()
            log.info("the trigger %s is heard", self._name)
        elif self._clock() - self._since >= SETTLED_S:
            self._fails, self._said = 0, ""

    def fails(self, why: str) -> float:
        """Something is wrong: say it where that is news, and return the seconds until the next try."""
        self._since = None
        if why != self._said:
            log.warning("the trigger %s: %s; no throw is heard until that is mended", self._name, why)
            self._said = why
        delay = min(self._longest, FIRST_TRY_S * 2.0 ** min(self._fails, 16))
        self._fails += 1
        return delay * (1 + self._jitter() / 4)
