"""What can be wrong with a data set, in the words of report.json."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(str, Enum):
    """What was found. The values stand in report.json, in this order of weight."""

    UNREADABLE = "unreadable"
    """A file that can't be decoded."""
    LABEL_CONFLICT = "label_conflict"
    """The same picture in two classes."""
    SPLIT_LEAK = "split_leak"
    """The same picture in two of the splits that the data set brings."""
    TOO_FEW = "too_few"
    """A class with fewer different photos than roles to fill."""
    SUSPECT_LABEL = "suspect_label"
    """Photos that other photos say belong to another class."""
    SHORTCUT = "shortcut"
    """Something other than the object tells the classes apart."""
    IMBALANCE = "imbalance"
    """Some classes have far fewer photos than others."""
    DUPLICATE = "duplicate"
    """Files of one class that decode to equal pixels."""
    NEAR_DUPLICATE = "near_duplicate"
    """Files of one class that show one picture: encoded again, resized, cropped, mirrored or turned."""
    KEPT = "kept"
    """Deposits that a bin kept: those without a label, and how often the bin was right on the others."""
    IGNORED = "ignored"
    """Files in class folders whose ending is of no image that can be read, as HEIC of phones."""
    WRONG_ENDING = "wrong_ending"
    """Files whose content is of another format than their name says."""
    ANIMATED = "animated"
    """Files of several frames, of which only the first is used."""
    TINY = "tiny"
    """Pictures with too few pixels to show much."""
    HUGE = "huge"
    """Pictures that take long to decode, every epoch."""
    GREY = "grey"
    """Pictures without colour among coloured ones."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: Kind
    files: tuple[str, ...]
    """Names below the data set's root, with forward slashes; for suspects the most suspect first."""
    detail: str
    """One sentence."""
