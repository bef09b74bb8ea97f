"""The templates of the pages, and how figures stand in them."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

TIMES = "\N{MULTIPLICATION SIGN}"
TIED = "\N{NO-BREAK SPACE}"


def environment(*others: str) -> Environment:
    """Return the templates of this package, and before them those that lie in `others`, such as export.report.

    Texts are escaped; a name that is missing is an error.
    """
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in (*others, "train.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["percent"] = lambda share: f"{100 * share:.1f}"
    found.filters["grouped"] = lambda number: f"{number:,}"
    found.filters["bytes"] = in_bytes
    return found


def in_bytes(number: float) -> str:
    """Write a number of bytes as people do: 840 B, 2.3 kB, 23 kB, 14.2 GB."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.2g}{TIED}{unit}" if number < 9.95 else f"{number:.0f}{TIED}{unit}"
        number /= 1000
    return f"{number:,.1f}{TIED}GB"
