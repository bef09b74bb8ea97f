"""Every photo decoded once before an hour is spent on it: digests, and which files are broken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from edge.errors import DataError, ImageError
from edge.images import Listing, Photo
from edge.preprocess import decode

MAX_BROKEN = 0.05
"""Share of unreadable photos above which something is wrong with the data set itself."""


@dataclass(frozen=True)
class Sample:
    """A photo that can be decoded."""

    photo: Photo
    digest: str
    """SHA-256 of the file, 64 hex digits."""


@dataclass(frozen=True)
class Broken:
    """A photo that can't."""

    name: str
    reason: str


@dataclass(frozen=True)
class Examined:
    """A data set whose every file was opened."""

    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    broken: tuple[Broken, ...]


def examine(listing: Listing, progress: Callable[[int, int], object] | None = None) -> Examined:
    """Decode every photo once, on all cores. `progress` is told (done, total).

    Raises DataError: one class only, or more than 5 % of the photos broken, naming the first.
    """
    if len(listing.labels) < 2:
        raise DataError(
            f"{listing.root} has one class ({', '.join(listing.labels)}); expected a folder for each of at least 2"
        )
    samples: list[Sample] = []
    broken: list[Broken] = []
    for done, result in enumerate(_open_all(listing.photos), start=1):
        if isinstance(result, Sample):
            samples.append(result)
        else:
            broken.append(result)
        if progress:
            progress(done, len(listing.photos))
    if len(broken) > MAX_BROKEN * len(listing.photos):
        first = "; ".join(f"{one.name}: {one.reason}" for one in broken[:3])
        raise DataError(
            f"{len(broken)} of {len(listing.photos)} photos can't be read, over {MAX_BROKEN:.0%}: {first}"
        )
    return Examined(listing.labels, tuple(samples), tuple(broken))


def _open_all(photos: tuple[Photo, ...]) -> Iterable[Sample | Broken]:
    with ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
        yield from pool.map(_open, photos)


def _open(photo: Photo) -> Sample | Broken:
    try:
        data = photo.path.read_bytes()
        decode(data)
    except ImageError as error:
        return Broken(photo.name, str(error))
    except OSError as error:
        return Broken(photo.name, error.strerror or str(error))
    return Sample(photo, hashlib.sha256(data).hexdigest())
