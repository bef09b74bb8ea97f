"""Photos as pixels on the disk: decoded and resized once, read from a memory map ever after.

A file `<key>.pixels` holds one view of one set of photos:

    0       header, 4096 bytes: a line of JSON with the key and the shape, and a line with its SHA-256
    4096    pixels, uint8 [photos, height, width, 3] BGR, photos in order of the SHA-256 of their files
            width over height of each photo as it was taken, float32 [photos]

It is keyed by what is in it and by nothing else: other splits, seeds and folds of the same photos find it again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Protocol

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from PIL import __version__ as pillow_version
from torch.utils.data import get_worker_info

from edge.errors import DataError, ImageError
from edge.files import replace_file
from edge.preprocess import InputSpec, Pixels, decode, fit
from edge.progress import Progress
from train.dataset.examine import on_all_cores

FORMAT = f"binsight.pixels.1 pillow {pillow_version} opencv {cv2.__version__}"
"""Another decoder or another resize gives other pixels: what an older one made is not taken."""
HEADER = 4096
"""Bytes before the pixels: a page."""
ENDING = ".pixels"
GIB = 2**30

Stack = npt.NDArray[np.uint8]
"""uint8 [photos, height, width, 3] BGR."""
Proportions = npt.NDArray[np.float32]
"""float32 [photos]: width over height of the photos as they were taken."""
Rows = npt.NDArray[np.int64]
"""int64 [photos]: places in the order of the SHA-256."""
Say = Callable[[str], object]
"""Is told a sentence."""


@dataclass(frozen=True)
class Source:
    """A photo's file, and what it must hold."""

    path: Path
    sha256: str
    """Of the file, 64 hex digits."""


@dataclass(frozen=True)
class Limits:
    """How much of the disk the cache may take."""

    total: int = 20 * GIB
    """Bytes of all files together."""
    free: int = 2 * GIB
    """Bytes that stay free on the disk."""
    free_share: float = 0.1
    """Share of the disk that stays free where that is less: a small disk has a small reserve."""


class Sheet(Protocol):
    """One view of all photos of a data set."""

    def take(self, rows: Rows) -> tuple[Stack, Proportions]:
        """Return a copy of the pixels of some photos, and their proportions."""
        ...


class Stored:
    """A sheet in a file. The file may be evicted or replaced meanwhile: what is mapped stays."""

    def __init__(self, path: Path, key: str) -> None:
        """Open a file. Raises ValueError where it is not what `key` stands for, OSError where it is not there."""
        self.path, self._key = path, key
        with path.open("rb") as file:
            shape = _read_header(file, key)
            self._pixels = np.memmap(file, np.uint8, "r", HEADER, shape)
            file.seek(HEADER + prod(shape))
            self._aspects = np.frombuffer(file.read(), dtype=np.float32)

    def take(self, rows: Rows) -> tuple[Stack, Proportions]:
        """Return a copy of the pixels of some photos, and their proportions."""
        return np.asarray(self._pixels[rows]), self._aspects[rows]

    def __reduce__(self) -> tuple[type[Stored], tuple[Path, str]]:
        """To another process goes the name of the file, and not all that is in it."""
        return Stored, (self.path, self._key)


class Decoded:
    """A sheet that is in no file: each photo is decoded whenever it is asked for."""

    def __init__(self, sources: Sequence[Source], view: InputSpec) -> None:
        self._sources, self._view = sources, view

    def take(self, rows: Rows) -> tuple[Stack, Proportions]:
        """Decode some photos, on all cores where no other process does. Raises DataError as open_sheets does."""
        sources = [self._sources[row] for row in rows]
        alone = get_worker_info() is None
        pictures = on_all_cores(self._look, sources) if alone else map(self._look, sources)
        views, aspects = zip(*pictures, strict=True)
        return np.stack(views), np.array(aspects, dtype=np.float32)

    def _look(self, source: Source) -> tuple[Pixels, float]:
        (view,), aspect = _views_of(source, (self._view,))
        return view, aspect


