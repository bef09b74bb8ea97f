"""The photos of a run, found again and known by their digests."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import DataError
from edge.images import Role, list_photos
from train.dataset.split import Split

DIGEST_BYTES = 8
"""Of each photo's SHA-256 that travel in the bundle: enough to know a photo again among billions."""


@dataclass(frozen=True)
class Photo:
    """A photo as it came from the disk."""

    data: bytes
    target: int
    """Index of the label."""


class Photos(Sequence[Photo]):
    """The photos of one role in a run, each read and verified when it is asked for."""

    def __init__(self, split: Split, role: Role, root: Path) -> None:
        self._entries = split.roles[role]
        self._role = role
        self._labels = split.labels
        self._root = root

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Photo:  # type: ignore[override]
        entry = self._entries[index]
        try:
            data = (self._root / entry.file).read_bytes()
        except OSError as error:
            raise DataError(
                f"{self._role.value} photo {entry.file} is not in {self._root} ({error.strerror}); "
                "name the data the run was trained on with --data"
            ) from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DataError(
                f"{self._role.value} photo {entry.file} has changed since training; name the old data with --data"
            )
        return Photo(data, self._labels.index(entry.label))


def open_photos(split: Split, role: Role, data: Path | None, cache: Path) -> Photos:
    """Find the run's photos of `role` in `data`, or where the run recorded them.

    Raises DataError where the data is not there.
    """
    place = data or Path(split.data)
    try:
        root = list_photos(place, cache).root
    except DataError as error:
        raise DataError(f"the run's photos are not at hand: {error}; name them with --data") from error
    return Photos(split, role, root)


def pack_digests(split: Split) -> bytes:
    """Return split.npz: for each role the first 8 bytes of its photos' SHA-256, uint8 [photos, 8]."""
    arrays: dict[str, npt.NDArray[np.uint8]] = {}
    for role in Role:
        digests = b"".join(bytes.fromhex(one.sha256)[:DIGEST_BYTES] for one in split.roles[role])
        arrays[role.value] = np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def spread_out(count: int, total: int) -> list[int]:
    """Choose up to `count` of `total` places, evenly: the photos lie in order of class."""
    return sorted({round(step) for step in np.linspace(0, total - 1, count)})
