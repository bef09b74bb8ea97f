"""Data sets that were never on a disk: samples by name, with the digest that a test wants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from edge.images import FOLDER_ROLES, Photo, Role
from train.dataset.examine import Examined, Record, Sample
from train.dataset.split import Split
from train.dataset.twins import Group

ROOT = Path("/photos")


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def fake_photo(name: str) -> Photo:
    """Make a photo of `class/...` or `train|val|test/class/...`, as the name says."""
    first, second, *_ = name.split("/")
    role = FOLDER_ROLES.get(first)
    return Photo(ROOT / name, name, second if role else first, role)


def fake_sample(name: str, content: str | None = None) -> Sample:
    """Make a sample whose bytes are `content`: its own where none is given."""
    digest = sha(name if content is None else content)
    record = Record(
        sha256=digest,
        key=digest[:32],
        bytes=1,
        width=64,
        height=64,
        format="JPEG",
        frames=1,
        grey=False,
        camera="",
        colour=(128.0, 128.0, 128.0),
        brightness=128.0,
        contrast=32.0,
    )
    return Sample(fake_photo(name), record)


def fake_data(names: Iterable[str], contents: Mapping[str, str] | None = None) -> Examined:
    """Make a data set of names; `contents` has those whose bytes are not their own."""
    samples = tuple(fake_sample(name, (contents or {}).get(name)) for name in sorted(names))
    labels = tuple(sorted({sample.photo.label for sample in samples}))
    return Examined(ROOT, labels, samples, (), np.zeros((len(samples), 32, 32), dtype=np.uint8))


def twins_of(examined: Examined, *groups: Iterable[str]) -> tuple[Group, ...]:
    """Declare that the files of each group show one picture."""
    index = {sample.photo.name: one for one, sample in enumerate(examined.samples)}
    return tuple(Group(tuple(sorted(index[name] for name in names)), (), "mirrored") for names in groups)


def role_of(split: Split) -> dict[str, Role]:
    """Return the role of each file, and fail where a file has two."""
    files = [(one.file, role) for role in Role for one in split.roles[role]]
    assert len(dict(files)) == len(files)
    return dict(files)


def reason_of(split: Split) -> dict[str, str]:
    return {one.file: one.reason for one in split.left_out}
