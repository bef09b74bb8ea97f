"""A live camera, read by a child process that may hang, crash or be killed without harm."""

from __future__ import annotations

import logging
import os
import re
import select
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from urllib.parse import unquote, urlsplit

from edge.errors import SourceError
from edge.sources.base import Clock, Closing, Counts, Frame, Gap
from edge.sources.capture_child import Task, encode
from edge.sources.capture_process import Process
from edge.sources.device import Address, CameraSettings
from edge.sources.patience import OPENING_S, Patience
from edge.sources.ring import Held, Reader, Ring

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-c", "from edge.sources.capture_child import main; main()")

WAIT_S = 0.2
"""Longest wait for a frame in one `read`: what was seen before may have to be decided on meanwhile."""

OLDEST_S = 1.0
"""A frame that was captured longer ago is given to nobody."""

WARM_S = 3.0
"""Seconds before a try at which its process is started: Python takes that long on a small board that is busy."""


SILENT = "the camera is silent"

SHORTEST_SECRET = 3
"""Letters of a part of an address that is looked for in what is said; a password may be shorter."""


@dataclass
class _Try:
    """One child, and what became of it so far."""

    process: Process
    told: float = inf
    """When it was told to open the camera, monotonic seconds."""
    opening: float = OPENING_S
    """Seconds that it may take to open."""
    after: int = 0
    """Number of the newest frame then."""
    verdict: str = ""
    """Why it was killed."""
    gave: bool = False
    """Whether a frame of it was read."""


