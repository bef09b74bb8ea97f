"""A split in the making: the photos that can have a role, and why the others can't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge.errors import DataError
from edge.images import Role
from train.dataset.examine import Sample
from train.dataset.remarks import number
from train.dataset.units import Unit, tie_units

STRICTNESS = tuple(Role)
"""Train, val, test: a picture in two roles stays in the later one, and no judge meets what was trained on."""


@dataclass(frozen=True)
class Material:
    """What there is to split. Samples are named by their index."""

    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    pictures: Sequence[tuple[int, ...]]
    """Samples that show one picture; each sample is in one of the tuples."""
    keys: Sequence[str] | None
    """The group of each sample, where there are groups."""
    grouped_by: str
    """The --group-by that the keys are from."""

    def label(self, one: int) -> str:
        """Return the label of a sample."""
        return self.samples[one].photo.label

    def name(self, one: int) -> str:
        """Return the name of a sample's file."""
        return self.samples[one].photo.name

    def units(self, usable: Iterable[int]) -> list[Unit]:
        """Put together those of the `usable` samples that can't be separated."""
        return tie_units(self.samples, sorted(usable), self.pictures, self.keys)


@dataclass(frozen=True)
class Draft:
    """What is decided so far."""

    roles: Mapping[int, Role]
    left: Mapping[int, str]
    """Samples that have no role and will get none, with the reason."""
    notes: tuple[str, ...]

    def to_train(self, material: Material) -> list[int]:
        """Return the samples that train, and those that nothing is decided about."""
        return [
            one
            for one in range(len(material.samples))
            if one not in self.left and self.roles.get(one, Role.TRAIN) is Role.TRAIN
        ]


def start(material: Material, wanted: Mapping[int, Role], whose: str) -> Draft:
    """Keep the `wanted` roles but for what must be left out: pictures with two labels, pictures in two roles.

    `whose` names the split that the roles come from. Raises DataError where a group is in two of its roles.
    """
    clashes = _conflicts(material)
    roles = {one: role for one, role in wanted.items() if one not in clashes}
    leaks = _leaks(material, roles)
    roles = {one: role for one, role in roles.items() if one not in leaks}
    if material.keys is not None:
        _check_groups(material, material.keys, roles, whose)
    notes = []
    if clashes:
        notes.append(f"left out {number(len(clashes), 'photo')} whose picture lies in more than one class")
    if leaks:
        notes.append(
            f"left out {number(len(leaks), 'photo')} whose picture lies in two roles of {whose}; "
            "the stricter role keeps it (train < val < test)"
        )
    return Draft(roles, clashes | leaks, tuple(notes))


def check_classes(material: Material, draft: Draft, roles: int) -> None:
    """Refuse a class that has not one photo to train on for each of so many roles. Raises DataError."""
    different: dict[str, set[str]] = {label: set() for label in material.labels}
    for one in draft.to_train(material):
        different[material.label(one)].add(material.samples[one].digest)
    left = Counter(map(material.label, draft.left))
    for label, photos in different.items():
        if len(photos) < roles:
            aside = f" ({left[label]} left out)" if left[label] else ""
            raise DataError(
                f"class {label!r} has {number(len(photos), 'different photo')} to train on{aside}, "
                f"expected at least {roles}; add photos, or remove the folder"
            )


def _conflicts(material: Material) -> dict[int, str]:
    """Find pictures with two labels: whichever is right, the other would teach and judge wrongly."""
    reasons = {}
    for picture in material.pictures:
        firsts = {material.label(one): one for one in reversed(picture)}
        for one in picture if len(firsts) > 1 else ():
            other = min(label for label in firsts if label != material.label(one))
            reasons[one] = f"shows the same picture as {material.name(firsts[other])}, which is of class {other}"
    return reasons


def _leaks(material: Material, roles: Mapping[int, Role]) -> dict[int, str]:
    """Find samples whose picture is in a stricter role too."""
    reasons: dict[int, str] = {}
    for picture in material.pictures:
        placed = [one for one in picture if one in roles]
        if len({roles[one] for one in placed}) > 1:
            keeper = max(placed, key=lambda one: (STRICTNESS.index(roles[one]), -one))
            reason = f"shows the same picture as {material.name(keeper)}, which is in {roles[keeper].value}"
            reasons.update((one, reason) for one in placed if roles[one] is not roles[keeper])
    return reasons


def _check_groups(material: Material, keys: Sequence[str], roles: Mapping[int, Role], whose: str) -> None:
    held: dict[str, int] = {}
    for one in sorted(roles):
        first = held.setdefault(keys[one], one)
        if roles[first] is not roles[one]:
            raise DataError(
                f"group {keys[one]!r} of --group-by {material.grouped_by} is in {roles[first].value} and in "
                f"{roles[one].value} of {whose} ({material.name(first)}, {material.name(one)}), "
                "expected one role; put the group in one, or leave out --group-by"
            )
