"""What a camera does, seen from the process that reads it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, fields
from typing import Protocol

from edge import choices
from edge.errors import SourceError
from edge.preprocess import Pixels

Transport = choices.Transport


Mains = choices.Mains


AUTO = choices.AUTO


@dataclass(frozen=True)
class CameraSettings:
    """What a camera is asked for. None: as it is."""

    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    fps: float | None = None
    """Frames a second."""
    fourcc: str | None = None
    """Pixel format, four letters such as MJPG or YUYV; V4L2 alone."""
    exposure: int | str | None = None
    """Units of 100 microseconds, or AUTO; V4L2 alone."""
    white_balance: int | str | None = None
    """Kelvin, or AUTO; V4L2 alone."""
    focus: int | str | None = None
    """The driver's own steps, or AUTO; V4L2 alone."""
    mains: Mains | None = None
    """V4L2 alone."""
    transport: Transport = Transport.TCP
    """RTSP alone."""


@dataclass(frozen=True)
class Address:
    """Which camera."""

    uri: str = field(repr=False)
    """As it was given, credentials in it."""
    shown: str
    """Without credentials: what may be said."""


@dataclass(frozen=True)
class Shot:
    """One picture as it came from a camera."""

    image: Pixels
    """uint8 [height, width, 3], BGR."""
    captured: float
    """CLOCK_MONOTONIC seconds at which the pixels were there, as exactly as the device tells."""
    stamp: float | None = None
    """The stream's own time in seconds, where it has one: a picture whose stamp does not advance is not new."""


class Device(Protocol):
    """An open camera. `read` blocks, for ever where the driver does: only its own process may wait for it."""

    def read(self) -> Shot:
        """Wait for the next picture. Raises SourceError where the stream has ended."""

    def close(self) -> None:
        """Release the device."""


def check_asked(settings: CameraSettings, served: Container[str], address: Address) -> None:
    """Raise SourceError where the camera is asked for what its kind can't be asked for.

    `served`: names of fields of CameraSettings. `transport` is never refused, having no value for "as it is".
    """
    asked = (each.name for each in fields(settings) if getattr(settings, each.name) is not None)
    names = [name for name in asked if name not in served and name != "transport"]
    if names:
        raise SourceError(
            f"camera {address.shown} can't be asked for {', '.join(names)} from here; set that in the camera, and "
            "leave it out"
        )
