"""The outbox's file: an SQLite database that one process at a time may have open."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
import uuid
from contextlib import suppress
from pathlib import Path

from edge.errors import OutboxError
from edge.files import fsync_folder

log = logging.getLogger(__name__)

APPLICATION = 0x42494E53
"""SQLite's application id of our files."""

SCHEMA = 1

BUSY_S = 10.0
"""Longest wait for another thread's transaction, in seconds."""

TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE state (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  epoch TEXT NOT NULL,
  last INTEGER NOT NULL,     -- the newest sequence number
  events INTEGER NOT NULL,   -- how many wait
  bytes INTEGER NOT NULL,    -- how much they are, as `bytes` of each row counts
  dropped INTEGER NOT NULL,  -- how many the bound let go
  boot TEXT NOT NULL         -- the boot that `stamp` counts from
);
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY,
  type TEXT NOT NULL,
  body TEXT NOT NULL,        -- the event as JSON
  bytes INTEGER NOT NULL,
  stamp REAL NOT NULL        -- monotonic seconds
);
CREATE INDEX notices ON events (sequence) WHERE type = 'binsight.dropped';
CREATE TABLE sinks (name TEXT PRIMARY KEY, acknowledged INTEGER NOT NULL);
CREATE TABLE dead (sink TEXT NOT NULL, sequence INTEGER NOT NULL, why TEXT NOT NULL, body TEXT NOT NULL);
CREATE TRIGGER came AFTER INSERT ON events BEGIN
  UPDATE state SET events = events + 1, bytes = bytes + NEW.bytes;
END;
CREATE TRIGGER went AFTER DELETE ON events BEGIN
  UPDATE state SET events = events - 1, bytes = bytes - OLD.bytes;
END;
"""


def lock(path: Path) -> int:
    """Take the file's lock, which lies beside it and goes with the process, and return its handle.

    Raises OutboxError where another process has it, or the folder can't be written.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutboxError(
            f"{path} can't be an outbox: {error.strerror}; expected a file in a folder that may be written: "
            "name another with --outbox"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise OutboxError(
            f"{path} is the outbox of another edge-run that is running, process {holder}; stop that one, "
            "or name another with --outbox"
        ) from error
    with suppress(OSError):  # a full disk: the number only helps a message
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Open a connection for the calling thread. Raises sqlite3.Error.

    `durable`: a commit returns when the disk has it. Without, a power cut may take the newest commits, whole.
    """
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA journal_size_limit = 4194304")
    except BaseException:
        connection.close()
        raise
    return connection


def open_checked(path: Path) -> sqlite3.Connection:
    """Open the file, which is made where there is none, and look it over. The lock must be held.

    A file that is broken is set aside under another name and a new one begun. Raises OutboxError where it is
    another program's, a newer binsight's, or can't be written.
    """
    try:
        try:
            return _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # no room, no permission: the file is not to blame
                raise
            _set_aside(path, str(error))
            return _open(path)
    except (sqlite3.Error, OSError) as error:
        raise OutboxError(
            f"{path} can't be an outbox: {error}; make room there, or name another with --outbox"
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    connection = connect(path, durable=True)
    try:
        _check(connection, path)
        fsync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    ours, schema = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.executescript(TABLES)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("INSERT INTO state VALUES (1, ?, 0, 0, 0, 0, ?)", (str(uuid.uuid4()), _boot()))
        connection.execute("COMMIT")
        return
    if ours != APPLICATION:
        raise OutboxError(f"{path} is another program's database; name another file with --outbox")
    if schema != SCHEMA:
        raise OutboxError(
            f"{path} is an outbox of schema {schema}, and this binsight has {SCHEMA}; deliver it with the "
            "binsight that wrote it, or name another with --outbox"
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok" or not connection.execute("SELECT count(*) FROM state").fetchone()[0]:
        raise sqlite3.DatabaseError(found)
    boot = _boot()
    if connection.execute("SELECT boot FROM state").fetchone()[0] != boot:
        # The seconds of an earlier boot mean nothing now: ages count from here.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE events SET stamp = ?", (time.monotonic(),))
        connection.execute("UPDATE state SET boot = ?", (boot,))
        connection.execute("COMMIT")


def _set_aside(path: Path, why: str) -> None:
    aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    count = 1
    while aside.exists():
        count += 1
        aside = aside.with_name(f"{aside.name.partition('+')[0]}+{count}")
    os.replace(path, aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    fsync_folder(path.parent)
    log.warning(
        "the outbox %s is broken (%s): it was set aside as %s, and a new one begun; what was not delivered is "
        "in there", path, why, aside,
    )  # fmt: skip


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return str(uuid.uuid4())
