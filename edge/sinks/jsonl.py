"""Events as lines of JSON, in a file or on stdout."""

from __future__ import annotations

import logging
import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.errors import SinkError
from edge.event import Event, to_line
from edge.files import fsync_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rotation:
    """When a file of events is put by for a new one."""

    size: int
    """Bytes that a file has at most, unless a single event is larger."""
    files: int = 5
    """How many are kept beside the one that is written: FILE.1 is the newest."""


class Jsonl:
    """Appends one line an event, and returns from `write` when the disk has it."""

    def __init__(
        self, handle: int, name: str, *, durable: bool, owned: bool, rotation: Rotation | None = None
    ) -> None:
        self._handle = handle
        self._name = name
        self._rotation = rotation
        self._limit = rotation.size if rotation else 0
        """Bytes at which the file is put by; a file that could not be is given as much again."""
        self._durable = durable
        """Lines are fsynced: only a file takes that."""
        self._owned = owned

    def write(self, event: Event[Any]) -> None:
        """Append the event. Raises SinkError (a full disk), BrokenPipeError where stdout's reader has gone."""
        line, size = to_line(event), None
        try:
            size = self._make_room(len(line))
            write_all(self._handle, line)
            if self._durable:
                os.fsync(self._handle)
        except OSError as error:
            self._take_back(size)
            if isinstance(error, BrokenPipeError) and not self._owned:
                raise
            raise SinkError(
                f"event {event.sequence} can't be written to {self._name}: {error.strerror}; "
                "make room there, or name another file with --events"
            ) from error

    def _make_room(self, line: int) -> int:
        """Put the file by where a line of so many bytes is too much for it, and return the bytes it now has."""
        size = os.fstat(self._handle).st_size
        if not self._rotation or not 0 < size > self._limit - line:
            return size
        done = self._rotate(self._rotation)
        self._limit = self._rotation.size if done else size + self._rotation.size
        return 0 if done else size

    def _take_back(self, size: int | None) -> None:
        """Cut off what a full disk took of a line: the next one would be spoilt by it."""
        if self._durable and size is not None:
            with suppress(OSError):
                os.ftruncate(self._handle, size)

    def _rotate(self, rotation: Rotation) -> bool:
        """Put the file by and begin a new one. Where that fails, the old one grows, and False is returned."""
        path = Path(self._name)
        fresh = path.with_name(f"{path.name}.new")
        try:
            new = _open(fresh)  # before anything is moved: a full disk may have no room for it
        except OSError as error:
            return _grows(path, error)
        try:
            for number in range(rotation.files - 1, 0, -1):
                older = path.with_name(f"{path.name}.{number}")
                if older.exists():
                    os.replace(older, path.with_name(f"{path.name}.{number + 1}"))
            os.replace(path, path.with_name(f"{path.name}.1"))
            os.replace(fresh, path)
        except OSError as error:
            os.close(new)
            return _grows(path, error)
        os.close(self._handle)
        self._handle = new
        fsync_folder(path.parent)
        return True

    def close(self) -> None:
        """Close the file."""
        if self._owned:
            os.close(self._handle)
            self._owned = False

    def __enter__(self) -> Jsonl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stdout(target: str, rotation: Rotation | None = None) -> Jsonl:  # noqa: ARG001  stdout has none
    """Write to stdout. `target` is its name for messages."""
    sys.stdout.flush()
    return Jsonl(sys.stdout.fileno(), f"stdout ({target})", durable=False, owned=False)


def open_file(target: str, rotation: Rotation | None = None) -> Jsonl:
    """Append to the file `target`, on a new line where its last one is torn. Raises SinkError."""
    path = Path(target)
    try:
        new = not path.exists()
        handle = _open(path)
    except OSError as error:
        raise SinkError(
            f"{target} can't be opened for events: {error.strerror}; expected a file in a folder that exists "
            "and may be written"
        ) from error
    regular = stat.S_ISREG(os.fstat(handle).st_mode)
    try:
        if regular:
            _end_last_line(handle)
        if new:
            fsync_folder(path.parent)
    except OSError as error:
        os.close(handle)
        raise SinkError(f"{target} can't be made ready for events: {error.strerror}") from error
    return Jsonl(handle, target, durable=regular, owned=True, rotation=rotation if regular else None)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _grows(path: Path, error: OSError) -> bool:
    log.warning("%s can't be rotated: %s; it grows", path, error.strerror)
    return False


def write_all(handle: int, data: bytes) -> None:
    """Write all of `data`, however many writes it takes. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _end_last_line(handle: int) -> None:
    """Close a line that a power cut or a full disk left torn, so that the next event has a line of its own."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        write_all(handle, b"\n")
