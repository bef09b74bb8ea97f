"""Photos that can't be separated: copies of one picture, and the photos of one group (a bin, a site, a day)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from train.dataset.examine import Sample
from train.dataset.twins import Group, tie


@dataclass(frozen=True)
class Unit:
    """Photos that share one role."""

    members: tuple[int, ...]
    """Indices of the samples, rising."""
    digest: str
    """The smallest of their digests: what the unit is known by, whatever its files are called."""
    counts: tuple[tuple[str, int], ...]
    """Photos by label, in plain order of the labels; none is 0."""


def tie_pictures(samples: Sequence[Sample], twins: Sequence[Group]) -> list[tuple[int, ...]]:
    """Put together the samples that show one picture. Each is in one tuple, alone where it has no twin."""
    content = _alike(range(len(samples)), [sample.digest for sample in samples])
    return _tie(len(samples), range(len(samples)), [*content, *(group.members for group in twins)])


def tie_units(
    samples: Sequence[Sample],
    usable: Sequence[int],
    pictures: Iterable[Sequence[int]],
    keys: Sequence[str] | None,
) -> list[Unit]:
    """Make units of the `usable` samples: of their pictures and, where there are keys (one a sample), of those.

    What is not usable ties no groups together.
    """
    groups = _alike(usable, keys) if keys is not None else []
    return [_unit(samples, members) for members in _tie(len(samples), usable, [*pictures, *groups])]


def _unit(samples: Sequence[Sample], members: tuple[int, ...]) -> Unit:
    counts = Counter(samples[one].photo.label for one in members)
    return Unit(members, min(samples[one].digest for one in members), tuple(sorted(counts.items())))


def _alike(indices: Iterable[int], marks: Sequence[str]) -> Iterable[list[int]]:
    """Gather the indices whose marks are equal."""
    found = defaultdict(list)
    for index in indices:
        found[marks[index]].append(index)
    return found.values()


def _tie(count: int, indices: Iterable[int], ties: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the sets that the ties make of `indices`, in order of their smallest."""
    sets = tie(count, ties)
    found = defaultdict(list)
    for index in sorted(indices):
        found[sets.find(index)].append(index)
    return [tuple(members) for members in found.values()]
