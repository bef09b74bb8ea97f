"""A bell that one thread rings and another hears while it waits, on sockets too."""

from __future__ import annotations

import select
import socket
from contextlib import suppress


class Wake:
    """May be rung by any thread; heard by one. Closing it may race with a late ring."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def ring(self) -> None:
        """Wake who waits, or who waits next. Never blocks."""
        with suppress(OSError):  # BlockingIOError: it rings already; closed: nobody listens
            self._there.send(b"\0")

    def fileno(self) -> int:
        """Return the handle that is readable while it rings."""
        return self._here.fileno()

    def clear(self) -> None:
        """Silence it. Look at the work after this, and no ring is missed."""
        with suppress(BlockingIOError):
            while self._here.recv(4096):
                pass

    def wait(self, seconds: float) -> None:
        """Wait for a ring, at most so long. It goes on ringing."""
        select.select([self._here], [], [], max(0.0, seconds))

    def close(self) -> None:
        """Give the handles back."""
        self._here.close()
        self._there.close()
