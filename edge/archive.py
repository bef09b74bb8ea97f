"""Zips unpacked safely: nothing climbs out, no links, bounded number, size and ratio; once per content."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from edge.errors import DataError
from edge.files import new_folder

MAX_FILES = 1_000_000
MAX_BYTES = 64 * 1024**3
"""Unpacked size of all files."""
FREE_BYTES = 256 * 1024**2
"""Up to this unpacked size any ratio is harmless."""
MAX_RATIO = 50
"""Unpacked over packed size: photos are compressed already, and stay near 1."""
CHUNK = 1024**2
LEFT = ".left-packed"
"""In the unpacked folder: the names of the files that were not unpacked, one a line."""


def unpack(archive: Path, cache: Path, endings: frozenset[str]) -> Path:
    """Unpack the files with one of `endings` (lower case, with the dot) into `cache`, and return the folder.

    The folder is named by the archive's SHA-256, so that a second call finds it. Raises DataError: no zip,
    broken, encrypted, a name that leaves the folder, a link, too many files, or a bomb; nothing stays then.
    """
    target = cache / _digest(archive)[:32]
    if target.is_dir():
        return target
    try:
        with zipfile.ZipFile(archive) as file:
            members, others = _members(file, archive, endings)
            with new_folder(target) as folder:
                _extract(file, members, folder, archive)
                if others:
                    (folder / LEFT).write_text("".join(f"{name}\n" for name in others), "utf-8", "surrogateescape")
    except DataError:
        raise
    except OSError as error:
        if target.is_dir():  # another process unpacked the same archive meanwhile
            return target
        raise DataError(f"{archive} can't be unpacked into {cache}: {error.strerror or error}") from error
    except Exception as error:  # zipfile and its decompressors raise nearly anything on broken data
        raise DataError(f"{archive} is no zip that can be read ({error}); pack it anew") from error
    return target


def left_packed(folder: Path) -> tuple[str, ...]:
    """Return the names of the visible files that `unpack` left in the archive; none for any other folder."""
    try:
        names = (folder / LEFT).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ()
    return tuple(name for name in names if not any(part.startswith((".", "__")) for part in name.split("/")))


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                sha.update(chunk)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    return sha.hexdigest()


def _members(
    file: zipfile.ZipFile, archive: Path, endings: frozenset[str]
) -> tuple[list[zipfile.ZipInfo], list[str]]:
    """Judge every entry by its header, before a byte is unpacked; return what to unpack, and the other names."""
    entries = [entry for entry in file.infolist() if not entry.is_dir()]
    if len(entries) > MAX_FILES:
        raise DataError(f"{archive} holds {len(entries)} files; at most {MAX_FILES} are taken")
    seen: set[PurePosixPath] = set()
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path in seen:
            raise DataError(f"{archive} holds {entry.filename!r} twice; pack it anew")
        seen.add(path)
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise DataError(f"{archive} holds {entry.filename!r}, which climbs out of its folder; refused")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(f"{archive} holds the link {entry.filename!r}; put the file itself in its place")
        if entry.flag_bits & 1:
            raise DataError(f"{archive} is encrypted ({entry.filename!r}); pack it without a password")
    _refuse_bomb(archive, sum(entry.file_size for entry in entries))
    wanted = [entry for entry in entries if PurePosixPath(entry.filename).suffix.lower() in endings]
    taken = {entry.filename for entry in wanted}
    return wanted, [entry.filename for entry in entries if entry.filename not in taken]


def _refuse_bomb(archive: Path, unpacked: int) -> None:
    packed = archive.stat().st_size
    if unpacked > MAX_BYTES or (unpacked > FREE_BYTES and unpacked > MAX_RATIO * packed):
        raise DataError(
            f"{archive} would unpack from {packed} to {unpacked} bytes; at most {MAX_RATIO} times its size "
            f"and {MAX_BYTES} bytes are taken"
        )


def _extract(file: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, archive: Path) -> None:
    """Write the members, counting the bytes that really come: a header may lie."""
    written = 0
    for entry in members:
        path = folder / PurePosixPath(entry.filename.replace("\\", "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with file.open(entry) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target, CHUNK)
            written += target.tell()
        _refuse_bomb(archive, written)
