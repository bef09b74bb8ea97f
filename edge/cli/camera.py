"""What a camera is asked for, as options on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from edge.choices import AUTO, Mains, Transport

if TYPE_CHECKING:
    from edge.sources.device import CameraSettings


def size(value: Any) -> str:
    """Check WIDTHxHEIGHT. It stays text until `take_camera`, so that a configuration can say it again."""
    if not re.fullmatch(r"[1-9]\d{0,4}[xX][1-9]\d{0,4}", str(value)):
        raise click.BadParameter(f"{value!r} is no size in pixels; expected one such as 1280x720")
    return str(value)


def auto_or_number(value: Any) -> str:
    """Check AUTO or a whole number."""
    if not re.fullmatch(rf"{AUTO}|\d{{1,9}}", str(value), re.IGNORECASE):
        raise click.BadParameter(f"{value!r}; expected {AUTO} or a whole number")
    return str(value).lower()


def fourcc(value: Any) -> str:
    """Check what names a pixel format."""
    if not re.fullmatch(r"[A-Za-z0-9]{3,4}", str(value)):
        raise click.BadParameter(f"{value!r} is no pixel format; expected four letters such as MJPG or YUYV")
    return str(value)


OPTIONS = (
    click.option("--size", type=size, metavar="WIDTHxHEIGHT", help="Such as 1280x720. [default: the camera's]"),
    click.option(
        "--fps", type=click.FloatRange(0, 1000, min_open=True), metavar="N",
        help="Frames a second that the camera gives. [default: the camera's]",
    ),
    click.option("--fourcc", type=fourcc, metavar="CODE", help="MJPG, YUYV, ... [default: what suits the size]"),
    click.option(
        "--exposure", type=auto_or_number, metavar="auto|TIME",
        help="In units of 100 microseconds. [default: as it is]",
    ),
    click.option("--white-balance", type=auto_or_number, metavar="auto|KELVIN", help="[default: as it is]"),
    click.option(
        "--focus", type=auto_or_number, metavar="auto|STEP", help="In steps of the lens. [default: as it is]"
    ),
    click.option(
        "--mains", type=click.Choice([mains.value for mains in Mains]),
        help="Hertz at which lamps flicker. [default: as it is]",
    ),
    click.option(
        "--rtsp-transport", type=click.Choice([kind.value for kind in Transport]), default=Transport.TCP.value,
        show_default=True,
    ),
)  # fmt: skip


def camera_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of these to a command, which gives what it gets to `take_camera`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def take_camera(values: dict[str, Any]) -> CameraSettings:
    """Take these options out of a command's `values`."""
    from edge.sources.device import CameraSettings  # noqa: PLC0415  heavy

    size, mains = values.pop("size"), values.pop("mains")
    width, _, height = (size or "").lower().partition("x")
    return CameraSettings(
        size=(int(width), int(height)) if size else None,
        fps=values.pop("fps"),
        fourcc=values.pop("fourcc"),
        exposure=_number(values.pop("exposure")),
        white_balance=_number(values.pop("white_balance")),
        focus=_number(values.pop("focus")),
        mains=Mains(mains) if mains else None,
        transport=Transport(values.pop("rtsp_transport")),
    )


def _number(text: str | None) -> int | str | None:
    return text if text in (None, AUTO) else int(text)
