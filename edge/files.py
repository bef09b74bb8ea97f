"""Files that reach the disk whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a rename survives a power cut only after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file with `write(temporary path)` and move it to `path`, durably and in one step.

    The temporary file lies in the same folder and keeps the suffix, from which libraries choose a format.
    Raises OSError (a full disk, no permission); `path` is then as it was before.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            os.replace(temporary, path)
            fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:  # name the file that was asked for: the temporary one means nothing to anybody
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def replace_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all. Raises OSError; `path` is then as it was before."""
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def is_taken(folder: Path) -> bool:
    """Say whether `folder` is there already and is more than an empty folder."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def check_place(folder: Path) -> None:
    """Raise OSError where `folder` could not be made, before the work that fills it. Leaves nothing."""
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    os.rmdir(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=there))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    Raises FileExistsError where `path` is there already and is more than an empty folder.
    """
    if is_taken(path):
        raise FileExistsError(f"{path} exists")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_dir():
                fsync_folder(file)
            elif file.is_file():
                with file.open("rb+") as handle:
                    os.fsync(handle.fileno())
        fsync_folder(temporary)
        os.replace(temporary, path)  # an empty folder may stand there: rename(2) takes its place
        fsync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
