"""What a data set holds, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from edge.images import Role
from train.dataset.examine import Examined

MOST = 50
"""Different sizes and cameras that are told apart; the rarer ones are left out."""


@dataclass(frozen=True)
class Tally:
    """How many there are. Numbers are of files, unless it says otherwise."""

    images: int
    """Files, readable or not."""
    classes: Mapping[str, int]
    """Of each class, readable or not."""
    readable: Mapping[str, int]
    """Of each class, those that can be decoded."""
    splits: Mapping[Role, Mapping[str, int]]
    """Of each split and class, readable or not; empty where the data set did not come split."""
    formats: Mapping[str, int]
    """Of those that can be decoded, as the next two; the most frequent first."""
    sizes: Mapping[str, int]
    """By width and height in pixels: "512x384"."""
    cameras: Mapping[str, int]
    """By make and model; those that name none are not counted."""
    bytes: int
    """Of all files that can be decoded."""

    @property
    def imbalance(self) -> float | None:
        """Readable photos of the largest class by those of the smallest; None where that has none."""
        least = min(self.readable.values(), default=0)
        return max(self.readable.values()) / least if least else None


def tally(examined: Examined) -> Tally:
    """Count what was examined."""
    records = [sample.record for sample in examined.samples]
    homes = [(sample.photo.role, sample.photo.label) for sample in examined.samples]
    every = Counter(homes) + Counter((one.role, one.label) for one in examined.broken)
    roles = [role for role in Role if any(held is role for held, _ in every)]
    readable = Counter(label for _, label in homes)
    return Tally(
        images=examined.files,
        classes={label: sum(every[role, label] for role in (*Role, None)) for label in examined.labels},
        readable={label: readable[label] for label in examined.labels},
        splits={role: {label: every[role, label] for label in examined.labels} for role in roles},
        formats=dict(Counter(record.format for record in records).most_common()),
        sizes=dict(Counter(f"{record.width}x{record.height}" for record in records).most_common(MOST)),
        cameras=dict(Counter(record.camera for record in records if record.camera).most_common(MOST)),
        bytes=sum(record.bytes for record in records),
    )
