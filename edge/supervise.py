"""The supervisor: who started the daemon, hears that it gets on, and starts it again where it does not.

What is said is that of sd_notify(3), which systemd, podman and others hear; without one of them nothing is said.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from edge.pulse import Standstill, standstills
from edge.snapshot import Part, Snapshot
from edge.sources.base import Clock

log = logging.getLogger(__name__)

EACH_S = 1.0
"""Between two words to the supervisor, in seconds. Half of its patience would do; but then one that is patient for
10 s would give up on a bin whose disk takes 6 s, if it had just been about to speak."""

ADDRESS, PATIENCE, FOR_WHOM = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
"""Names in the environment."""


@dataclass(frozen=True)
class Orders:
    """What a supervisor wants to hear, and where."""

    address: str
    """Of a Unix datagram socket: a path; or @ and a name that is in no folder."""
    patience: float = math.inf
    """Seconds without a word that all gets on, after which it starts the daemon anew."""


def orders(environment: Mapping[str, str], process: int) -> Orders | None:
    """Read what the supervisor of `process` wants; None where there is none that can be heard.

    What can't be understood is no reason not to run: it is as if it were not there.
    """
    address, text = environment.get(ADDRESS, ""), environment.get(PATIENCE, "")
    if not address.startswith(("/", "@")):
        return None
    ours = environment.get(FOR_WHOM, str(process)) == str(process)
    return Orders(address, int(text) / 1e6 if ours and text.isdecimal() and int(text) else math.inf)


def to_mend(now: Snapshot) -> Standstill | None:
    """Return what stands still and might go on after a restart; None where all gets on, or does what it can.

    - Capture moves where its reader answers, be it that no frame comes: each try to open a lost camera is a
      process of its own already, and a daemon that is started without its camera does not come up.
    - Inference moves where it is not stuck in one. An idle bin asks for none: an engine that has died meanwhile
      shows with the next deposit, and keeping the board warm until then would cost more.
    - The outbox moves where commits return. A disk that refuses them is tried every other second, and what it
      refused waits in memory, which a restart would lose.
    """
    return next((one for one in standstills(now) if not one.outside), None)


class Watchdog:
    """Tells the supervisor that the daemon is ready, that all of it gets on, and that it ends.

    `beat` is for the thread that does the work: nobody else could know that it still does.
    """

    def __init__(
        self, orders: Orders | None, snapshot: Callable[[], Snapshot], clock: Clock = time.monotonic
    ) -> None:
        self._address = orders.address if orders else ""
        self._each = min(EACH_S, orders.patience / 2) if orders else math.inf
        self._snapshot, self._clock = snapshot, clock
        self._due = -math.inf if orders else math.inf
        self._still: Standstill | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> Watchdog:
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._say("READY=1")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say("STOPPING=1")
        if self._socket:
            self._socket.close()
            self._socket = None

    def beat(self) -> None:
        """The thread comes by. Costs nothing but once a second, and never waits."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + self._each
        snapshot = self._snapshot()
        before, self._still = self._still, to_mend(snapshot)
        if self._still and not before:
            log.error(
                "%s stands still: %s, for %.0f s; the supervisor is not told that all is well any more",
                self._still.part.value, self._still.why, self._still.seconds,
            )  # fmt: skip
        words = [f"STATUS={status(snapshot)}"]
        self._say(*words, *([] if self._still else ["WATCHDOG=1"]))

    def _say(self, *words: str) -> None:
        """Say it; one who does not listen just now hears the next word."""
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError):
            if self._socket:
                self._socket.sendto("\n".join(words).encode(), socket.MSG_DONTWAIT, address)


def status(now: Snapshot) -> str:
    """Say how the bin is, in one line for people."""
    if now.part is Part.START:
        return "starting, or waiting for room in the outbox"
    words = [f"{now.fps:.0f} frames a second", f"{sum(now.decided.values())} decisions"]
    words += [f"{one.part.value}: {one.why}, for {one.seconds:.0f} s" for one in standstills(now)]
    return " ".join("; ".join(words).split())
