"""Events as lines of JSON, in a file or on stdout."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import TracebackType

from edge.errors import SinkError
from edge.event import Event, to_line
from edge.files import fsync_folder


class Jsonl:
    """Appends one line an event, and returns from `write` when the disk has it."""

    def __init__(self, handle: int, name: str, *, durable: bool, owned: bool) -> None:
        self._handle = handle
        self._name = name
        self._durable = durable
        """Lines are fsynced: only a file takes that."""
        self._owned = owned

    def write(self, event: Event) -> None:
        """Append the event. Raises SinkError (a full disk), BrokenPipeError where stdout's reader has gone."""
        try:
            write_all(self._handle, to_line(event))
            if self._durable:
                os.fsync(self._handle)
        except OSError as error:
            if isinstance(error, BrokenPipeError) and not self._owned:
                raise
            raise SinkError(
                f"event {event.sequence} can't be written to {self._name}: {error.strerror}; "
                "make room there, or name another file with --events"
            ) from error

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


def open_stdout(target: str) -> Jsonl:
    """Write to stdout. `target` is its name for messages."""
    sys.stdout.flush()
    return Jsonl(sys.stdout.fileno(), f"stdout ({target})", durable=False, owned=False)


def open_file(target: str) -> Jsonl:
    """Append to the file `target`, on a new line where its last one is torn. Raises SinkError."""
    path = Path(target)
    try:
        new = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
    return Jsonl(handle, target, durable=regular, owned=True)


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
