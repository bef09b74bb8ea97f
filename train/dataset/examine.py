"""Every photo decoded once before an hour is spent on it: what it is, and which files are broken."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import ImageError
from edge.images import Listing, Photo, Role
from edge.preprocess import Pixels, look
from edge.progress import Progress

THUMB = 32
"""Side of the small pictures that twins are found by, pixels."""
COLOURLESS = 6
"""Levels between the channels up to which a thumb is grey: JPEG and area averages leave a few."""
CHUNK = 8
"""Photos that a thread takes at once: few, so that Ctrl-C does not wait long for large ones."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

Thumb = npt.NDArray[np.uint8]
"""uint8 [32, 32]: luma of the upright picture, stretched, each pixel the mean of what it covers."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Record:
    """What is kept of a file that can be decoded."""

    sha256: str
    """Of the file, 64 hex digits."""
    key: str
    """Of size and thumb: pictures of equal pixels have equal keys, and hardly any others do."""
    bytes: int
    width: int
    """Of the upright picture, pixels."""
    height: int
    """Of the upright picture, pixels."""
    format: str
    """By content: JPEG, PNG, WEBP, BMP or TIFF."""
    frames: int
    """1 for a still."""
    grey: bool
    """Whether there is no colour in it."""
    camera: str
    """Make and model by EXIF; empty where there is none."""
    colour: tuple[float, float, float]
    """Mean blue, green and red, 0 to 255."""
    brightness: float
    """Mean luma, 0 to 255."""
    contrast: float
    """Standard deviation of the thumb's luma, levels."""


@dataclass(frozen=True)
class Sample:
    """A photo that can be decoded."""

    photo: Photo
    record: Record

    @property
    def digest(self) -> str:
        """SHA-256 of the file, 64 hex digits."""
        return self.record.sha256


@dataclass(frozen=True)
class Broken:
    """A photo that can't."""

    name: str
    """Path below the data set's root, with forward slashes."""
    label: str
    role: Role | None
    reason: str


@dataclass(frozen=True)
class Examined:
    """A data set whose every file was opened."""

    root: Path
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    """In plain order of their names."""
    broken: tuple[Broken, ...]
    thumbs: npt.NDArray[np.uint8]
    """uint8 [samples, 32, 32], a Thumb for each sample."""
    ignored: tuple[str, ...] = ()
    """Names of files that were not opened, for their ending."""
    unsorted: tuple[str, ...] = ()
    """Names of pictures that a bin kept and nobody gave a label: they were not opened."""

    @property
    def files(self) -> int:
        """Photos that can be decoded and photos that can't."""
        return len(self.samples) + len(self.broken)


class Passing(str):
    """A reason that may be gone at the next look: the disk's trouble, not the file's."""

    __slots__ = ()


Seen = tuple[Record, Thumb] | str
"""What a look at one file gave; a reason where it can't be decoded."""


def examine(listing: Listing, seen: dict[str, Seen] | None = None, progress: Progress | None = None) -> Examined:
    """Decode every photo once, on all cores, but those that were `seen`, by name, in an earlier look.

    `seen` is filled as the looks come. The memory it takes is that of the records and thumbs, some 3 kB a photo.
    """
    seen = {} if seen is None else seen
    unseen = [photo for photo in listing.photos if photo.name not in seen]
    chunks = [unseen[start : start + CHUNK] for start in range(0, len(unseen), CHUNK)]
    for chunk, looks in zip(chunks, on_all_cores(_look_at, chunks), strict=True):
        seen.update(zip((photo.name for photo in chunk), looks, strict=True))
        if progress:
            progress(len(seen), len(listing.photos))
    return _gather(listing, seen)


def _gather(listing: Listing, seen: dict[str, Seen]) -> Examined:
    """Put the looks in the order of the listing."""
    samples, broken, thumbs = [], [], []
    for photo in listing.photos:
        found = seen[photo.name]
        if isinstance(found, str):
            broken.append(Broken(photo.name, photo.label, photo.role, found))
        else:
            samples.append(Sample(photo, found[0]))
            thumbs.append(found[1])
    stack = np.stack(thumbs) if thumbs else np.zeros((0, THUMB, THUMB), dtype=np.uint8)
    return Examined(
        listing.root, listing.labels, tuple(samples), tuple(broken), stack, listing.ignored, listing.unsorted
    )


def on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Give `work` of each item, in order, from a thread a core; few wait at a time, so that memory is bounded.

    For work that leaves the interpreter, as decoders, hashes and OpenCV do. `items` are asked for one by one, as
    places get free.
    """
    _keep_freed_memory()
    workers = len(os.sched_getaffinity(0))
    waiting: deque[Future[Result]] = deque()
    with _quiet_opencv(), ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB that were freed: fetching each picture's pages anew takes a third of the time."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 1024**2)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * 1024**2)


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV to the calling thread: where every core has a thread of ours, its own only get in the way."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _look_at(photos: Sequence[Photo]) -> list[Seen]:
    return [_look(photo) for photo in photos]


def _look(photo: Photo) -> Seen:
    try:
        if not photo.path.is_file():  # a pipe would never end
            return "not a file"
        data = photo.path.read_bytes()
        picture, header = look(data)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return Passing(error.strerror or str(error))
    small = _shrink(picture)
    thumb = cast(Thumb, cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
    blue, green, red, _ = cv2.mean(small)
    mean, spread = cv2.meanStdDev(thumb)  # OpenCV's: numpy holds the interpreter ten times as long
    record = Record(
        sha256=hashlib.sha256(data).hexdigest(),
        key=hashlib.sha256(f"{picture.shape}".encode() + thumb.tobytes()).hexdigest()[:32],
        bytes=len(data),
        width=picture.shape[1],
        height=picture.shape[0],
        format=header.format,
        frames=header.frames,
        grey=_is_grey(small),
        camera=header.camera,
        colour=(round(blue, 2), round(green, 2), round(red, 2)),
        brightness=round(float(mean[0, 0]), 2),
        contrast=round(float(spread[0, 0]), 2),
    )
    return record, thumb


def _shrink(picture: Pixels) -> Pixels:
    """Return the picture stretched to a thumb's size, uint8 [32, 32, 3]: areas averaged, fast halvings first."""
    while min(picture.shape[:2]) >= 4 * THUMB:
        even = picture[: picture.shape[0] & ~1, : picture.shape[1] & ~1]
        half = (even.shape[1] // 2, even.shape[0] // 2)
        picture = cast(Pixels, cv2.resize(even, half, interpolation=cv2.INTER_AREA))
    return cast(Pixels, cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA))


def _is_grey(picture: Pixels) -> bool:
    blue, green, red = cv2.split(picture)
    return max(cv2.norm(one, green, cv2.NORM_INF) for one in (blue, red)) <= COLOURLESS
