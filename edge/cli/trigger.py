"""What tells of a throw, as options on a command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from edge.choices import HOLD_MS, MOTION

if TYPE_CHECKING:
    from edge.triggers import TriggerSettings

OPTIONS = (
    click.option(
        "--trigger", default=MOTION, show_default=True, metavar="motion|mqtt|gpio://CHIP/LINE|COMMAND",
        help="What tells that something was thrown in: the picture, a message, a lid switch, a line of a command.",
    ),
    click.option(
        "--trigger-hold", type=click.IntRange(0, 60_000), default=HOLD_MS, show_default=True, metavar="MS",
        help="Signals within this time are one throw.",
    ),
)  # fmt: skip


def trigger_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add these to a command, which gives what it gets to `take_trigger`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def take_trigger(values: dict[str, Any]) -> TriggerSettings:
    """Take these options out of a command's `values`."""
    from edge.triggers import TriggerSettings  # noqa: PLC0415  heavy

    return TriggerSettings(values.pop("trigger"), values.pop("trigger_hold"))
