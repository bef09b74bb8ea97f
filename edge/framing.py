"""What of a camera's picture is looked at, and which way up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2

from edge import choices
from edge.errors import SourceError, UsageError
from edge.preprocess import Pixels

SMALLEST = 16
"""Pixels of a side below which a region shows nothing."""


Flip = choices.Flip


@dataclass(frozen=True)
class Region:
    """A rectangle in fractions of the picture's width and height. Raises UsageError where it is none."""

    x: float
    """Left edge, 0 to 1."""
    y: float
    """Upper edge, 0 to 1."""
    width: float
    height: float

    def __post_init__(self) -> None:
        edges = (self.x, self.y, self.x + self.width, self.y + self.height)
        inside = all(-1e-9 <= edge <= 1 + 1e-9 for edge in edges)  # also not where one is no number
        if not (inside and self.width > 0 and self.height > 0):
            got = f"{self.x:g},{self.y:g},{self.width:g},{self.height:g}"
            raise UsageError(
                f"region of interest is {got}; expected x,y,width,height in fractions of the picture, "
                "such as 0.25,0.1,0.5,0.8"
            )


WHOLE = Region(0.0, 0.0, 1.0, 1.0)


_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_AXES = {Flip.VERTICAL: 0, Flip.HORIZONTAL: 1}


@dataclass(frozen=True)
class Framing:
    """How a picture is made of what the camera gives: turned, then mirrored, then cut."""

    rotate: int = 0
    """Degrees clockwise: 0, 90, 180 or 270."""
    flip: Flip = Flip.NONE
    region: Region = WHOLE
    """Of the picture as it stands after turn and mirror."""

    def __post_init__(self) -> None:
        if self.rotate not in (0, *_TURNS):
            raise UsageError(f"rotation is {self.rotate}; expected 0, 90, 180 or 270 degrees clockwise")

    def in_camera(self) -> Region:
        """Return the region where it lies in the picture that the camera gives."""
        x, y, width, height = self.region.x, self.region.y, self.region.width, self.region.height
        if self.flip is Flip.HORIZONTAL:
            x = 1 - x - width
        if self.flip is Flip.VERTICAL:
            y = 1 - y - height
        if self.rotate == 90:
            return Region(y, 1 - x - width, height, width)
        if self.rotate == 180:
            return Region(1 - x - width, 1 - y - height, width, height)
        if self.rotate == 270:
            return Region(1 - y - height, x, height, width)
        return Region(x, y, width, height)


def framed(image: Pixels, framing: Framing) -> Pixels:
    """Return what `framing` makes of uint8 [height, width, 3]: a view of it where nothing is turned or mirrored.

    It is cut first, so that no more is turned than is needed. Raises SourceError where the region has too few
    pixels.
    """
    height, width = image.shape[:2]
    region = framing.in_camera()
    left, top = round(region.x * width), round(region.y * height)
    right, bottom = round((region.x + region.width) * width), round((region.y + region.height) * height)
    cut = image[top:bottom, left:right]
    if min(cut.shape[:2]) < SMALLEST:
        raise SourceError(
            f"region of interest has {cut.shape[1]} x {cut.shape[0]} pixels of a {width} x {height} picture; "
            f"expected at least {SMALLEST} each way: make the region larger"
        )
    if framing.rotate:
        cut = cast(Pixels, cv2.rotate(cut, _TURNS[framing.rotate]))
    if framing.flip is not Flip.NONE:
        cut = cast(Pixels, cv2.flip(cut, _AXES[framing.flip]))
    return cut
