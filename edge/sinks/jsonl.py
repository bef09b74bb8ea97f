"""Events as lines of JSON, in a file or on stdout."""

from __future__ import annotations

import logging
import os
import stat
import sys
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
        self._durable = durable
        """Lines are fsynced: only a file takes that."""
        self._owned = owned

    def write(self, event: Event[Any]) -> None:
        """Append the event. Raises SinkError (a full disk), BrokenPipeError where stdout's reader has gone."""
        line = to_line(event)
        try:
            if self._rotation and 0 < os.fstat(self._handle).st_size > self._rotation.size - len(line):
                self._rotate(self._rotation)
            write_all(self._handle, line)
            if self._durable:
                os.fsync(self._handle)
        except OSError as error:
            if isinstance(error, BrokenPipeError) and not self._owned:
                raise
            raise SinkError(
                f"event {event.sequence} can't be written to {self._name}: {error.strerror}; "
                "make room there, or name another file with --events"
            ) from error

    def _rotate(self, rotation: Rotation) -> None:
        """Put the file by and begin a new one. Where that fails, the old one grows."""
        path = Path(self._name)
        try:
            for number in range(rotation.files - 1, 0, -1):
                older = path.with_name(f"{path.name}.{number}")
                if older.exists():
                    os.replace(older, path.with_name(f"{path.name}.{number + 1}"))
            os.replace(path, path.with_name(f"{path.name}.1"))
            new = _open(path)
        except OSError as error:
            log.warning("%s can't be rotated: %s; it grows", path, error.strerror)
            return
        os.close(self._handle)
        self._handle = new
        fsync_folder(path.parent)

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