@dataclass(frozen=True)
class _Plan:
    """A file that is to be there."""

    path: Path
    key: str
    view: InputSpec
    shape: tuple[int, int, int, int]

    @property
    def bytes(self) -> int:
        return HEADER + prod(self.shape) + 4 * self.shape[0]


class _Header(msgspec.Struct, frozen=True):
    key: str
    shape: tuple[int, int, int, int]


def open_sheets(
    sources: Sequence[Source],
    views: Sequence[InputSpec],
    folder: Path,
    limits: Limits,
    progress: Progress | None,
    say: Say,
) -> tuple[Sheet, ...]:
    """Return a sheet for each view of `sources`, which are distinct and in order of their SHA-256.

    What is not yet in `folder` is made, on all cores, each photo decoded once for all views; `progress` is told
    (done, total) of the photos. Where the disk has no room for it, or refuses, that is said and photos are decoded
    as they are needed. Raises DataError, naming the file: a photo that is gone, broken, or not the one it was.
    """
    plans = [_plan(sources, view, folder) for view in views]
    try:
        sheets = [_open(plan, say) for plan in plans]
        if None in sheets:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder, say):
                _make_missing(plans, sources, limits, progress)
            sheets = [_open(plan, say) for plan in plans]
        return tuple(sheet or Decoded(sources, plan.view) for sheet, plan in zip(sheets, plans, strict=True))
    except _NoRoomError as error:
        say(f"{error}; each photo is decoded whenever it is needed")
    except OSError as error:
        why = error.strerror or str(error)
        say(f"photos can't be kept as pixels in {folder} ({why}); each is decoded whenever it is needed")
    return tuple(Decoded(sources, view) for view in views)


class _NoRoomError(DataError):
    """The cache may not grow so far."""


def _plan(sources: Sequence[Source], view: InputSpec, folder: Path) -> _Plan:
    sha = hashlib.sha256(msgspec.json.encode([FORMAT, asdict(view)]))
    for source in sources:
        sha.update(source.sha256.encode())
    return _Plan(folder / f"{sha.hexdigest()}{ENDING}", sha.hexdigest(), view, (len(sources), *view.shape))


def _open(plan: _Plan, say: Say) -> Stored | None:
    """Open a file, and note that it was of use; None where it is missing or damaged."""
    try:
        sheet = Stored(plan.path, plan.key)
    except FileNotFoundError:
        return None
    except ValueError as error:
        say(f"{plan.path} is damaged ({error}) and is made anew")
        return None
    with suppress(OSError):  # somebody else's cache, or evicted this moment
        os.utime(plan.path)
    return sheet


def _read_header(file: BinaryIO, key: str) -> tuple[int, int, int, int]:
    """Return the shape of the pixels. Raises ValueError where header or size are not right."""
    body, _, rest = file.read(HEADER).partition(b"\n")
    if rest[:64] != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its header does not have the digest that it states")
    header = msgspec.json.decode(body, type=_Header)
    expected, got = HEADER + prod(header.shape) + 4 * header.shape[0], os.fstat(file.fileno()).st_size
    if header.key != key:
        raise ValueError("it holds other photos than its name says")
    if got != expected:
        raise ValueError(f"it has {got} bytes, expected {expected}")
    return header.shape


