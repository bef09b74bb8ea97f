"""Events that wait on the disk until every sink has them: numbered here, durable when `commit` returns."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from edge import choices, outbox_file
from edge.errors import OutboxError
from edge.event import DROPPED, Draft, Dropped, Event, draft
from edge.sources.base import Clock

ROW = 64
"""What a row is taken to cost beside its body, in bytes."""

SHARE = 32
"""At least one part in so many of the bound goes at a time, so that one `binsight.dropped` speaks for many."""

NOTICE = 2048
"""Room for that `binsight.dropped` itself, in bytes."""

MEGABYTE = 1 << 20


Policy = choices.Policy


@dataclass(frozen=True)
class OutboxSettings:
    """One outbox."""

    path: Path
    limit: int = 64 * MEGABYTE
    """Bytes of events; the file is up to a third larger."""
    policy: Policy = Policy.DROP_OLDEST


@dataclass(frozen=True)
class Counters:
    """What an outbox holds."""

    depth: int
    """Events that wait."""
    bytes: int
    oldest_s: float
    """How long the oldest has waited, in seconds since it was committed or, if later, since boot."""
    dropped: int
    """Events that the bound let go, in this epoch."""
    dead: int
    """Events that a sink will never take."""
    last: int
    """The newest sequence number."""


class Outbox:
    """The writing end, for one thread. The reading ends are `edge.pending.Pending`."""

    def __init__(
        self, settings: OutboxSettings, connection: sqlite3.Connection, lock: int, bin_id: str, clock: Clock
    ) -> None:
        self.path, self.limit, self._policy = settings.path, settings.limit, settings.policy
        self._db, self._lock = connection, lock
        self._bin_id, self._clock = bin_id, clock
        self.epoch: str = connection.execute("SELECT epoch FROM state").fetchone()[0]

    @classmethod
    def open(
        cls,
        settings: OutboxSettings,
        sinks: Iterable[str] = (),
        bin_id: str = "bin",
        clock: Clock = time.monotonic,
    ) -> Outbox:
        """Open or make the outbox for these sinks; what none of them still needs goes.

        A broken file is set aside with a warning. Raises OutboxError: in use, another's, or not writable.
        """
        lock = outbox_file.lock(settings.path)
        try:
            connection = outbox_file.open_checked(settings.path)
            try:
                outbox = cls(settings, connection, lock, bin_id, clock)
                outbox._register(sorted(sinks))
            except sqlite3.Error as error:
                connection.close()
                raise _unwritable(settings.path, error) from error
        except BaseException:
            os.close(lock)
            raise
        return outbox

    def commit(self, drafts: Sequence[Draft[Any]]) -> tuple[Event[Any], ...]:
        """Number the drafts and put them on the disk, all or none, and return them as events.

        Where the bound lets older ones go, a `binsight.dropped` stands before them. Raises OutboxError, and
        then no number was given.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                events = self._number(drafts)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _unwritable(self.path, error) from error
        return events

    @property
    def stopped(self) -> bool:
        """Whether the bound is reached and nothing may be let go. It is never passed by more than one commit."""
        if self._policy is not Policy.STOP:
            return False
        try:
            return bool(self._db.execute("SELECT bytes FROM state").fetchone()[0] >= self.limit)
        except sqlite3.Error as error:
            raise _unwritable(self.path, error) from error

    def wait_for_room(
        self, stop: threading.Event, each: float = 0.2, beat: Callable[[], object] = lambda: None
    ) -> None:
        """Return when there is room or `stop` is set; it is looked at, and `beat` called, every `each` seconds."""
        while self.stopped and not stop.wait(each):
            beat()

    def counters(self) -> Counters:
        """Count. Raises OutboxError."""
        try:
            depth, size, dropped, last = self._db.execute(
                "SELECT events, bytes, dropped, last FROM state"
            ).fetchone()
            stamp = self._db.execute("SELECT stamp FROM events ORDER BY sequence LIMIT 1").fetchone()
            dead = self._db.execute("SELECT count(*) FROM dead").fetchone()[0]
        except sqlite3.Error as error:
            raise _unwritable(self.path, error) from error
        return Counters(depth, size, max(0.0, self._clock() - stamp[0]) if stamp else 0.0, dropped, dead, last)

    def close(self) -> None:
        """Close the file and let others have it. May be called twice."""
        if self._lock >= 0:
            self._db.close()
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _register(self, sinks: Sequence[str]) -> None:
        """A sink that is new gets what is still there; one that is gone holds nothing back."""
        self._db.execute("BEGIN IMMEDIATE")
        known = {name for (name,) in self._db.execute("SELECT name FROM sinks")}
        self._db.executemany("DELETE FROM sinks WHERE name = ?", [(name,) for name in known - set(sinks)])
        self._db.executemany(
            "INSERT INTO sinks SELECT ?, ifnull((SELECT min(sequence) - 1 FROM events), (SELECT last FROM state))",
            [(name,) for name in sinks if name not in known],
        )
        if sinks:
            self._db.execute("DELETE FROM events WHERE sequence <= (SELECT min(acknowledged) FROM sinks)")
        else:
            self._db.execute("DELETE FROM events")
        self._db.execute("COMMIT")

    def _number(self, drafts: Sequence[Draft[Any]]) -> tuple[Event[Any], ...]:
        last, size = self._db.execute("SELECT last, bytes FROM state").fetchone()
        written = _written(drafts, last, self.epoch)
        over = size + sum(_cost(body) for _, body in written) - self.limit
        if over > 0 and size and self._policy is Policy.DROP_OLDEST:
            notice = draft(self._drop(max(over + NOTICE, self.limit // SHARE)), DROPPED, self._bin_id)
            written = _written((notice, *drafts), last, self.epoch)
        events = tuple(event for event, _ in written)
        now = self._clock()
        if self._db.execute("SELECT count(*) FROM sinks").fetchone()[0]:  # else only the numbers go on
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                [(int(event.sequence), event.type, body, _cost(body), now) for event, body in written],
            )
        self._db.execute("UPDATE state SET last = last + ?", (len(events),))
        return events

    def _drop(self, least: int) -> Dropped:
        """Let the oldest go, `least` bytes or more, and say which those were.

        Notices that still wait go with them, and what they told of is said anew: there is never more than one.
        """
        freed, gone = 0, list[int]()
        for sequence, cost in self._db.execute("SELECT sequence, bytes FROM events ORDER BY sequence"):
            freed += cost
            gone.append(sequence)
            if freed >= least:
                break
        told = [
            (sequence, msgspec.json.decode(body, type=_Told).data)
            for sequence, body in self._db.execute("SELECT sequence, body FROM events WHERE type = ?", (DROPPED,))
        ]
        numbers = {*gone, *(sequence for sequence, _ in told)}
        self._db.execute("DELETE FROM events WHERE sequence <= ? OR type = ?", (gone[-1], DROPPED))
        self._db.execute("UPDATE state SET dropped = dropped + ?", (len(numbers),))
        merged = merge([*((one, one) for one in numbers), *(pair for _, data in told for pair in data.ranges)])
        unnumbered = sum(data.count - _numbers(data.ranges) for _, data in told)
        return Dropped("full", _numbers(merged) + unnumbered, merged)


def merge(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the ranges in order, those that touch or overlap as one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


@dataclass(frozen=True)
class _Told:
    """What is read of a `binsight.dropped`."""

    data: Dropped


def _written(drafts: Sequence[Draft[Any]], last: int, epoch: str) -> list[tuple[Event[Any], str]]:
    """Number the drafts on from `last`, each beside its JSON."""
    events = [made.numbered(number, epoch) for number, made in enumerate(drafts, start=last + 1)]
    return [(event, msgspec.json.encode(event).decode()) for event in events]


def _numbers(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _cost(body: str) -> int:
    return len(body.encode()) + ROW


def _unwritable(path: Path, error: sqlite3.Error) -> OutboxError:
    return OutboxError(f"{path} can't be written: {error}; make room there, or name another with --outbox")
