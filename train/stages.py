"""The parts of a network from its stem to its last block, whatever architecture it is of."""

from __future__ import annotations

from torch import nn

Stage = tuple[nn.Module, ...]
"""Neighbours that are frozen and learn together, whole, in forward order; no module is in two stages."""

ENOUGH = 5
"""The fewest stages: what ResNet has with its stem. Containers are opened, the largest first, until there are."""


def split_stages(net: nn.Module, head: nn.Module) -> tuple[Stage, ...]:
    """Return all of `net` but `head` in stages, in the order in which their layers were registered.

    Layers with no weights of two or more dimensions (normalization, activation, pooling, dropout) go with what
    is before them. Parameters that hang on an opened container, such as position embeddings, are in the first
    stage, as an nn.ParameterList.
    """
    units, loose = _open(net, head)
    while len(stages := _join(units)) < ENOUGH:
        largest = max((unit for unit in units if any(unit.children())), key=_size, default=None)
        if largest is None:
            break
        inner, more = _open(largest, head)
        place = next(index for index, unit in enumerate(units) if unit is largest)
        units[place : place + 1] = inner
        loose += more
    if loose:
        stages[0].insert(0, nn.ParameterList(loose))
    return tuple(tuple(stage) for stage in stages)


def _open(container: nn.Module, head: nn.Module) -> tuple[list[nn.Module], list[nn.Parameter]]:
    """Return the children, those around the head opened too, and the containers' own parameters."""
    units, loose = [], list(container.parameters(recurse=False))
    for child in container.children():
        if child is head:
            continue
        if any(module is head for module in child.modules()):
            inner, more = _open(child, head)
            units += inner
            loose += more
        else:
            units.append(child)
    return units, loose


def _join(units: list[nn.Module]) -> list[list[nn.Module]]:
    stages: list[list[nn.Module]] = []
    for unit in units:
        if stages and not (_has_weights(unit) and any(map(_has_weights, stages[-1]))):
            stages[-1].append(unit)
        else:
            stages.append([unit])
    return stages


def _has_weights(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