def _write_header(file: BinaryIO, plan: _Plan) -> None:
    body = msgspec.json.encode(_Header(plan.key, plan.shape))
    file.seek(0)
    file.write(body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n")


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """Let one process at a time make files: the others wait, and find them made. A dead one's lock is free."""
    with (folder / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is decoding photos into {folder}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_missing(
    plans: Sequence[_Plan], sources: Sequence[Source], limits: Limits, progress: Progress | None
) -> None:
    """Make the files that nobody made meanwhile. Raises _NoRoomError, OSError; no part is left then."""
    missing = [plan for plan in plans if _open(plan, lambda line: None) is None]  # noqa: ARG005
    if not missing:
        return
    folder = missing[0].path.parent
    for part in folder.glob(f".*{ENDING}"):  # of a process that was killed: who makes files holds the lock
        part.unlink(missing_ok=True)
    _make_room(folder, sum(plan.bytes for plan in missing), {plan.path for plan in plans}, limits)
    _write(missing, (), lambda parts: _fill(parts, missing, sources, progress))


def _make_room(folder: Path, needed: int, mine: set[Path], limits: Limits) -> None:
    """Evict the files used longest ago until `needed` bytes have room; none where all of them are not enough."""
    total, _, free = shutil.disk_usage(folder)
    least = min(limits.free, int(limits.free_share * total))
    files = [(path, path.stat()) for path in folder.glob(f"*{ENDING}")]
    held = sum(status.st_size for _, status in files)
    others = [(path, status) for path, status in files if path not in mine]
    evicted: list[Path] = []
    for path, status in sorted(others, key=lambda one: one[1].st_mtime_ns):
        if held + needed <= limits.total and free - needed >= least:
            break
        evicted.append(path)
        held, free = held - status.st_size, free + status.st_size
    what = f"the photos take {needed / GIB:.1f} GiB as pixels"
    if held + needed > limits.total:
        raise _NoRoomError(f"{what}, and {folder} may hold {limits.total / GIB:.1f} GiB")
    if free - needed < least:
        raise _NoRoomError(
            f"{what}, and the disk of {folder} has {free / GIB:.1f} GiB, of which {least / GIB:.1f} stay"
        )
    for path in evicted:
        path.unlink(missing_ok=True)


def _write(plans: Sequence[_Plan], parts: tuple[Path, ...], fill: Callable[[tuple[Path, ...]], object]) -> None:
    """Replace the files of all plans in one go with what `fill` writes to as many parts."""
    if plans:
        replace_file(plans[0].path, lambda part: _write(plans[1:], (*parts, part), fill))
    else:
        fill(parts)


def _fill(
    parts: Sequence[Path], plans: Sequence[_Plan], sources: Sequence[Source], progress: Progress | None
) -> None:
    """Write the files from front to back, and last the headers, without which they are nothing."""
    views, aspects = [plan.view for plan in plans], []
    with ExitStack() as stack:
        files = [stack.enter_context(part.open("wb")) for part in parts]
        for file, plan in zip(files, plans, strict=True):
            os.posix_fallocate(file.fileno(), 0, plan.bytes)  # a full disk is better met now than in an hour
            file.seek(HEADER)
        looks = on_all_cores(lambda source: _views_of(source, views), sources)
        for done, (pictures, aspect) in enumerate(looks, start=1):
            for file, picture in zip(files, pictures, strict=True):
                file.write(picture.data)
            aspects.append(aspect)
            if progress:
                progress(done, len(sources))
        for file, plan in zip(files, plans, strict=True):
            file.write(np.array(aspects, dtype=np.float32).data)
            _write_header(file, plan)


def _views_of(source: Source, views: Sequence[InputSpec]) -> tuple[list[Pixels], float]:
    """Decode a photo, and return what each view makes of it, and its width over its height. Raises DataError."""
    picture = _decode(source)
    return [fit(picture, view) for view in views], picture.shape[1] / picture.shape[0]


def _decode(source: Source) -> Pixels:
    try:
        data = source.path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != source.sha256:
            raise DataError(
                f"{source.path} has changed since the data set was examined: its SHA-256 is {found[:12]}..., "
                f"expected {source.sha256[:12]}...; run the command again"
            )
        return decode(data)
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"{source.path} can't be read any more ({why}); put it back, or run again") from error
    except ImageError as error:
        raise DataError(f"{source.path}: {error}; replace or remove it") from error
