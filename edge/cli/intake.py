"""Where frames come from and what is made of them, as options on a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.choices import Flip
from edge.cli.camera import camera_options, take_camera
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.framing import Region
    from edge.intake import IntakeSettings

OPTIONS = (
    click.option("--roi", metavar="X,Y,W,H", help="Look at this part alone, in fractions: 0.25,0.1,0.5,0.8."),
    click.option("--rotate", type=click.Choice(("0", "90", "180", "270")), default="0", show_default=True,
                 help="Degrees clockwise."),
    click.option("--flip", type=click.Choice([flip.value for flip in Flip]), default=Flip.NONE.value,
                 show_default=True, help="Mirror the picture."),
    click.option("--record", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
                 help="Keep all frames and their times: FOLDER plays back as a SOURCE."),
    click.option("--realtime", is_flag=True, help="Play a video or recording in its own time, not faster."),
)  # fmt: skip


def intake_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of these to a command, which gives what it gets to `take_intake`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return camera_options(function)


def take_intake(values: dict[str, Any]) -> IntakeSettings:
    """Take these options, and `source`, out of a command's `values`. Raises UsageError."""
    from edge.framing import Framing  # noqa: PLC0415  heavy
    from edge.intake import IntakeSettings  # noqa: PLC0415  heavy

    roi = values.pop("roi")
    return IntakeSettings(
        source=values.pop("source"),
        camera=take_camera(values),
        framing=Framing(int(values.pop("rotate")), Flip(values.pop("flip")), _region(roi)),
        record=values.pop("record"),
        realtime=values.pop("realtime"),
    )


def _region(text: str | None) -> Region:
    from edge.framing import WHOLE, Region  # noqa: PLC0415  heavy

    if text is None:
        return WHOLE
    try:
        x, y, width, height = map(float, text.split(","))
    except ValueError:
        raise UsageError(
            f"--roi is {text!r}; expected four numbers x,y,width,height in fractions of the picture, "
            "such as 0.25,0.1,0.5,0.8"
        ) from None
    return Region(x, y, width, height)
