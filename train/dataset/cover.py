"""Each class in each role: a search for units that are large and few, where quotas alone don't lead there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edge.images import Role
from train.dataset.units import Unit


def cover(order: Sequence[Unit], missing: Sequence[Role]) -> list[Role]:
    """Return the role of each unit, after all moves that give a role its first unit or its first of a class.

    All units start in train, which never loses the last one of a class. What is found depends on the order.
    """
    roles, holdings = [Role.TRAIN] * len(order), _Holdings(order)
    moved = True
    while moved:  # each move gains, so there is an end
        moved = False
        for place, unit in enumerate(order):
            old = roles[place]
            choices = [] if old is Role.TRAIN and not holdings.frees(unit) else [Role.TRAIN, *missing]
            gains = {role: holdings.gain(unit, old, role) for role in choices if role is not old}
            new = max(gains, key=gains.__getitem__, default=old)
            if new is not old and gains[new] > (0, 0):
                holdings.move(unit, old, new)
                roles[place], moved = new, True
    return roles


class _Holdings:
    """What each role holds."""

    def __init__(self, order: Sequence[Unit]) -> None:
        self._units = Counter({Role.TRAIN: len(order)})
        self._held = Counter((Role.TRAIN, label) for unit in order for label, _ in unit.counts)

    def frees(self, unit: Unit) -> bool:
        """Say whether train has other units of each of the unit's classes."""
        return all(self._held[Role.TRAIN, label] > 1 for label, _ in unit.counts)

    def gain(self, unit: Unit, old: Role, new: Role) -> tuple[int, int]:
        """Return how many roles fewer are empty, and how many classes fewer are lacking, if the unit moves."""
        filled = lacked = 0
        if new is not Role.TRAIN:  # which has something of everything
            filled += not self._units[new]
            lacked += sum(not self._held[new, label] for label, _ in unit.counts)
        if old is not Role.TRAIN:
            filled -= self._units[old] == 1
            lacked -= sum(self._held[old, label] == 1 for label, _ in unit.counts)
        return filled, lacked

    def move(self, unit: Unit, old: Role, new: Role) -> None:
        """Take note of a move."""
        self._units.update({old: -1, new: 1})
        for label, _ in unit.counts:
            self._held.update({(old, label): -1, (new, label): 1})
