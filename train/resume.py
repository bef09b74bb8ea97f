"""Going on with a run that was stopped: what it was ordered to do, and whether that is what is asked for now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import yaml

from edge.errors import DataError, TrainError, UsageError
from train.dataset.split import SPLIT_FILE, Split
from train.recipe import Recipe

ARGS, COSTS = "args.yaml", "costs.csv"
OF_THE_MACHINE = ("amp", "compile")
"""Options that another machine may need otherwise; the weights then differ in their last bits."""


@dataclass(frozen=True)
class Order:
    """What a run was ordered to do."""

    data: Path
    group_by: str
    reuse: Path | None
    """The split.json whose roles are kept."""
    recipe: Recipe
    command: str = ""
    """The command line that began it."""


def read_order(run: Path) -> Order:
    """Read args.yaml of a run. Raises TrainError where there is none, or where it is none of ours."""
    try:
        plain: Any = yaml.safe_load((run / ARGS).read_text())
        names = {field.name for field in fields(Recipe)}
        recipe = msgspec.convert({key: value for key, value in plain.items() if key in names}, Recipe)
        # The run has its own copy: what it was made of may be gone, or another by now.
        reuse = run / SPLIT_FILE if plain.get("split") else None
        return Order(Path(plain["data"]), plain.get("group_by", ""), reuse, recipe, plain.get("command", ""))
    except OSError as error:
        raise TrainError(
            f"{run} is no run to go on with ({ARGS}: {error.strerror}); leave --resume out"
        ) from error
    except (
        yaml.YAMLError,
        UnicodeDecodeError,
        AttributeError,
        KeyError,
        TypeError,
        msgspec.ValidationError,
    ) as error:
        raise TrainError(f"{run / ARGS} can't be read ({error}); train anew in another folder") from error


def go_on(run: Path, data: Path | None, given: Mapping[str, Any], group_by: str | None = None) -> Order:
    """Return the order of the run that `given`, the options named on the command line, agree with.

    `data`: where the photos lie, and `group_by`, if they are said again. Arithmetic and compiler may be others.
    Raises UsageError where an option is another than the run's: it would be another training.
    """
    order = read_order(run)
    if group_by is not None and group_by != order.group_by:
        raise UsageError(
            f"{run} was begun with --group-by {order.group_by!r}, got {group_by!r}; leave the option out"
        )
    free = {name: value for name, value in given.items() if name in OF_THE_MACHINE}
    for name, value in given.items():
        its = getattr(order.recipe, name)
        if value != its and name not in free:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"{run} was begun with {option} {_plain(its)}, got {_plain(value)}: --resume goes on as begun; "
                "leave the option out, or train anew in another folder"
            )
    costs = str(run / COSTS) if order.recipe.costs else ""
    return replace(order, data=data or order.data, recipe=replace(order.recipe, costs=costs, **free))


def check_same(begun: Split, now: Split, run: Path) -> None:
    """Raise DataError where the photos or their roles are not those that the run was begun with."""
    if begun.labels != now.labels or any(begun.digest(role) != now.digest(role) for role in now.roles):
        raise DataError(
            f"the photos or their split have changed since {run} was begun: bring the old ones back, or train "
            "anew in another folder"
        )


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))
