"""What pyproject.toml asks for."""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def declared(*extras: str) -> list[Requirement]:
    """Return the requirements of binsight with these extras, and their markers. KeyError at an unknown extra."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][one] for one in extras)]
    return [Requirement(one) for group in groups for one in group]


def oldest(*extras: str) -> list[str]:
    """Return them as the oldest versions that they claim, name==version. ValueError where one claims none."""
    return [_pinned(one) for one in declared(*extras)]


def _pinned(one: Requirement) -> str:
    floors = [clause.version for clause in one.specifier if clause.operator == ">="]
    if not floors:
        raise ValueError(f"{one} names no oldest version, expected {one.name}>=VERSION")
    marker = f"; {one.marker}" if one.marker else ""
    return f"{one.name}=={floors[0]}{marker}"
