"""Roles as an earlier split gave them, for a data set that may have changed since."""

from __future__ import annotations

from edge.errors import DataError
from edge.images import Role
from train.dataset.draft import Draft, Material, check_classes, start
from train.dataset.remarks import absences, absent, number
from train.dataset.split import Split


def reuse_roles(material: Material, earlier: Split) -> Draft:
    """Give each sample the role that its content has in the earlier split.

    Photos that it does not know train, but for those that can't be separated from a photo that judges, which are
    left out. Labels are those of the data set. Raises DataError: a role or a class that is left without photos.
    """
    draft = _with_newcomers(material, start(material, _known(material, earlier), "the earlier split"))
    for role in Role:
        if role not in draft.roles.values():
            raise DataError(
                f"of the {number(len(earlier.roles[role]), f'{role.value} photo')} of the earlier split "
                f"none is left in this data set; name the one that it was made of ({earlier.data}), "
                "or leave out --split"
            )
    check_classes(material, draft, 1)
    return Draft(draft.roles, draft.left, (*_remarks(material, earlier, draft), *draft.notes))


def is_grouped_still(material: Material, earlier: Split) -> bool:
    """Say whether the groups of the earlier split are in one role each: new photos were not looked at."""
    known = {one.sha256 for files in earlier.roles.values() for one in files}
    return bool(earlier.grouped_by) and all(sample.digest in known for sample in material.samples)


def _known(material: Material, earlier: Split) -> dict[int, Role]:
    """Return the roles that the earlier split has for the samples.

    A copy that it left out gets none, or the same data would make another split, unless it is the last copy.
    """
    roles = {one.sha256: role for role, files in earlier.roles.items() for one in files}
    aside = {one.file for one in earlier.left_out}
    held = {sample.digest for sample in material.samples if sample.photo.name not in aside}
    return {
        one: roles[sample.digest]
        for one, sample in enumerate(material.samples)
        if sample.digest in roles and not (sample.photo.name in aside and sample.digest in held)
    }


def _with_newcomers(material: Material, draft: Draft) -> Draft:
    """Let the photos that have no role train, or leave them out where they can't be told from a judge's."""
    usable = [one for one in range(len(material.samples)) if one not in draft.left]
    roles, left = dict(draft.roles), dict(draft.left)
    for unit in material.units(usable):
        new = [one for one in unit.members if one not in draft.roles]
        judge = next((one for one in unit.members if draft.roles.get(one, Role.TRAIN) is not Role.TRAIN), None)
        if judge is None:
            roles.update(dict.fromkeys(new, Role.TRAIN))
        else:
            where = f"{material.name(judge)}, which is in {draft.roles[judge].value}"
            left.update(dict.fromkeys(new, f"belongs together with {where}"))
    trained, aside = len(roles) - len(draft.roles), len(left) - len(draft.left)
    notes = [f"{number(trained, 'new photo')} went to train"] if trained else []
    if aside:
        notes.append(
            f"left out {number(aside, 'photo')} without a role that belong together with photos in val or test"
        )
    return Draft(roles, left, (*draft.notes, *notes))


def _remarks(material: Material, earlier: Split, draft: Draft) -> list[str]:
    notes = ["photos that the earlier split knows have their roles from there"]
    if any(sample.photo.role for sample in material.samples):
        notes.append("the split that the data set brings was not used")
    labels = {one.sha256: one.label for files in earlier.roles.values() for one in files}
    placed = [(one, material.label(one)) for one in draft.roles]
    gone = len(labels.keys() - {sample.digest for sample in material.samples})
    if gone:
        notes.append(f"{number(gone, 'photo')} of the earlier split can't be found in the data set")
    changed = sum(labels.get(material.samples[one].digest, label) != label for one, label in placed)
    if changed:
        notes.append(f"{number(changed, 'photo')} got another label since the earlier split; the new label counts")
    if earlier.grouped_by and material.keys is None and not is_grouped_still(material, earlier):
        notes.append(
            f"the earlier split kept the groups of --group-by {earlier.grouped_by} whole, but new photos were put "
            "in train whatever their group; give it again to keep them so"
        )
    lacking = absences(material.labels, ((label, draft.roles[one]) for one, label in placed))
    return [*notes, *(absent(label, role, "the earlier split has none") for label, role in lacking)]
