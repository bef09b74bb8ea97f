"""`--group-by`: which photos belong together, so that a whole bin, site or day is held out.

folder:N          the name of the N-th folder below the class folder:
                  folder:1 of glass/bin7/2024-05-01/a.jpg is bin7, folder:2 is 2024-05-01
name:REGEX        a regular expression, searched in the photo's path below the root; its first group is the key,
                  or all that it matches where it has none: name:(bin\\d+)_ of glass/bin7_0001.jpg is bin7
csv:FILE:COLUMN   a table in UTF-8 with commas and a header; its column "file" has paths below the root with
                  forward slashes, or bare file names where no two photos share one: csv:bins.csv:site
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from edge.errors import DataError, UsageError, nearest
from edge.images import Photo

FILE_COLUMN = "file"


class Grouping(Protocol):
    """Something that knows the group of a photo."""

    def keys(self, photos: Sequence[Photo]) -> Sequence[str | None]:
        """Return the group of each photo; None or "" where it has none. Raises DataError."""
        ...


@dataclass(frozen=True)
class ByFolder:
    """The folder that a photo lies in, so many levels below its class folder."""

    level: int
    """1 is the folder in the class folder."""

    def keys(self, photos: Sequence[Photo]) -> Sequence[str | None]:
        """Return the folder's name for each photo."""
        return [self._key(photo) for photo in photos]

    def _key(self, photo: Photo) -> str | None:
        above = 2 if photo.role else 1  # train/glass/, or glass/
        folders = PurePosixPath(photo.name).parts[above:-1]
        return folders[self.level - 1] if len(folders) >= self.level else None


@dataclass(frozen=True)
class ByName:
    """A part of the photo's path below the root."""

    pattern: re.Pattern[str]

    def keys(self, photos: Sequence[Photo]) -> Sequence[str | None]:
        """Return what the pattern's first group matches, or the pattern itself where it has no group."""
        found = (self.pattern.search(photo.name) for photo in photos)
        return [match and match.group(min(1, self.pattern.groups)) for match in found]


@dataclass(frozen=True)
class ByColumn:
    """A column of a table that names the photos."""

    file: Path
    column: str

    def keys(self, photos: Sequence[Photo]) -> Sequence[str | None]:
        """Return each photo's value in the column. Raises DataError: no such table, or it contradicts itself."""
        table = _read_table(self.file, self.column)
        named = defaultdict(list)
        for photo in photos:
            named[PurePosixPath(photo.name).name].append(photo.name)
        return [table.get(photo.name) or self._by_bare_name(photo.name, table, named) for photo in photos]

    def _by_bare_name(self, name: str, table: Mapping[str, str], named: Mapping[str, list[str]]) -> str | None:
        bare = PurePosixPath(name).name
        if bare in table and len(named[bare]) > 1:
            raise DataError(
                f"{self.file} names {bare}, which {len(named[bare])} photos are called "
                f"({', '.join(named[bare][:2])}); write their paths below the data set's root"
            )
        return table.get(bare)


def parse_grouping(spec: str) -> Grouping:
    """Read `folder:N`, `name:REGEX` or `csv:FILE:COLUMN`. Raises UsageError."""
    form, colon, rest = spec.partition(":")
    if form not in FORMS or not colon or not rest:
        raise UsageError(
            f"--group-by {spec!r} is not known, expected folder:N, name:REGEX or csv:FILE:COLUMN; "
            f"did you mean {nearest(form, FORMS)}?"
        )
    return FORMS[form](rest)


def group_keys(spec: str, photos: Sequence[Photo]) -> tuple[str, ...]:
    """Return the group of each photo. Raises UsageError for the spec, DataError where a photo has no group."""
    keys = parse_grouping(spec).keys(photos)
    lacking = [photo.name for photo, key in zip(photos, keys, strict=True) if not key]
    if lacking:
        raise DataError(
            f"{len(lacking)} of {len(photos)} photos have no group by --group-by {spec}, "
            f"the first is {lacking[0]}; give each of them one, or group by something else"
        )
    return tuple(key for key in keys if key)


def _by_folder(text: str) -> ByFolder:
    if not re.fullmatch("0*[1-9][0-9]{0,3}", text):
        raise UsageError(f"--group-by folder:{text} has no level, expected a whole number from 1, as in folder:1")
    return ByFolder(int(text))


def _by_name(text: str) -> ByName:
    try:
        return ByName(re.compile(text))
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"--group-by name:{text} is no regular expression: {error}; expected one as in name:(bin[0-9]+)_"
        ) from error


def _by_column(text: str) -> ByColumn:
    file, _, column = text.rpartition(":")
    if not file or not column:
        raise UsageError(
            f"--group-by csv:{text} lacks the column, expected csv:FILE:COLUMN, as in csv:bins.csv:site"
        )
    return ByColumn(Path(file), column)


FORMS: Mapping[str, Callable[[str], Grouping]] = {"folder": _by_folder, "name": _by_name, "csv": _by_column}
"""What stands before the colon, and who reads the rest."""


def _read_table(path: Path, column: str) -> dict[str, str]:
    """Return a column by the file that each row names. Raises DataError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_header(path, reader.fieldnames or (), column)
            return _collect(path, ((row[FILE_COLUMN] or "", row[column] or "") for row in reader))
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {error.strerror or error}; --group-by expects a CSV file"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8: {error}") from error


def _check_header(path: Path, header: Sequence[str], column: str) -> None:
    for name in (FILE_COLUMN, column):
        if name not in header:
            raise DataError(
                f"{path} has no column {name!r}, expected {FILE_COLUMN!r} and the one to group by; "
                f"the nearest it has: {nearest(name, header) or 'none, it is empty'}"
            )


def _collect(path: Path, rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    table: dict[str, str] = {}
    for file, value in rows:
        name = file.strip().removeprefix("./")
        if name and table.setdefault(name, value.strip()) != value.strip():
            raise DataError(f"{path} gives {name} two values, {table[name]!r} and {value.strip()!r}; leave one")
    return table
