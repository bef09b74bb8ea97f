"""The flap: what moves on a decision, started at once by a thread of its own."""

from __future__ import annotations

import logging
import queue
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

from edge import command_line, gpio
from edge.decision import Decision
from edge.errors import UsageError
from edge.event import Deposit

log = logging.getLogger(__name__)

MOST = 4
"""Commands of one flap that may run at a time."""

LONGEST_S = 5.0
"""That one may run, in seconds."""

WAITING = 16
"""Decisions that may wait for a flap that hangs."""

OPTION = "--flap"

FIELDS = ("label", "decision", "confidence")
"""What a command's arguments may name in braces."""


class Mover(Protocol):
    """Moves something. Only its own thread calls it."""

    def move(self, deposit: Deposit) -> None:
        """Begin to move, and return without waiting for the end. Raises OSError."""

    def rest(self) -> float | None:
        """Tidy up what is over. Returns seconds until there is more to tidy, None where there is nothing."""

    def close(self) -> None:
        """End all movement."""


class Flap:
    """Hands decisions to a mover."""

    def __init__(self, mover: Mover, name: str) -> None:
        self._mover, self._name = mover, name
        self._decisions: queue.Queue[Deposit | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="flap", daemon=True)
        self._thread.start()

    def act(self, deposit: Deposit) -> None:
        """Have the flap moved. Returns at once; a flap that hangs is left out, and that is said."""
        try:
            self._decisions.put_nowait(deposit)
        except queue.Full:
            log.error("the flap %s hangs: it was not moved for %s", self._name, deposit.label)

    def close(self) -> None:
        """Move for what was decided, and end."""
        try:
            self._decisions.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(LONGEST_S + 1.0)

    def _run(self) -> None:
        try:
            while True:
                try:
                    deposit = self._decisions.get(timeout=self._mover.rest())
                except queue.Empty:
                    continue
                if deposit is None:
                    break
                try:
                    self._mover.move(deposit)
                except OSError as error:
                    log.error("the flap %s can't be moved: %s", self._name, error.strerror or error)
        finally:
            self._mover.close()


class Command:
    """Starts a program for each decision, with its label, decision and confidence as arguments."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._running: dict[subprocess.Popen[bytes], float] = {}
        """Each with the time when it is killed."""

    def move(self, deposit: Deposit) -> None:
        """Start it, unless too many run."""
        self.rest()
        if len(self._running) >= MOST:
            raise OSError(f"{MOST} of its commands still run")
        values = {
            "label": deposit.label,
            "decision": deposit.decision.value,
            "confidence": f"{deposit.confidence}",
        }
        words = [_filled(word, values) for word in self._words]
        process = subprocess.Popen(  # noqa: S603  the operator's own command
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=None, start_new_session=True
        )
        self._running[process] = time.monotonic() + LONGEST_S

    def rest(self) -> float | None:
        """Reap what has ended, and kill what runs too long."""
        now = time.monotonic()
        for process, due in [*self._running.items()]:
            code = process.poll()
            if code is None and now < due:
                continue
            del self._running[process]
            if code is None:
                process.kill()
                process.wait()
                log.error("the flap's command ran for more than %g s and was ended", LONGEST_S)
            elif code:
                log.error("the flap's command ended with %d", code)
        return 0.05 if self._running else None

    def close(self) -> None:
        """Wait for what runs, and kill what takes too long."""
        while self.rest() is not None:
            time.sleep(0.02)


@dataclass(frozen=True)
class LineSettings:
    """One line of a GPIO chip."""

    chip: str
    """/dev/gpiochip0."""
    line: int
    """Its offset on the chip."""
    label: str | None = None
    """Moves for this label only; None: for all."""
    decision: Decision | None = Decision.ACCEPTED
    """Moves for this decision only; None: for both."""
    ms: int = 500
    """How long the line is active, in milliseconds."""
    active_low: bool = False


class Line:
    """Makes a GPIO line active for a while."""

    def __init__(self, settings: LineSettings, gpiod: Any) -> None:
        """`gpiod` is the module of that name, 2.0 or later. Raises GpioError."""
        self._settings = settings
        self._values = gpiod.line.Value
        wanted = gpiod.LineSettings(
            direction=gpiod.line.Direction.OUTPUT,
            output_value=self._values.INACTIVE,
            active_low=settings.active_low,
        )
        self._request = gpio.request(gpiod, settings.chip, settings.line, wanted)
        self._due: float | None = None

    def move(self, deposit: Deposit) -> None:
        """Make the line active where the decision is one of its own."""
        settings = self._settings
        if settings.label in (None, deposit.label) and settings.decision in (None, deposit.decision):
            self._request.set_value(settings.line, self._values.ACTIVE)
            self._due = time.monotonic() + settings.ms / 1000

    def rest(self) -> float | None:
        """Make it inactive when its time is over."""
        if self._due is None:
            return None
        left = self._due - time.monotonic()
        if left > 0:
            return left
        self._request.set_value(self._settings.line, self._values.INACTIVE)
        self._due = None
        return None

    def close(self) -> None:
        """Let the line finish, and go."""
        while (left := self.rest()) is not None:
            time.sleep(left)
        self._request.release()


def open_flap(target: str) -> Flap:
    """Open `gpio://CHIP/LINE?label=..&decision=..&ms=..&active=low`, or a command line.

    Raises UsageError, GpioError.
    """
    if target.startswith("gpio://"):
        return Flap(Line(parse_line(target), gpio.load(OPTION)), target)
    return Flap(Command(parse_command(target)), target.split(maxsplit=1)[0])


def parse_command(target: str) -> list[str]:
    """Split a command line, and have it told of label and decision. Raises UsageError."""
    words = command_line.split(target, OPTION, "gpio://CHIP/LINE")
    if not any("{" + name + "}" in word for word in words for name in FIELDS):
        words += ["{label}", "{decision}"]
    return words


def parse_line(target: str) -> LineSettings:
    """Read gpio://CHIP/LINE?... Raises UsageError."""
    expected = "label=LABEL, decision=accepted|rejected|any, ms=1 to 60000 or active=high|low"
    address = gpio.parse(target, OPTION, ("label", "decision", "ms", "active"), expected)
    options = address.options
    decision = options.get("decision", Decision.ACCEPTED.value)
    ms = options.get("ms", "500")
    right = (
        ms.isdecimal()
        and 1 <= int(ms) <= 60_000
        and decision in ("accepted", "rejected", "any")
        and options.get("active", "high") in ("high", "low")
        and options.get("label") != ""
    )
    if not right:
        raise UsageError(f"{OPTION} is {target}; expected {expected} behind the ?")
    return LineSettings(
        chip=address.chip,
        line=address.line,
        label=options.get("label"),
        decision=None if decision == "any" else Decision(decision),
        ms=int(ms),
        active_low=options.get("active") == "low",
    )


def _filled(word: str, values: dict[str, str]) -> str:
    """Fill in at once: a label may itself look like a place to fill."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), word)
