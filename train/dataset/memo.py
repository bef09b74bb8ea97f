"""What an examination found, kept for the next one: a file that has not changed is not decoded again."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from PIL import __version__ as pillow_version

from edge.files import replace_bytes
from edge.images import Listing
from train.dataset.examine import THUMB, Passing, Record, Seen

FORMAT = f"binsight.examined.4 pillow {pillow_version}"
"""Another decoder may find other files broken: what an older one found is not taken."""
KEPT = 32
"""Data sets that the cache remembers; of more, those used longest ago are forgotten."""

Stamp = tuple[int, int, int]
"""Size in bytes, and when the content and the file's entry last changed, ns: a file that was written differs."""
Kept = TypeVar("Kept")


class _Entry(msgspec.Struct, array_like=True):
    name: bytes  # a file's name need not be text
    stamp: Stamp
    seen: Record | str


class _Result(msgspec.Struct):
    of: str
    value: msgspec.Raw


def stamps(listing: Listing) -> list[Stamp | None]:
    """Return the stamp of each file, in the listing's order; None for one that is gone."""
    found: list[Stamp | None] = []
    for photo in listing.photos:
        try:
            status = os.stat(photo.path)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return found


def recall(listing: Listing, now: Sequence[Stamp | None], cache: Path) -> dict[str, Seen]:
    """Return what is known, by name, of those files of a listing whose stamps are as they were."""
    current = dict(zip((photo.name for photo in listing.photos), now, strict=True))
    known: dict[str, Seen] = {}
    try:
        with np.load(io.BytesIO(_place(listing, cache, "npz").read_bytes()), allow_pickle=False) as file:
            entries = msgspec.json.decode(file["entries"].tobytes(), type=list[_Entry])
            thumbs = iter(file["thumbs"] if str(file["format"]) == FORMAT else ())
        for entry in entries:
            seen = entry.seen if isinstance(entry.seen, str) else (entry.seen, next(thumbs))
            name = os.fsdecode(entry.name)
            if current.get(name) == entry.stamp:
                known[name] = seen
        os.utime(_place(listing, cache, "npz"))  # it was of use: others are forgotten first
    except Exception:  # noqa: BLE001  a memory that can't be read, whatever the reason, is no memory
        return {}
    return known


def remember(listing: Listing, now: Sequence[Stamp | None], seen: Mapping[str, Seen], cache: Path) -> None:
    """Keep what was seen, under the stamps from before the look. A cache that can't be written is left alone."""
    entries, thumbs = [], []
    for photo, stamp in zip(listing.photos, now, strict=True):
        found = seen.get(photo.name)
        if stamp is not None and found is not None and not isinstance(found, Passing):
            entries.append(_Entry(os.fsencode(photo.name), stamp, found if isinstance(found, str) else found[0]))
            thumbs.extend([] if isinstance(found, str) else [found[1]])
    text = np.frombuffer(msgspec.json.encode(entries), dtype=np.uint8)
    stack = np.stack(thumbs) if thumbs else np.zeros((0, THUMB, THUMB), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, format=np.array(FORMAT), entries=text, thumbs=stack)
    _write(_place(listing, cache, "npz"), buffer.getvalue())


def recall_result(listing: Listing, of: str, kind: type[Kept], cache: Path) -> Kept | None:
    """Return what was concluded from the very same data (`of` is its digest), or None."""
    try:
        result = msgspec.json.decode(_place(listing, cache, "json").read_bytes(), type=_Result)
        if result.of != of:
            return None
        os.utime(_place(listing, cache, "json"))
        return msgspec.json.decode(result.value, type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def remember_result(listing: Listing, of: str, value: object, cache: Path) -> None:
    """Keep what was concluded from the data whose digest is `of`."""
    result = _Result(of, msgspec.Raw(msgspec.json.encode(value)))
    _write(_place(listing, cache, "json"), msgspec.json.encode(result))


def _place(listing: Listing, cache: Path, suffix: str) -> Path:
    root = os.fsencode(listing.root.absolute())
    return cache / "examined" / f"{hashlib.sha256(root).hexdigest()[:32]}.{suffix}"


def _write(path: Path, data: bytes) -> None:
    with suppress(OSError):  # a full disk costs the next run its time, and nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(path, data)
        files = sorted(path.parent.glob(f"*{path.suffix}"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-KEPT]:
            file.unlink(missing_ok=True)
