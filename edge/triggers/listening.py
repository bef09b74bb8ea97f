"""A trigger that listens in a thread of its own: attempt after attempt, until it is closed."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod

from edge.errors import TriggerError
from edge.sources.base import Clock
from edge.triggers.base import Closing, Standing, Throws
from edge.wake import Wake

log = logging.getLogger(__name__)

CLOSE_S = 8.0
"""Longest wait for the thread to end: a connection that is being made is given up only after 5 s."""


class Listening(Closing, ABC):
    """What its thread and the thread that polls share is `throws`, `standing`, `wake` and `ended`."""

    def __init__(self, name: str, hold_ms: int, longest_try_s: float, clock: Clock = time.monotonic) -> None:
        self._throws = Throws(hold_ms / 1000)
        self._standing = Standing(name, longest_try_s, clock)
        self._clock = clock
        self._wake = Wake()
        """Rings when the thread shall end."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trigger", daemon=True)

    @abstractmethod
    def _attempt(self) -> None:
        """Listen until that is no longer possible, or `_ended` is set. Raises TriggerError."""

    @property
    def healthy(self) -> bool:
        """Whether a throw would be heard now."""
        return self._standing.healthy

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def poll(self, time: float) -> bool:
        """Take a throw."""
        return self._throws.take(time)

    def close(self) -> None:
        """End the thread and what it holds."""
        self._ended.set()
        self._wake.ring()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                delay = self._once()
                self._ended.wait(delay)
        finally:
            self._wake.close()

    def _once(self) -> float:
        """Make one attempt, and return the seconds until the next."""
        try:
            self._attempt()
        except TriggerError as error:
            return self._standing.fails(str(error))
        except Exception as error:  # a thread that died would be deaf for ever
            log.debug("a trigger failed", exc_info=True)
            return self._standing.fails(f"fault in binsight: {type(error).__name__}: {error}")
        return 0.0
