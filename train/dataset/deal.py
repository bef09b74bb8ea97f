"""Who trains, who validates, who judges: a photo has one role, chosen by its content and the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edge.errors import DataError
from edge.images import Role
from train.dataset import remarks
from train.dataset.draft import Draft, Material, check_classes, start
from train.dataset.examine import Examined
from train.dataset.reuse import is_grouped_still, reuse_roles
from train.dataset.shares import deal
from train.dataset.split import LeftOut, Split, SplitFile
from train.dataset.twins import Group
from train.dataset.units import Unit, tie_pictures

JUDGES = (Role.TEST, Role.VAL)
"""The roles that can be split off train, in the order in which they choose."""


def make_split(
    examined: Examined,
    twins: Sequence[Group],
    data: Path,
    seed: int,
    keys: Sequence[str] | None = None,
    reuse: Split | None = None,
    grouped_by: str = "",
) -> Split:
    """Give every sample one role, or a reason to be left out.

    Roles that the data set brings are kept, and what is missing is split off train; with `reuse` the roles are
    those of an earlier split instead. Photos of one picture (`twins`, equal bytes) and photos of one group
    (`keys`, one a sample, by --group-by `grouped_by`) are never in two roles; pictures with two labels in none.
    Raises DataError: a class too small to train on, groups too few or across given roles, a role without photos.
    """
    if keys is not None and len(keys) != len(examined.samples):
        raise ValueError(f"{len(keys)} keys for {len(examined.samples)} samples, expected one each")
    pictures = tie_pictures(examined.samples, twins)
    material = Material(examined.samples, examined.labels, pictures, keys, grouped_by)
    if reuse:
        seed = reuse.seed
        grouped_by = grouped_by or (reuse.grouped_by if is_grouped_still(material, reuse) else "")
    draft = reuse_roles(material, reuse) if reuse else _deal_out(material, seed)
    return Split(
        data=str(data.absolute()),
        seed=seed,
        labels=material.labels,
        roles={role: _files(material, draft.roles, role) for role in Role},
        notes=draft.notes,
        left_out=tuple(LeftOut(material.name(one), draft.left[one]) for one in sorted(draft.left)),
        grouped_by=grouped_by,
    )


def _files(material: Material, roles: Mapping[int, Role], role: Role) -> tuple[SplitFile, ...]:
    return tuple(
        SplitFile(sample.photo.name, sample.digest, sample.photo.label)
        for one, sample in enumerate(material.samples)
        if roles.get(one) is role
    )


def _deal_out(material: Material, seed: int) -> Draft:
    """Keep the roles that the data set brings, and split off train what is missing."""
    given = {one: sample.photo.role for one, sample in enumerate(material.samples) if sample.photo.role}
    draft = start(material, given, "the data set")
    missing = [role for role in JUDGES if role not in draft.roles.values()]
    check_classes(material, draft, 1 + len(missing))
    units = material.units(draft.to_train(material))
    if missing and material.keys is not None:
        _check_count(material, material.keys, units, 1 + len(missing))
    roles = {one: Role.TRAIN for unit in units for one in unit.members} | dict(draft.roles)
    for role, taken in deal(units, missing, seed).items():
        if not taken:
            raise DataError(_nothing_for(role, material.grouped_by, material.keys is not None))
        roles.update((one, role) for unit in taken for one in unit.members)
    notes = _remarks(material, roles, units, missing)
    return Draft(roles, draft.left, (*draft.notes, *notes))


def _check_count(material: Material, keys: Sequence[str], units: Sequence[Unit], least: int) -> None:
    """Refuse groups that are fewer than the roles they are for. Raises DataError."""
    if len(units) < least:
        groups = {keys[one] for unit in units for one in unit.members}
        tied = f", which pictures that they share tie into {len(units)}" if len(units) < len(groups) else ""
        raise DataError(
            f"--group-by {material.grouped_by} finds {remarks.number(len(groups), 'group')} to split "
            f"({remarks.named(groups)}){tied}, expected at least {least}; "
            "group by something finer, or leave it out"
        )


def _nothing_for(role: Role, grouped_by: str, grouped: bool) -> str:
    if grouped:
        return (
            f"--group-by {grouped_by} leaves no photo for {role.value}: "
            "every group has the last photos of some class, which train needs; "
            "group by something else, or leave it out"
        )
    return (
        f"no photo is left for {role.value}: the photos of each class are copies of one or two pictures; "
        "add photos that differ"
    )


def _remarks(
    material: Material, roles: Mapping[int, Role], units: Sequence[Unit], missing: Sequence[Role]
) -> list[str]:
    notes = [remarks.split_off(missing, material.grouped_by)] if missing else []
    if missing and material.keys is not None:
        notes.append(remarks.shares(roles, material.keys))
        notes.extend(remarks.ties(units, material.keys))
    elif missing:
        notes.extend(remarks.crowds(units))
    present = ((material.label(one), role) for one, role in roles.items())
    for label, role in remarks.absences(material.labels, present):
        why = remarks.starved(label, units, material.keys) if role in missing else "the data set brings none"
        notes.append(remarks.absent(label, role, why))
    return notes
