"""What one sink has yet to get of the outbox."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edge import outbox_file
from edge.errors import OutboxError
from edge.event import DROPPED

DEAD_LIMIT = 1000
"""Most events that are kept of those which a sink will never take; the oldest go first."""


@dataclass(frozen=True)
class Row:
    """An event as it lies in the outbox."""

    sequence: int
    type: str
    body: bytes
    """The event as JSON."""


class Pending:
    """The reading end of the outbox for the sink `name`, for the thread that opened it.

    Every method raises OutboxError. An acknowledgement that a power cut takes back means sending twice, so its
    commits do not wait for the disk, and hold up the outbox's own for no longer than it takes to write them.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        try:
            self._db = outbox_file.connect(path, durable=False)
        except sqlite3.Error as error:
            raise self._wrong(error) from error
        try:
            self.epoch: str = self._one("SELECT epoch FROM state")[0]
        except BaseException:
            self._db.close()
            raise

    def acknowledged(self) -> int:
        """Return the sequence number up to which the sink has all."""
        return int(self._one("SELECT acknowledged FROM sinks WHERE name = ?", self._name)[0])

    def count(self, after: int) -> int:
        """Count the rows beyond the sequence number `after`."""
        return int(self._one("SELECT count(*) FROM events WHERE sequence > ?", after)[0])

    def last(self) -> int:
        """Return the newest sequence number that was given."""
        return int(self._one("SELECT last FROM state")[0])

    def rows(self, after: int, limit: int) -> list[Row]:
        """Return the next rows beyond `after`, in order."""
        try:
            found = self._db.execute(
                "SELECT sequence, type, body FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (after, limit),
            ).fetchall()
        except sqlite3.Error as error:
            raise self._wrong(error) from error
        return [Row(sequence, kind, body.encode()) for sequence, kind, body in found]

    def notices(self, first: int, last: int) -> list[Row]:
        """Return the `binsight.dropped` that tell of numbers from `first` to `last`, and that still wait."""
        try:
            found = self._db.execute(
                "SELECT sequence, type, body FROM events WHERE type = ? ORDER BY sequence", (DROPPED,)
            ).fetchall()
        except sqlite3.Error as error:
            raise self._wrong(error) from error
        return [
            Row(sequence, kind, body.encode())
            for sequence, kind, body in found
            if any(begin <= last and end >= first for begin, end in json.loads(body)["data"]["ranges"])
        ]

    def acknowledge(self, up_to: int) -> None:
        """The sink has all up to `up_to`; what every sink has is deleted."""
        self._change(
            ("UPDATE sinks SET acknowledged = max(acknowledged, ?) WHERE name = ?", (up_to, self._name)),
            ("DELETE FROM events WHERE sequence <= (SELECT min(acknowledged) FROM sinks)", ()),
        )

    def set_aside(self, row: Row, why: str) -> None:
        """The sink will never take this row: keep it among the dead."""
        self._change(
            ("INSERT INTO dead VALUES (?, ?, ?, ?)", (self._name, row.sequence, why, row.body.decode())),
            (
                "DELETE FROM dead WHERE rowid <= (SELECT max(rowid) FROM dead) - ?",
                (DEAD_LIMIT,),
            ),
        )

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def __enter__(self) -> Pending:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, query: str, *values: object) -> tuple[Any, ...]:
        try:
            row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise self._wrong(error) from error
        if row is None:
            raise OutboxError(f"{self._path} knows no sink {self._name}; expected one it was opened with")
        return row

    def _change(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for statement, values in statements:
                    self._db.execute(statement, values)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._wrong(error) from error

    def _wrong(self, error: sqlite3.Error) -> OutboxError:
        return OutboxError(f"{self._path} can't be read or written: {error}; make room there")
