"""Deposits that are kept for labelling, as options on a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edge.keep import KeepSettings

OPTIONS = (
    click.option(
        "--keep", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
        help="Keep pictures of deposits there to learn from: the rejected, the close, some at random.",
    ),
    click.option("--keep-quota", type=click.IntRange(1), default=500, show_default=True, metavar="MB",
                 help="Beyond it the oldest go."),
    click.option("--keep-random", type=click.FloatRange(0, 1), default=0.01, show_default=True, metavar="SHARE",
                 help="Of all deposits, whatever was decided."),
    click.option("--keep-margin", type=click.FloatRange(0, 1), default=0.1, show_default=True, metavar="M",
                 help="Keep what is accepted and ahead of the next label by less."),
)  # fmt: skip


def keep_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of these to a command, which gives what it gets to `take_keep`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def take_keep(values: dict[str, Any]) -> KeepSettings | None:
    """Take these options out of a command's `values`; None: nothing is kept."""
    from edge.keep import KeepSettings  # noqa: PLC0415  heavy

    folder, quota, share, margin = (
        values.pop(name) for name in ("keep", "keep_quota", "keep_random", "keep_margin")
    )
    return None if folder is None else KeepSettings(folder, quota << 20, share, margin)
