"""Kept deposits as they lie on the disk: FOLDER/unsorted/GUESS/NUMBER-WHY-ID.jpg, the event beside it as .json.

What the bin took a thing for is a guess and no label. Who moves a picture into FOLDER/CLASS gives it one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

UNSORTED = "unsorted"
"""The folder of those that have no label yet."""
PICTURE, EVENT = ".jpg", ".json"
MOST_BYTES = 1 << 20
"""Of an event: what is larger is none."""


class Why(str, Enum):
    """Why a deposit was kept."""

    RANDOM = "random"
    """Chance chose it, whatever was decided: these are a fair sample of all deposits."""
    REJECTED = "rejected"
    LOW_MARGIN = "low_margin"
    """It was accepted, and a second label came close."""


@dataclass(frozen=True)
class Name:
    """What a file's name says."""

    number: int
    """The larger, the newer: a clock may be wrong."""
    why: Why
    id: str
    """The event's, a UUID."""

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return f"{self.number:08d}-{self.why.value}-{self.id}"


_STEM = re.compile(
    rf"(\d{{8,18}})-({'|'.join(why.value for why in Why)})-([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})"
)


def name_of(stem: str) -> Name | None:
    """Read a name without its ending; None where it is none of ours."""
    found = _STEM.fullmatch(stem)
    return Name(int(found[1]), Why(found[2]), found[3]) if found else None


@dataclass(frozen=True)
class _Data:
    label: str


@dataclass(frozen=True)
class _Event:
    data: _Data


def guess_of(event: Path) -> str | None:
    """Return the label that the event beside a picture gave it; None where the file is no such event."""
    try:
        if event.stat().st_size > MOST_BYTES:
            return None
        return msgspec.json.decode(event.read_bytes(), type=_Event).data.label
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