class Captured(Closing):
    """Frames of a camera, the newest at each read, for as long as there is hope.

    All work is done in `read`, without a thread. It must be called by the thread that opened the source, or by one
    that lives as long: the kernel kills a child with the thread that started it.
    """

    single = False
    live = True
    broken = 0

    def __init__(
        self,
        address: Address,
        settings: CameraSettings,
        kind: str,
        clock: Clock = time.monotonic,
        command: Sequence[str] = COMMAND,
        patience: Patience | None = None,
    ) -> None:
        self._address, self._settings, self._kind = address, settings, kind
        self._secrets = _secrets(address)
        self._clock, self._command = clock, command
        self._patience = patience or Patience()
        self._ring = Ring.make()
        self._reader = Reader(self._ring)
        self._try: _Try | None = None
        self._start_at = -inf
        self._opened = False
        self._first: float | None = None
        self._newest = 0.0
        """When the newest frame was captured."""
        self._time = 0.0
        self._why = SILENT
        self._given = 0
        self._reopened = 0
        self._captured = 0
        """Frames that the camera gave."""

    @property
    def counts(self) -> Counts:
        """What happened so far."""
        return Counts(self._captured, self._reader.number - self._given, self._reopened)

    def open(self) -> None:
        """Wait for the first frame. Raises SourceError where none comes in time."""
        while not self._reader.newest:
            self._tend(WAIT_S)
        self._opened = True
        self._newest = self._reader.beat
        if self._try:
            self._patience.opened(self._reader.beat - max(self._try.told, self._reader.ready))

    def read(self) -> Frame | Gap:
        """Return the newest frame, or a Gap where none comes within a fifth of a second. Raises nothing."""
        until = self._clock() + WAIT_S
        while (held := self._fresh()) is None:
            rest = until - self._clock()
            if rest <= 0:
                return self._gap()
            self._tend(rest)
        return self._frame(held)

    def close(self) -> None:
        """End the child within a second, and free the memory once nobody looks at it."""
        if self._try is not None:
            politely = self._reader.beat > self._try.told and not self._try.verdict
            if not self._try.process.close(politely):
                log.warning("the driver of camera %s does not let go of its process", self._address.shown)
            self._try = None
        self._start_at = inf
        self._ring.close()

    def __enter__(self) -> Captured:
        return self

    def _fresh(self) -> Held | None:
        held = self._reader.take()
        self._captured = self._reader.newest
        if held is None or self._clock() - held.captured > OLDEST_S:
            return None
        return held

    def _frame(self, held: Held) -> Frame:
        self._given += 1
        self._newest = held.captured
        self._first = held.captured if self._first is None else self._first
        self._time = max(self._time, held.captured - self._first)
        if self._try is not None and held.number > self._try.after:
            self._flows(self._try)
        return Frame(held.image, held.captured, self._time)

    def _flows(self, one: _Try) -> None:
        """Note that the camera gives frames, after an outage perhaps."""
        if not one.gave:
            one.gave = True
            self._reopened += one.after > 0
            self._why = SILENT
        lasted = self._patience.came(self._newest)
        if lasted is not None:
            log.info("the camera %s is back after %.1f s", self._address.shown, lasted)

    def _gap(self) -> Gap:
        now = self._clock()
        if self._first is not None:
            self._time = max(self._time, now - self._first)
        return Gap(self._time, self._newest, self._why)

    def _tend(self, rest: float) -> None:
        """Do what is due for the child, then wait for a frame, for its end or for what is due next."""
        self._attend(self._clock())
        poller = select.poll()
        poller.register(self._ring.bell, select.POLLIN)
        if self._try is not None:
            poller.register(self._try.process.handle, select.POLLIN)
        poller.poll(max(0.0, min(rest, self._due() - self._clock())) * 1e3)
        self._reader.hush()
        if self._try is not None:
            self._try.process.listen()

    def _attend(self, now: float) -> None:
        one = self._try
        if one is None:
            if now >= self._start_at:
                self._start()
        elif one.process.is_over():
            self._end(one)
        elif now >= self._due():
            if one.told == inf:
                self._tell(one)
            else:
                one.verdict = self._verdict(one)
                one.process.kill()

    def _due(self) -> float:
        """Return when something is to be done next, unless the child ends before."""
        one = self._try
        if one is None:
            return self._start_at
        if one.told == inf:
            return self._patience.due
        if one.verdict:
            return inf
        return self._patience.deadline(one.told, one.opening, self._reader.ready, self._reader.beat)

    def _start(self) -> None:
        try:
            self._try = _Try(Process(self._command, (self._ring.memory, self._ring.bell)))
        except OSError as error:
            self._lost(f"the process that reads it can't be started: {error.strerror or error}", self._clock())
            self._start_at = self._patience.due

    def _tell(self, one: _Try) -> None:
        one.told, one.opening, one.after = self._clock(), self._patience.opening, self._reader.newest
        task = Task(
            kind=self._kind,
            address=self._address,
            settings=self._settings,
            memory=self._ring.memory,
            bell=self._ring.bell,
            opening=one.opening,
            parent=os.getpid(),
        )
        one.process.tell(encode(task))

    def _verdict(self, one: _Try) -> str:
        if self._reader.beat > one.told:
            return f"the process that reads it gave no sign of life for {self._clock() - self._reader.beat:.1f} s"
        if self._reader.ready > one.told:
            return f"the process that reads it did not open it within {self._clock() - self._reader.ready:.1f} s"
        return f"the process that reads it did not start within {self._clock() - one.told:.1f} s"

    def _end(self, one: _Try) -> None:
        """Take leave of a child that has ended. Raises SourceError before the first frame."""
        why = one.verdict or one.process.why()
        last = one.process.last_line
        one.process.close(politely=False)
        self._try = None
        if last:
            log.debug("camera %s: the last line of its libraries: %s", self._address.shown, self._clean(last))
        self._lost(self._clean(why), one.told)
        self._start_at = self._patience.due - (WARM_S if one.told < inf else 0.0)

    def _lost(self, why: str, told: float) -> None:
        shown = self._address.shown
        self._why = why if shown in why else f"camera {shown} can't be read: {why}"
        if not self._opened:
            raise SourceError(self._why)
        if self._patience.lost(self._clock(), self._newest, told):
            log.warning("the camera is lost: %s", self._why)
        else:
            log.debug("the camera is still away: %s", self._why)

    def _clean(self, text: str) -> str:
        """Return `text` without what the address hides, whoever put it there."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def open_captured(
    address: Address,
    settings: CameraSettings,
    kind: str,
    clock: Clock = time.monotonic,
    command: Sequence[str] = COMMAND,
    patience: Patience | None = None,
) -> Captured:
    """Open a camera of a kind in capture_child.DEVICES, and wait for its first frame.

    Raises SourceError in the words of whoever failed; then, and on Ctrl-C, no child is left.
    """
    captured = Captured(address, settings, kind, clock, command, patience)
    try:
        captured.open()
    except BaseException:
        captured.close()
        raise
    return captured


def _secrets(address: Address) -> list[str]:
    """Return what of the address may not be said, as it is written and as it is meant; the longest first."""
    words = {word for word in re.split(r"[/:@?&=;#]+", address.uri) if len(word) >= SHORTEST_SECRET}
    hidden = {word for word in words if word not in address.shown}
    with suppress(ValueError):
        hidden.add(urlsplit(address.uri).password or "")
    return sorted((hidden | {*map(unquote, hidden)}) - {""}, key=len, reverse=True)
