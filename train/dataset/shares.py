"""How many photos of each class validate and judge, and which units of photos they are.

The units are dealt out in the order of a keyed hash of their content: no photo's role depends on file names, on
the order in which a disk lists them, or on the platform. Where each unit is one photo, a class gives the first
15 % of its order to test and the next 15 % to val. A larger unit is taken where it brings the role nearer to its
quotas.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge.images import Role
from train.dataset.cover import cover
from train.dataset.units import Unit

SHARES: Mapping[Role, float] = {Role.VAL: 0.15, Role.TEST: 0.15}
"""Share of each class that is split off where the data set does not bring the split."""
ATTEMPTS = 20
"""Orders that are tried where large units starve a class of a role."""

Dealt = dict[Role, list[Unit]]
"""Units by the role that they were taken into; the others train."""


@dataclass(frozen=True, order=True)
class _Cost:
    """What is wrong with a deal, the worst first."""

    empty: int
    """Roles without a photo."""
    lacking: int
    """Pairs of a class and a role that has none of it."""
    distance: int
    """Photos, over all roles and classes, that are too many or too few."""


class _Pool:
    """Units that still train, in the order in which they are dealt out."""

    def __init__(self, units: dict[int, Unit]) -> None:
        self.units = units
        """By their place in the order."""
        self.places: dict[str, list[int]] = defaultdict(list)
        """Places of a class's units in the order, those already taken too."""
        for place, unit in self.units.items():
            for label, _ in unit.counts:
                self.places[label].append(place)
        self._left = Counter({label: len(places) for label, places in self.places.items()})

    def rarest_first(self) -> list[str]:
        """Return the labels, those with the fewest units first: they have the least choice."""
        return sorted(self.places, key=lambda label: (len(self.places[label]), label))

    def spares(self, place: int, keep: int) -> bool:
        """Say whether the unit is there, and leaves `keep` units of each of its classes behind."""
        unit = self.units.get(place)
        return unit is not None and all(self._left[label] > keep for label, _ in unit.counts)

    def take(self, place: int) -> Unit:
        """Take a unit out."""
        unit = self.units.pop(place)
        self._left.subtract(label for label, _ in unit.counts)
        return unit


def deal(units: Sequence[Unit], missing: Sequence[Role], seed: int) -> Dealt:
    """Take units for each of the `missing` roles, in their order; no class loses its last unit to them.

    Where a class is starved of a role although it has units enough, other orders are tried, which first see to it
    that each class is in each role and then to the quotas; the best of all is kept.
    """
    owned = Counter(label for unit in units for label, _ in unit.counts)
    least = sum(max(0, 1 + len(missing) - count) for count in owned.values())
    quotas = {role: _quotas(units, SHARES[role], 1 + len(missing)) for role in missing}
    found: list[tuple[_Cost, int, Dealt]] = []
    for attempt in range(ATTEMPTS):
        order = _order(units, seed, attempt)
        roles = _fill_up(order, cover(order, missing) if attempt else [Role.TRAIN] * len(order), quotas)
        cost = _cost(order, roles, quotas)
        found.append((cost, attempt, _gather(order, roles, missing)))
        if cost.empty == 0 and cost.lacking == least:
            break
    return min(found)[2]


def _gather(order: Sequence[Unit], roles: Sequence[Role], missing: Sequence[Role]) -> Dealt:
    return {role: [unit for unit, its in zip(order, roles, strict=True) if its is role] for role in missing}


def _order(units: Sequence[Unit], seed: int, attempt: int) -> list[Unit]:
    key = f"{seed}:{attempt}:" if attempt else f"{seed}:"
    return sorted(units, key=lambda unit: hashlib.sha256(f"{key}{unit.digest}".encode()).digest())


def _quotas(units: Iterable[Unit], share: float, roles: int) -> dict[str, int]:
    """Photos of each class that a role is to have: its share, rounded, and at least 1.

    Of a class that lies mostly in one unit the role gets no more than an even part of what is outside that unit.
    """
    total, largest = Counter[str](), Counter[str]()
    for unit in units:
        for label, count in unit.counts:
            total[label] += count
            largest[label] = max(largest[label], count)
    return {
        label: max(1, min(round(share * total[label]), round((total[label] - largest[label]) / roles)))
        for label in total
    }


def _fill_up(order: Sequence[Unit], roles: list[Role], quotas: Mapping[Role, Mapping[str, int]]) -> list[Role]:
    """Return the role of each unit, when those that train have filled the quotas of the others."""
    pool = _Pool({place: unit for place, unit in enumerate(order) if roles[place] is Role.TRAIN})
    for later, role in zip(reversed(range(len(quotas))), quotas, strict=True):
        short = Counter(quotas[role])
        for unit in (unit for unit, its in zip(order, roles, strict=True) if its is role):
            short.subtract(dict(unit.counts))
        for place in _fill(pool, quotas[role], short, 1 + later):
            roles[place] = role
    return roles


def _fill(pool: _Pool, quota: Mapping[str, int], short: Counter[str], keep: int) -> list[int]:
    """Take units for one role: one of each class first, then all that bring it nearer to its quotas.

    `short` counts the photos that the role is short of, and goes down. The latter leave `keep` units of each class
    behind: for train, and for the roles that come later.
    """
    taken = list[int]()

    def take(place: int) -> None:
        taken.append(place)
        short.subtract(dict(pool.take(place).counts))

    for label in pool.rarest_first():
        if short[label] == quota[label]:  # nothing of it yet
            place = _first(pool, label, short)
            if place is not None:
                take(place)
    for place, unit in list(pool.units.items()):
        if max(short.values()) <= 0:
            break
        if _change(short, unit) < 0 and pool.spares(place, keep):
            take(place)
    return taken


def _first(pool: _Pool, label: str, short: Mapping[str, int]) -> int | None:
    """Choose the first unit of a class that brings the role nearer to its quotas, else the one that fits best."""
    fits = [place for place in pool.places[label] if pool.spares(place, 1)]
    nearer = (place for place in fits if _change(short, pool.units[place]) < 0)
    return next(nearer, min(fits, key=lambda place: _change(short, pool.units[place]), default=None))


def _change(short: Mapping[str, int], unit: Unit) -> int:
    """Return by how many photos, over all classes, a role would be further from its quotas with this unit."""
    return sum(abs(short[label] - count) - abs(short[label]) for label, count in unit.counts)


def _cost(order: Sequence[Unit], roles: Sequence[Role], quotas: Mapping[Role, Mapping[str, int]]) -> _Cost:
    photos: dict[Role, Counter[str]] = {role: Counter() for role in Role}
    for unit, role in zip(order, roles, strict=True):
        photos[role].update(dict(unit.counts))
    pairs = [(photos[role][label], count) for role, quota in quotas.items() for label, count in quota.items()]
    return _Cost(
        empty=sum(not photos[role] for role in quotas),
        lacking=sum(not has for has, _ in pairs),
        distance=sum(abs(has - count) for has, count in pairs),
    )
