"""The split of a data set: which photos train, validate and judge, kept in the run and read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import DataError
from edge.files import replace_bytes
from edge.images import Role

SPLIT_FILE = "split.json"
ROLE_DUTIES: Mapping[Role, str] = {
    Role.TRAIN: "fits the weights; calibrates int8",
    Role.VAL: "chooses the epoch, the temperature, what is too strange, and the quantization",
    Role.TEST: "judges accuracy and parity, once, and how sure an answer must be to keep the bound",
}
"""What the photos of each role are used for, and for nothing else: the one table of docs and reports."""


@dataclass(frozen=True)
class SplitFile:
    """One photo in split.json."""

    file: str
    """Path below the data set's root, with forward slashes."""
    sha256: str
    """Of the file, 64 hex digits."""
    label: str


@dataclass(frozen=True)
class LeftOut:
    """One photo that can be decoded and has no role all the same."""

    file: str
    """Path below the data set's root, with forward slashes."""
    reason: str
    """What is wrong with it, to be read after the file's name."""


@dataclass(frozen=True)
class Split:
    """The photos by role; the order within a role is that of their names."""

    data: str
    """Where the data set lay, as an absolute path."""
    seed: int
    labels: tuple[str, ...]
    roles: Mapping[Role, tuple[SplitFile, ...]]
    notes: tuple[str, ...] = ()
    """What was decided on the way, in sentences."""
    left_out: tuple[LeftOut, ...] = ()
    """Photos without a role, in order of their names."""
    grouped_by: str = ""
    """The --group-by whose groups are in one role each; empty where photos were dealt out one by one."""

    def digest(self, role: Role) -> str:
        """SHA-256 over the sorted digests of a role's photos."""
        return _digest_of(one.sha256 for one in self.roles[role])

    @property
    def data_digest(self) -> str:
        """SHA-256 over the sorted digests of all photos that have a role."""
        return _digest_of(one.sha256 for role in self.roles.values() for one in role)


def write_split(path: Path, split: Split) -> None:
    """Write split.json whole or not at all. Raises OSError."""
    replace_bytes(path, json.dumps(msgspec.to_builtins(split), indent=1).encode() + b"\n")


def read_split(path: Path) -> Split:
    """Read split.json. Raises DataError: missing, no split, or a photo with two roles in it."""
    try:
        split = msgspec.convert(json.loads(path.read_bytes()), Split)  # which take names that are no text
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no split that can be read: {error}") from error
    _check_entries(path, split)
    _check_roles(path, split)
    return split


def _check_entries(path: Path, split: Split) -> None:
    """Refuse a split that lacks a role, or a photo in it that nothing can be done with."""
    lacking = [role.value for role in Role if role not in split.roles]
    if lacking:
        raise DataError(f"{path} is no split that can be read: it has no list of {' and '.join(lacking)} photos")
    for one in (one for files in split.roles.values() for one in files):
        if one.label not in split.labels:
            raise DataError(
                f"{path} gives {one.file} the label {one.label!r}, expected one of {', '.join(split.labels)}"
            )
        if not _is_sha256(one.sha256):
            raise DataError(f"{path} gives {one.file} the digest {one.sha256!r}, expected 64 hex digits (SHA-256)")


def _check_roles(path: Path, split: Split) -> None:
    """Refuse a photo in two roles, whether known by its name or by its content."""
    names: dict[str, Role] = {}
    contents: dict[str, tuple[str, Role]] = {}
    for role, one in ((its, one) for its in Role for one in split.roles[its]):
        if one.file in names:
            where = " and ".join(dict.fromkeys((names[one.file].value, role.value)))
            raise DataError(f"{path} names {one.file} twice, in {where}; leave it in one role, once")
        names[one.file] = role
        twin, held = contents.setdefault(one.sha256, (one.file, role))
        if held is not role:
            raise DataError(
                f"{path} has one photo in two roles, {twin} in {held.value} and {one.file} in {role.value}, "
                "which have the same content; leave it in one"
            )


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _digest_of(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
