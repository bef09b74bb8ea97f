"""A made data set with planted faults, 30 of each kind, and the truth about them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from edge.preprocess import Pixels, decode
from edge.waste import LABELS, write_dataset

EACH = 30
NEAR = ("encoded", "resized", "cropped", "flipped", "turned")
Truth = dict[str, list[tuple[str, ...]]]


@dataclass(frozen=True)
class Planted:
    """Where the data set lies, and what is wrong with it."""

    root: Path
    faults: Truth
    """Kind to the files of each fault: the original first, then its copy."""
    clean: frozenset[str]
    """Names that are in no fault."""


def plant(root: Path, per_class: int = 80, size: int = 192) -> Planted:
    """Draw photos in train/ and test/, and plant 30 faults of each of ten kinds, no photo in two of them."""
    write_dataset(root / "train", per_class, seed=11, size=size)
    write_dataset(root / "test", per_class // 8, seed=12, size=size)
    originals = sorted((root / "train").rglob("*.jpg"))
    rng = np.random.default_rng(5)
    pool = iter(rng.permutation(np.array(originals, dtype=object)))
    faults: Truth = {}
    for kind, make in _MAKERS.items():
        faults[kind] = [make(next(pool), root) for _ in range(EACH)]
    touched = {name for pairs in faults.values() for pair in pairs for name in pair}
    names = {path.relative_to(root).as_posix() for path in root.rglob("*.*")}
    return Planted(root, faults, frozenset(names - touched))


def _pair(path: Path, copy: Path, root: Path) -> tuple[str, ...]:
    return path.relative_to(root).as_posix(), copy.relative_to(root).as_posix()


def _copy(
    change: Callable[[Pixels], Pixels], quality: int = 90, orientation: int = 1
) -> Callable[..., tuple[str, ...]]:
    """Make a fault that is a changed copy beside the original."""

    def make(path: Path, root: Path) -> tuple[str, ...]:
        picture = change(decode(path.read_bytes()))
        copy = path.with_name(f"{path.stem}_copy.jpg")
        exif = Image.Exif()
        exif[274] = orientation
        buffer = io.BytesIO()
        rgb = np.ascontiguousarray(picture[:, :, ::-1])
        Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, exif=exif.tobytes())
        copy.write_bytes(buffer.getvalue())
        return _pair(path, copy, root)

    return make


def _exact(path: Path, root: Path) -> tuple[str, ...]:
    """Write equal pixels in another file: a PNG of what the JPEG decodes to."""
    copy = path.with_name(f"{path.stem}_copy.png")
    cv2.imwrite(str(copy), decode(path.read_bytes()))
    return _pair(path, copy, root)


def _conflict(path: Path, root: Path) -> tuple[str, ...]:
    other = LABELS[(LABELS.index(path.parent.name) + 1) % len(LABELS)]
    copy = path.parent.parent / other / f"{path.stem}_{path.parent.name}.jpg"
    shutil.copy(path, copy)
    return _pair(path, copy, root)


def _leak(path: Path, root: Path) -> tuple[str, ...]:
    copy = root / "test" / path.parent.name / f"{path.stem}_leak.jpg"
    shutil.copy(path, copy)
    return _pair(path, copy, root)


def _truncate(path: Path, root: Path) -> tuple[str, ...]:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    return (path.relative_to(root).as_posix(),)


def _misname(path: Path, root: Path) -> tuple[str, ...]:
    return (path.rename(path.with_suffix(".png")).relative_to(root).as_posix(),)


def _crop(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    rim = round(0.05 * height)
    return picture[rim : height - rim, rim : width - rim]


def _half(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    return cv2.resize(picture, (width * 2 // 3, height * 2 // 3), interpolation=cv2.INTER_AREA).astype(np.uint8)


_MAKERS: dict[str, Callable[..., tuple[str, ...]]] = {
    "exact": _exact,
    "encoded": _copy(lambda picture: picture, quality=50),
    "resized": _copy(_half),
    "cropped": _copy(_crop),
    "flipped": _copy(lambda picture: picture[:, ::-1]),
    "turned": _copy(lambda picture: picture, orientation=6),
    "conflict": _conflict,
    "leak": _leak,
    "truncated": _truncate,
    "misnamed": _misname,
}
