"""What pictures a V4L2 camera gives: pixel format, size and frame rate."""

from __future__ import annotations

from typing import Any, cast

import cv2

from edge.errors import SourceError
from edge.sources.device import CameraSettings
from edge.sources.v4l2_node import Node, Size, Sizes, letters

JPEG = ("MJPG", "JPEG")
"""Formats of which each picture is a JPEG."""

READABLE = ("YUYV", "UYVY", "NV12", "NV21", "YU12", "YV12", "BGR3", "RGB3", "XR24", "AR24", "GREY", *JPEG)
"""Formats that OpenCV turns into true colours. Of others it makes false ones without a word (NV24, HSV3), or it
fails."""

MOST_SIZES = 12
"""Of one format, that an error names."""

RATE_SLACK = 0.02
"""Share by which the frame rate may differ from what was asked: 29.97 is 30."""


def set_format(capture: Any, node: Node, settings: CameraSettings, shown: str) -> None:
    """Set on `capture`, a cv2.VideoCapture, what is asked.

    Raises SourceError where the camera gives something else, with what it offers.
    """
    if not capture.isOpened():
        raise SourceError(f"camera {shown} gives no pictures that can be read: it offers {offer(node)}")
    fourcc = settings.fourcc or fitting(node, settings)
    if fourcc is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc.ljust(4)))
    if settings.size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.size[1])
    if settings.fps is not None:  # last: a new size may bring another rate
        capture.set(cv2.CAP_PROP_FPS, settings.fps)
    _check(capture, node, settings, shown)


def fitting(node: Node, settings: CameraSettings) -> str | None:
    """Return the format that gives the size asked at the highest rate, or at the rate asked.

    Webcams give their large sizes only as MJPG, or as YUYV at a few frames a second. Of equals the first serves
    that is no JPEG. None where no size is asked or no format has it.
    """
    best: tuple[tuple[float, bool], str] | None = None
    for fourcc in node.formats() if settings.size else ():
        if fourcc not in READABLE or not _holds(node.sizes(fourcc), cast(Size, settings.size)):
            continue
        fastest = max(node.rates(fourcc, cast(Size, settings.size)), default=0.0)
        grade = (min(fastest, settings.fps or fastest), fourcc not in JPEG)
        if best is None or grade > best[0]:
            best = grade, fourcc
    return best[1] if best else None


def offer(node: Node) -> str:
    """Return what the camera offers, as text: formats of equal sizes together."""
    by_sizes: dict[Sizes, list[str]] = {}
    others = []
    for fourcc in node.formats():
        if fourcc in READABLE:
            by_sizes.setdefault(node.sizes(fourcc), []).append(fourcc)
        else:
            others.append(fourcc)
    parts = [f"{' '.join(names)} {_listed(sizes)}".strip() for sizes, names in by_sizes.items()]
    if others and not parts:
        parts.append(f"{', '.join(others[:MOST_SIZES])}, which can't be read here")
    return "; ".join(parts) or "no format at all"


def _check(capture: Any, node: Node, settings: CameraSettings, shown: str) -> None:
    fourcc = letters(int(capture.get(cv2.CAP_PROP_FOURCC)))
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    if settings.fourcc not in (None, fourcc) or settings.size not in (None, size) or fourcc not in READABLE:
        asked = " ".join(filter(None, (settings.fourcc, settings.size and _text(settings.size))))
        got = f"{fourcc} {_text(size)}" + ("" if fourcc in READABLE else ", which can't be read here")
        raise SourceError(
            f"camera {shown}{f': asked for {asked}, got' if asked else ' gives'} {got}; it offers {offer(node)}: "
            "choose with --size and --fourcc"
        )
    fps = capture.get(cv2.CAP_PROP_FPS)
    if settings.fps is not None and abs(fps - settings.fps) > RATE_SLACK * settings.fps:
        rates = ", ".join(f"{rate:g}" for rate in node.rates(fourcc, size)) or "no choice"
        raise SourceError(
            f"camera {shown}: asked for {settings.fps:g} frames a second, got {fps:g}; at {fourcc} {_text(size)} "
            f"it offers {rates}: choose with --fps, or another format or size"
        )


def _holds(sizes: Sizes, wanted: Size) -> bool:
    return any(low[0] <= wanted[0] <= high[0] and low[1] <= wanted[1] <= high[1] for low, high in sizes)


def _listed(sizes: Sizes) -> str:
    more = f" and {len(sizes) - MOST_SIZES} more" if len(sizes) > MOST_SIZES else ""
    spans = (_text(low) if low == high else f"{_text(low)} to {_text(high)}" for low, high in sizes[:MOST_SIZES])
    return ", ".join(spans) + more


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
