"""A thread that carries what waits in the outbox to one remote sink, in order, until it is acknowledged."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.errors import OutboxError, SinkError
from edge.event import DROPPED, REFUSED, Draft, Refused, draft
from edge.pending import Pending, Row
from edge.sinks.remote import Never, Remote, Taken
from edge.sources.base import Clock
from edge.wake import Wake

log = logging.getLogger(__name__)

WAIT_S = 5.0
"""Longest wait without a look around, in seconds."""

FIRST_TRY_S, LAST_TRY_S = 0.5, 30.0
"""Between tries: it doubles from the one to the other."""

LINGER_S = 3.0
"""How long the end of a run waits for what is still under way, in seconds."""

REPORT_S = 60.0
"""Between two reports of refused events, in seconds."""


class Delivery:
    """Owns the remote sink: nobody else calls it once this is started."""

    def __init__(
        self,
        remote: Remote,
        outbox: Path,
        bin_id: str,
        post: Callable[[Draft[Any]], object],
        clock: Clock = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = remote.name
        self._remote, self._outbox, self._bin_id = remote, outbox, bin_id
        self._post = post
        """Takes drafts of events of its own."""
        self._clock, self._jitter = clock, jitter
        self._wake = Wake()
        self._deadline: float | None = None
        """When a delivery that is being closed ends whatever waits."""
        self._acknowledged = 0
        self._flying: deque[int] = deque()
        """Sequence numbers that are sent and unanswered."""
        self._refused: set[int] = set()
        self._told: set[int] = set()
        """Notices that went ahead of their turn."""
        self._unsaid: Refused | None = None
        self._reported = float("-inf")
        self._fails = 0
        self._trouble = ""
        """What was last said to be wrong; it is said once, until something gets through again."""
        self._greeted = False
        self.connected = False
        self._beat = clock()
        """When the thread last came by."""
        self._thread = threading.Thread(target=self._run, name=f"delivery-{remote.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new to carry. Returns at once."""
        self._wake.ring()

    @property
    def absent_s(self) -> float:
        """Seconds since the thread last came by: more than WAIT_S where a call takes its time, or never ends."""
        return self._clock() - self._beat

    def close(self, linger: float = LINGER_S) -> None:
        """End: at once where all is carried or the other end is away, else after `linger` seconds at most."""
        self._deadline = self._clock() + linger
        self._wake.ring()
        self._thread.join(linger + 1.0)
        if self._thread.is_alive():  # in a name server's hands: it is a daemon and ends with the process
            log.warning("%s does not answer; what waits is delivered at the next start", self._remote.place)

    def _run(self) -> None:
        try:
            self._deliver()
        finally:
            self._wake.close()

    def _deliver(self) -> None:
        while True:
            try:
                with Pending(self._outbox, self._remote.name) as pending:
                    self._session(pending)
                break
            except SinkError as error:
                self._failed(str(error), getattr(error, "after", 0.0))
            except Exception as error:  # a thread that died would hold events back for ever
                log.debug("delivery to %s failed", self._remote.place, exc_info=True)
                self._failed(
                    f"fault in the delivery to {self._remote.place}: {type(error).__name__}: {error}", 0.0
                )
            if self._deadline is not None:
                break

    def _failed(self, text: str, after: float) -> None:
        self.connected = False
        if text != self._trouble:
            log.warning("%s; events wait in %s", text, self._outbox)
            self._trouble, self._greeted = text, False
        delay = min(LAST_TRY_S, FIRST_TRY_S * 2 ** min(self._fails, 16)) * (0.5 + self._jitter() / 2)
        self._fails += 1
        until = self._clock() + max(delay, after)
        while self._deadline is None and (rest := until - self._clock()) > 0:
            self._beat = self._clock()
            self._wake.clear()
            self._wake.wait(min(rest, WAIT_S))

    def _session(self, pending: Pending) -> None:
        """Connect and carry until the end. Raises SinkError."""
        try:
            self._remote.connect(pending.epoch, self._ended)
            self._begin(pending)
            patience, since = self._remote.patience, self._clock()
            begun = since
            while not self._over(pending):
                self._beat = self._clock()
                self._wake.clear()
                self._fill(pending)
                if self._take(pending):
                    patience, since, self._fails = self._remote.patience, self._clock(), 0
                    self._trouble = ""
                elif not self._flying or not self._remote.arrived():
                    since = self._clock()
                elif patience is not None and self._clock() - since >= patience:
                    log.info("%s acknowledged nothing for %g s: sending again", self._remote.place, patience)
                    self._flying.clear()
                    self._told.clear()
                    patience, since = min(patience * 2, 300.0), self._clock()
                if self._fails and self._clock() - begun > LAST_TRY_S:
                    self._fails = 0
        finally:
            self._remote.close()
            self.connected = False

    def _begin(self, pending: Pending) -> None:
        self._acknowledged = max(self._acknowledged, pending.acknowledged())
        self._flying.clear()
        self._refused.clear()
        self._told.clear()
        self.connected = True
        if not self._greeted:
            log.info("%s is connected; %d events wait", self._remote.place, pending.count(self._acknowledged))
        self._greeted = True

    def _ended(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    def _over(self, pending: Pending) -> bool:
        if self._deadline is None:
            return False
        return self._ended() or not pending.count(self._acknowledged)

    def _fill(self, pending: Pending) -> None:
        """Send what fits into the window. Where numbers are missing, what tells of them goes ahead."""
        room = self._remote.window - len(self._flying)
        sent = self._flying[-1] if self._flying else self._acknowledged
        for row in pending.rows(sent, room) if room > 0 else ():
            if row.sequence > sent + 1:
                for notice in pending.notices(sent + 1, row.sequence - 1):
                    if notice.sequence not in {row.sequence, *self._told}:
                        self._remote.send(notice, ahead=True)
                        self._told.add(notice.sequence)
            self._remote.send(row)
            self._flying.append(row.sequence)
            sent = row.sequence

    def _take(self, pending: Pending) -> bool:
        """Take the answers in, and say whether something got through."""
        before, rest = self._acknowledged, WAIT_S
        if self._deadline is not None:
            rest = min(rest, max(0.0, self._deadline - self._clock()))
        if self._remote.patience is not None:
            rest = min(rest, self._remote.patience / 4)
        for answer in self._remote.receive(self._wake, rest):
            if isinstance(answer, Never):
                self._set_aside(pending, answer.row, answer.why)
            elif isinstance(answer, Taken):
                self._acknowledged = max(self._acknowledged, min(answer.up_to, pending.last()))
            while self._flying and (self._flying[0] <= self._acknowledged or self._flying[0] in self._refused):
                self._acknowledged = max(self._acknowledged, self._flying.popleft())
                self._refused.discard(self._acknowledged)
        self._report()
        if self._acknowledged == before:
            return False
        try:
            pending.acknowledge(self._acknowledged)
        except OutboxError as error:  # a full disk: it is known here, and written with the next one
            if str(error) != self._trouble:
                log.warning("%s; what was delivered is not noted yet", error)
                self._trouble = str(error)
        return True

    def _set_aside(self, pending: Pending, row: Row, why: str) -> None:
        log.error("%s will never take event %d: %s; it is set aside", self._remote.place, row.sequence, why)
        pending.set_aside(row, why)
        self._refused.add(row.sequence)
        if row.type in (DROPPED, REFUSED):  # a report of a report would have no end
            return
        count = self._unsaid.count if self._unsaid else 0
        self._unsaid = Refused(self._remote.name, count + 1, row.sequence, why)

    def _report(self) -> None:
        if self._unsaid and self._clock() - self._reported >= REPORT_S:
            self._post(draft(self._unsaid, REFUSED, self._bin_id))
            self._unsaid, self._reported = None, self._clock()
