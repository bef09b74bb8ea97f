"""Folders and zips of images: which photos there are, their labels, and the split that they came in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from edge.archive import left_packed, unpack
from edge.errors import DataError
from edge.kept import EVENT, UNSORTED, name_of

ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))


class Role(str, Enum):
    """What a photo is for. A photo has one role only."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


FOLDER_ROLES = {
    "train": Role.TRAIN,
    "training": Role.TRAIN,
    "val": Role.VAL,
    "valid": Role.VAL,
    "validation": Role.VAL,
    "test": Role.TEST,
    "testing": Role.TEST,
}
"""Folder name in lower case to the role of what lies in it."""


@dataclass(frozen=True)
class Photo:
    """One labelled image file."""

    path: Path
    name: str
    """Path below the data set's root, with forward slashes: the same on every machine."""
    label: str
    role: Role | None
    """Where the data set came split; None where it did not."""


@dataclass(frozen=True)
class Listing:
    """A data set as it lies on the disk."""

    root: Path
    labels: tuple[str, ...]
    """Class folders in plain order (by code point: class10 before class2)."""
    photos: tuple[Photo, ...]
    """In plain order of their names."""
    ignored: tuple[str, ...] = ()
    """Names of files in class folders, or anywhere in a zip, whose ending is of no image that can be read."""
    unsorted: tuple[str, ...] = ()
    """Names of pictures that a bin kept and nobody gave a label, as edge.kept has them."""


def list_photos(data: Path, cache: Path) -> Listing:
    """List a folder or .zip: class/*.jpg, or train|val|test/class/*.jpg, at the root or one folder down.

    Zips are unpacked below `cache`. Raises DataError: nothing there, no class folders, no images.
    """
    folder = open_data(data, cache)
    root = _root(folder)
    photos: list[Photo] = []
    labels: set[str] = set()
    ignored = list(left_packed(folder))
    for role, base in _bases(root):
        for label in _folders(base):
            labels.add(_text(label))
            images, others = _files_below(label)
            photos.extend(Photo(path, path.relative_to(root).as_posix(), label.name, role) for path in images)
            ignored.extend(path.relative_to(root).as_posix() for path in others)
    unsorted = _files_below(root / UNSORTED)[0] if _is_unsorted(root / UNSORTED) else []
    if unsorted and not photos:
        raise DataError(
            f"{data} holds {len(unsorted)} pictures without a label and none with one; move those of one class "
            f"from {UNSORTED}/ into a folder of its name beside it"
        )
    if not photos:
        raise DataError(
            f"{data} holds no images in class folders; expected class/*.jpg or train|val|test/class/*.jpg "
            f"({', '.join(sorted(ENDINGS))})"
        )
    photos.sort(key=lambda photo: photo.name)
    return Listing(
        root,
        tuple(sorted(labels)),
        tuple(photos),
        tuple(sorted(name for name in ignored if not _is_event(name))),
        tuple(path.relative_to(root).as_posix() for path in unsorted),
    )


def open_data(data: Path, cache: Path) -> Path:
    """Return `data` itself if it is a folder, and the folder of its unpacked files if it is a zip.

    Raises DataError where it is neither.
    """
    check_data(data)
    return data if data.is_dir() else unpack(data, cache / "data", ENDINGS)


def check_data(data: Path) -> None:
    """Raise DataError where `data` is neither a folder nor a zip. What is in it is not looked at."""
    if data.is_dir() or (data.is_file() and data.suffix.lower() == ".zip"):
        return
    what = "is neither a folder nor a .zip" if data.exists() else "does not exist"
    raise DataError(f"{data} {what}; expected a folder or a .zip of class folders")


def list_images(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """List image files without labels: files as named, folders with all that lies below, in plain order.

    Raises DataError where a path does not exist, or nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist; expected an image or a folder of images")
        found.extend(_files_below(path)[0] if path.is_dir() else [path])
    if not found:
        raise DataError(f"no images in {', '.join(map(str, paths))} ({', '.join(sorted(ENDINGS))})")
    return tuple(found)


def _root(folder: Path) -> Path:
    """Go one folder down where `folder` holds nothing but one folder of folders."""
    inner = _folders(folder)
    wrapped = len(inner) == 1 and inner[0].name.lower() not in FOLDER_ROLES
    if wrapped and (_folders(inner[0]) or _is_unsorted(inner[0] / UNSORTED)) and not _files(inner[0]):
        return inner[0]
    return folder


def _bases(root: Path) -> list[tuple[Role | None, Path]]:
    """Return the folders that hold class folders, each with its role."""
    split = [(FOLDER_ROLES[child.name.lower()], child) for child in _folders(root) if _is_split(child)]
    if not split:
        names = [child.name for child in _folders(root)]
        if names and all(name.lower() in FOLDER_ROLES for name in names):
            raise DataError(f"{root} is split ({', '.join(names)}) but holds no class folders in there")
        return [(None, root)]
    stray = [child.name for child in _folders(root) if not _is_split(child)]
    if stray:
        raise DataError(
            f"{root} mixes split folders ({', '.join(child.name for _, child in split)}) with others "
            f"({', '.join(stray)}); move one or the other away"
        )
    return list(split)


def _text(folder: Path) -> str:
    """Return the folder's name, a label. Raises DataError where it is no text that others could read."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"class folder {str(folder)!a} has a name that is not UTF-8; rename it") from error
    return folder.name


def _is_split(folder: Path) -> bool:
    return folder.name.lower() in FOLDER_ROLES and bool(_folders(folder))


def _folders(folder: Path) -> list[Path]:
    return sorted(
        child
        for child in folder.iterdir()
        if child.is_dir() and not child.name.startswith((".", "__")) and not _is_unsorted(child)
    )


def _is_unsorted(folder: Path) -> bool:
    """Tell whether this is no class but where a bin keeps deposits: some lie here, or nothing does any more."""
    if folder.name != UNSORTED or not folder.is_dir():
        return False
    images = _files_below(folder)[0]
    return not images or any(name_of(path.stem) for path in images)


def _is_event(name: str) -> bool:
    """Tell whether this is what a bin said of a deposit that it kept."""
    path = PurePosixPath(name)
    return path.suffix == EVENT and name_of(path.stem) is not None


def _files(folder: Path) -> list[Path]:
    return sorted(
        child
        for child in folder.iterdir()
        if child.suffix.lower() in ENDINGS and child.is_file() and not child.name.startswith(".")
    )


def _files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """All image files below `folder`, and all other files, in plain order. Links to folders are not followed."""
    images: list[Path] = []
    others: list[Path] = []
    for base, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in files:
            if not name.startswith("."):
                kind = images if os.path.splitext(name)[1].lower() in ENDINGS else others
                kind.append(Path(base, name))
    return sorted(images), sorted(others)


def _refuse(error: OSError) -> None:
    """Don't leave out in silence what can't be listed. Raises DataError."""
    raise DataError(f"{error.filename} can't be listed: {error.strerror}") from error
