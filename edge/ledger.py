"""Where a draft gets its number and becomes an event that counts."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from edge.errors import OutboxError, OutboxFullError
from edge.event import DROPPED, Draft, Dropped, Event, draft
from edge.outbox import Outbox
from edge.sources.base import Clock

log = logging.getLogger(__name__)

WAITING = 1000
"""Most drafts that wait in memory for a disk that takes none."""

RETRY_S = 2.0
"""Between tries, in seconds."""


class Ledger(Protocol):
    """Numbers events. Not for several threads, `post` aside."""

    def post(self, made: Draft[Any]) -> None:
        """Have the draft numbered when the loop next comes by. Any thread may do this."""

    def commit(self, made: Draft[Any]) -> Sequence[Event[Any]]:
        """Number the draft, and return every event that was numbered now: none where that has to wait."""

    def flush(self) -> Sequence[Event[Any]]:
        """Return what could be numbered since. Cheap where nothing waits."""

    def wait(self, stop: threading.Event, beat: Callable[[], object]) -> None:
        """Return when there is room for decisions, or `stop` is set. `beat` is called all the while."""


class Numbers:
    """In memory: from 1 within an epoch of its own."""

    def __init__(self) -> None:
        self.epoch = str(uuid.uuid4())
        self._last = 0
        self._posted: deque[Draft[Any]] = deque()

    def post(self, made: Draft[Any]) -> None:
        """Keep it for the next `flush` or `commit`."""
        self._posted.append(made)

    def commit(self, made: Draft[Any]) -> Sequence[Event[Any]]:
        """Number what was posted, and the draft."""
        return (*self.flush(), self._number(made))

    def flush(self) -> Sequence[Event[Any]]:
        """Number what was posted."""
        return tuple(self._number(self._posted.popleft()) for _ in range(len(self._posted)))

    def _number(self, made: Draft[Any]) -> Event[Any]:
        self._last += 1
        return made.numbered(self._last, self.epoch)

    def wait(self, stop: threading.Event, beat: Callable[[], object]) -> None:
        """There is always room."""


class Recorder:
    """Commits to the outbox; what the disk does not take waits in memory and is tried again, in order."""

    def __init__(
        self,
        outbox: Outbox,
        bin_id: str,
        woken: Callable[[], object] = lambda: None,
        clock: Clock = time.monotonic,
        waiting: int = WAITING,
    ) -> None:
        self._outbox = outbox
        self._bin_id = bin_id
        self._woken = woken
        """Called when something was committed."""
        self._clock = clock
        self._most = waiting
        self._backlog: deque[Draft[Any]] = deque()
        self._posted: deque[Draft[Any]] = deque()
        self._lost = 0
        """Decisions that were let go since the disk last took something."""
        self._failed: float | None = None
        """When the disk last refused; None where it takes what comes."""

    @property
    def unwritten(self) -> int:
        """How many drafts wait for a disk that takes none."""
        return len(self._backlog)

    def post(self, made: Draft[Any]) -> None:
        """Have the loop commit the draft when it next comes by. Any thread may do this."""
        self._posted.append(made)

    def commit(self, made: Draft[Any]) -> Sequence[Event[Any]]:
        """Commit what waits and the draft, durably. Raises OutboxFullError as `flush` does."""
        self._take_posted()
        self._backlog.append(made)
        events = self._try()
        if not events:
            self._keep(made)
        return events

    def flush(self) -> Sequence[Event[Any]]:
        """Try again what waits.

        Raises OutboxFullError where the outbox holds all it may and is not allowed to let anything go.
        """
        if self._outbox.stopped:
            raise OutboxFullError(
                f"{self._outbox.path} is full: {self._outbox.limit >> 20} MB of events wait there; nothing more "
                "is decided until they are delivered: see to the broker or webhook, raise --outbox-limit, or "
                "allow --outbox-full drop-oldest"
            )
        self._take_posted()
        idle = not self._backlog and not self._lost
        if idle or (self._failed is not None and self._clock() - self._failed < RETRY_S):
            return ()
        return self._try()

    def wait(self, stop: threading.Event, beat: Callable[[], object]) -> None:
        """Let a full outbox that may drop nothing be delivered first."""
        if self._outbox.stopped:
            log.warning("%s is full: the bin waits until some of it is delivered", self._outbox.path)
            self._outbox.wait_for_room(stop, beat=beat)

    def close(self) -> None:
        """Try a last time. What still waits then is lost, and said."""
        self._take_posted()
        if self._backlog and not self._try():
            log.error(
                "%d decisions could not be written to %s and are lost", len(self._backlog), self._outbox.path
            )

    def _take_posted(self) -> None:
        while self._posted:
            self._backlog.append(self._posted.popleft())

    def _try(self) -> Sequence[Event[Any]]:
        drafts = [*self._backlog]
        if self._lost:
            drafts.insert(0, draft(Dropped("disk", self._lost), DROPPED, self._bin_id))
        try:
            events = self._outbox.commit(drafts)
        except OutboxError as error:
            if self._failed is None:
                log.error("%s; the bin goes on, and tries again every %g s", error, RETRY_S)
            self._failed = self._clock()
            return ()
        if self._failed is not None:
            log.warning("%s takes events again; %d decisions were lost", self._outbox.path, self._lost)
        self._failed, self._lost = None, 0
        self._backlog.clear()
        self._woken()
        return events

    def _keep(self, made: Draft[Any]) -> None:
        """Say the decision, since the log may be all that stays of it, and bound what waits."""
        log.error("decided but not on the disk yet: %s", made.data)
        while len(self._backlog) > self._most:
            self._backlog.popleft()
            self._lost += 1
