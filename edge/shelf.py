"""A folder of kept deposits that never grows beyond its quota: the oldest of the commonest reason go first.

Nothing is touched but `unsorted`, and there nothing but files of our own names: what lies there is the index,
so that a restart goes on with it, and what a person moved to a class counts no more and stays.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import UsageError
from edge.files import replace_bytes
from edge.kept import EVENT, PICTURE, UNSORTED, Name, Why, name_of
from edge.sources.base import Clock

SPARE = 128 << 20
"""Bytes that are left free on the disk: events need them more."""
RESCAN_S = 600.0
"""A full shelf looks at most so often whether somebody took something off it, in seconds."""
BLOCK = 4096
"""What a file takes is a multiple of this, in bytes."""
PRIVATE = 0o700


@dataclass(frozen=True)
class _Pair:
    """A picture and its event, or what is left of them."""

    folder: Path
    name: Name
    bytes: int

    @property
    def files(self) -> tuple[Path, Path]:
        """Where they lie."""
        return self.folder / f"{self.name.stem}{PICTURE}", self.folder / f"{self.name.stem}{EVENT}"


class Shelf:
    """Not for several threads at once."""

    def __init__(self, folder: Path, quota: int, clock: Clock = time.monotonic) -> None:
        """Open the folder, or make it, for its user alone. `quota` is in bytes. Raises UsageError."""
        self.folder = folder / UNSORTED
        self._quota, self._clock = quota, clock
        self._lock = _open(self.folder)
        self._next = 1
        self._scan()
        self._remove_torn()

    @property
    def used(self) -> int:
        """Bytes of all that lies there."""
        return self._used

    def counts(self) -> dict[Why, int]:
        """Return how many of each there are."""
        return {why: len(pairs) for why, pairs in self._pairs.items()}

    def add(self, why: Why, guess: str, id_: str, picture: bytes, event: bytes) -> None:
        """Put a picture and its event there, whole, and take away what they leave no room for.

        Raises OSError: a disk that is full or nearly so, no permission, a picture larger than the quota.
        """
        need = _taken(len(picture)) + _taken(len(event))
        if need > self._quota:
            raise OSError(errno.EFBIG, f"one picture takes {need >> 20} MB, more than the quota")
        if shutil.disk_usage(self.folder).free < SPARE + need:
            raise OSError(errno.ENOSPC, f"less than {SPARE >> 20} MB are free on the disk")
        self._make_room(need)
        pair = _Pair(self.folder / _folder_name(guess), Name(self._next, why, id_), need)
        pair.folder.mkdir(mode=PRIVATE, exist_ok=True)
        at_picture, at_event = pair.files
        try:
            replace_bytes(at_event, event)
            replace_bytes(at_picture, picture)
        except OSError:
            at_event.unlink(missing_ok=True)
            raise
        self._next += 1
        self._pairs[why].append(pair)
        self._used += need

    def close(self) -> None:
        """Let another have it."""
        os.close(self._lock)

    def _make_room(self, need: int) -> None:
        if self._used + need > self._quota and self._clock() - self._scanned > RESCAN_S:
            self._scan()
        while self._used + need > self._quota:
            oldest = max(self._pairs.values(), key=len).popleft()
            for file in oldest.files:
                file.unlink(missing_ok=True)
            self._used -= oldest.bytes

    def _scan(self) -> None:
        """Take up what is there."""
        sizes: dict[tuple[Path, Name], int] = {}
        for entry in _files(self.folder):
            stem, ending = os.path.splitext(entry.name)
            name = name_of(stem) if ending in (PICTURE, EVENT) else None
            if name:
                key = (Path(entry.path).parent, name)
                sizes[key] = sizes.get(key, 0) + _taken(entry.stat(follow_symlinks=False).st_size)
        pairs = sorted((_Pair(*key, size) for key, size in sizes.items()), key=lambda pair: pair.name.number)
        self._pairs = {why: deque(pair for pair in pairs if pair.name.why is why) for why in Why}
        self._used = sum(sizes.values())
        self._next = max([self._next, *(pair.name.number + 1 for pair in pairs[-1:])])
        self._scanned = self._clock()

    def _remove_torn(self) -> None:
        """Remove what a kill left of files on their way."""
        for entry in _files(self.folder):
            found = re.fullmatch(r"\.(.+)-[a-z0-9_]{8}(\.[a-z]+)", entry.name)
            if found and name_of(found[1]) and found[2] in (PICTURE, EVENT):
                Path(entry.path).unlink(missing_ok=True)


def _open(folder: Path) -> int:
    """Make the folder and take its lock, which goes with the process."""
    try:
        folder.parent.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        folder.mkdir(mode=PRIVATE, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"--keep {folder.parent} can't be written: {error.strerror or error}; name a folder that may be"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UsageError(
            f"--keep {folder.parent} is in use by another edge-run; give each bin a folder of its own"
        ) from error
    return handle


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Regular files in the folders of this folder; links are not followed."""
    with os.scandir(folder) as entries:
        guesses = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    for guess in guesses:
        with os.scandir(guess) as entries:
            yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))


def _folder_name(label: str) -> str:
    """Return the label as a folder may be called."""
    text = re.sub(r"[/\x00]", "_", label).encode(errors="replace")[:200].decode(errors="ignore")
    return f"_{text}" if text in ("", ".", "..") else text


def _taken(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
