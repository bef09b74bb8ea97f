"""Who trains, who validates, who judges: a photo has one role, chosen by its content and the seed."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import DataError
from edge.files import replace_bytes
from edge.images import Role
from train.examine import Examined, Sample

SPLIT_FILE = "split.json"
SHARES = {Role.VAL: 0.15, Role.TEST: 0.15}
"""Share of each class that is split off where the data set does not bring the split."""
LEAST = 3
"""Photos of a class without which it can't be in all three roles."""


@dataclass(frozen=True)
class SplitFile:
    """One photo in split.json."""

    file: str
    """Path below the data set's root, with forward slashes."""
    sha256: str
    label: str


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

    def digest(self, role: Role) -> str:
        """SHA-256 over the sorted digests of a role's photos."""
        return _digest_of(one.sha256 for one in self.roles[role])

    @property
    def data_digest(self) -> str:
        """SHA-256 over the sorted digests of all photos."""
        return _digest_of(one.sha256 for role in self.roles.values() for one in role)


def make_split(examined: Examined, data: Path, seed: int) -> Split:
    """Give every sample a role. Splits that the data set brings are kept; what is missing is taken off train.

    Photos with the same bytes share a role: where the data set itself has them in two, the judge keeps them
    (test before validation before train). Raises DataError where a class has too few photos.
    """
    notes: list[str] = []
    given = {sample.photo.role for sample in examined.samples} - {None}
    brought = _given_roles(examined.samples, notes) if given else {}
    roles = dict(brought)
    missing = [role for role in (Role.TEST, Role.VAL) if role not in given]
    if missing:
        notes.append(
            " and ".join(f"{role.value} ({SHARES[role]:.0%})" for role in missing) + " split off train by content"
        )
    for label in examined.labels:
        pool = _pool(examined.samples, label, roles)
        _check_size(label, pool, bool(missing))
        roles.update(_draw(pool, missing, seed))
    files: dict[Role, list[SplitFile]] = defaultdict(list)
    for sample in examined.samples:
        if sample.photo.role is brought.get(sample.digest):  # of a photo that leaked, the judge's copy stays
            entry = SplitFile(sample.photo.name, sample.digest, sample.photo.label)
            files[roles[sample.digest]].append(entry)
    by_role = {role: tuple(files[role]) for role in Role}
    return Split(str(data.absolute()), seed, examined.labels, by_role, tuple(notes))


def write_split(path: Path, split: Split) -> None:
    """Write split.json whole or not at all. Raises OSError."""
    replace_bytes(path, json.dumps(msgspec.to_builtins(split), indent=1).encode() + b"\n")


def read_split(path: Path) -> Split:
    """Read split.json. Raises DataError where it is missing or is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Split)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path} is no split that can be read: {error}") from error


def _given_roles(samples: Iterable[Sample], notes: list[str]) -> dict[str, Role]:
    """Roles by digest, as the folders say; one digest in two roles goes to the stricter one."""
    rank = [Role.TRAIN, Role.VAL, Role.TEST]
    roles: dict[str, Role] = {}
    leaks = set()
    for sample in samples:
        role = sample.photo.role or Role.TRAIN
        held = roles.setdefault(sample.digest, role)
        if held is not role:
            leaks.add(sample.digest)
            roles[sample.digest] = max(held, role, key=rank.index)
    if leaks:
        notes.append(f"{len(leaks)} photos lay in two splits; each was kept in the later one (train < val < test)")
    return roles


def _pool(samples: Iterable[Sample], label: str, roles: Mapping[str, Role]) -> list[str]:
    """Digests of a class that may still get another role: all, or those given to train."""
    mine = {sample.digest for sample in samples if sample.photo.label == label}
    return [digest for digest in mine if roles.get(digest, Role.TRAIN) is Role.TRAIN]


def _check_size(label: str, pool: list[str], splitting: bool) -> None:
    least = LEAST if splitting else 1
    if len(pool) < least:
        raise DataError(
            f"class {label!r} has {len(pool)} different photo{'' if len(pool) == 1 else 's'} to train on, "
            f"expected at least {least}; add photos, or remove the folder"
        )


def _draw(pool: list[str], missing: list[Role], seed: int) -> dict[str, Role]:
    """Order by a keyed hash of the content: no photo's role depends on names, order, or platform."""
    order = sorted(pool, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
    roles = dict.fromkeys(order, Role.TRAIN)
    start = 0
    for role in missing:
        count = max(1, round(SHARES[role] * len(order)))
        roles.update(dict.fromkeys(order[start : start + count], role))
        start += count
    return roles


def _digest_of(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
