"""What is said about a split: how it came about, and what it can't do, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from edge.images import Role
from train.dataset.shares import SHARES
from train.dataset.units import Unit

NAMED = 3
"""Groups that a sentence names; the rest are counted."""


def number(count: int, noun: str) -> str:
    """Return "1 photo" or "2 photos"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def named(names: Iterable[str]) -> str:
    """Name the first few, and count the rest."""
    known = sorted(names)
    rest = len(known) - NAMED
    return ", ".join(known[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def split_off(roles: Iterable[Role], grouped_by: str) -> str:
    """Say which roles are taken off train."""
    what = " and ".join(f"{role.value} ({SHARES[role]:.0%})" for role in roles)
    return f"{what} split off train by {f'whole groups ({grouped_by})' if grouped_by else 'content'}"


def shares(roles: Mapping[int, Role], keys: Sequence[str]) -> str:
    """Say what each role got: whole groups rarely make the shares that were asked for."""
    photos = Counter(roles.values())
    groups = {role: {keys[one] for one, its in roles.items() if its is role} for role in Role}
    parts = (
        f"{role.value} has {number(len(groups[role]), 'group')} ({photos[role] / len(roles):.0%} of the photos)"
        for role in Role
    )
    return ", ".join(parts)


def absences(labels: Iterable[str], present: Iterable[tuple[str, Role]]) -> list[tuple[str, Role]]:
    """Return the classes that a judging role has no photo of."""
    has = set(present)
    return [(label, role) for label in labels for role in (Role.VAL, Role.TEST) if (label, role) not in has]


def absent(label: str, role: Role, why: str) -> str:
    """Say that a role has no photo of a class."""
    return f"class {label!r} is in no {role.value} photo: {why}"


def starved(label: str, units: Iterable[Unit], keys: Sequence[str] | None) -> str:
    """Say why a class could not give a unit to each role."""
    mine = [unit for unit in units if label in dict(unit.counts)]
    if keys is None:
        return f"its photos show {number(len(mine), 'picture')} only"
    groups = {keys[one] for unit in mine for one in unit.members}
    if len(groups) == 1:
        return f"all its photos belong to group {named(groups)}"
    tied = ", tied by pictures that they share" if len(mine) < len(groups) else ""
    return f"its photos belong to {len(groups)} groups ({named(groups)}){tied}, of which none could be spared"


def ties(units: Iterable[Unit], keys: Sequence[str]) -> list[str]:
    """Name the groups that pictures in common tie together, in one sentence if there are any."""
    tied = [named(groups) for unit in units if len(groups := {keys[one] for one in unit.members}) > 1]
    rest = f"; and {len(tied) - NAMED} sets more" if len(tied) > NAMED else ""
    return [f"groups that share pictures stay in one role: {'; '.join(tied[:NAMED])}{rest}"] if tied else []


def crowds(units: Iterable[Unit]) -> list[str]:
    """Name the classes of which more than half is one picture."""
    whole, largest = Counter[str](), Counter[str]()
    for unit in units:
        whole.update(dict(unit.counts))
        largest.update({label: count - largest[label] for label, count in unit.counts if count > largest[label]})
    return [
        f"{largest[label]} of {whole[label]} photos of class {label!r} show one picture and stay in one role"
        for label in sorted(whole)
        if largest[label] > max(1, whole[label] / 2)
    ]
