"""Where frames come from, behind one door. A new source is one file and one line in OPENERS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge.errors import SourceError
from edge.images import ENDINGS
from edge.sources.base import Clock, Frame, Source
from edge.sources.camera import open_camera
from edge.sources.demo import open_demo
from edge.sources.folder import open_folder
from edge.sources.video import open_video

__all__ = ["OPENERS", "Clock", "Frame", "Source", "open_source"]

OPENERS: dict[str, Callable[[str, Clock], Source]] = {
    "demo://": open_demo,
    "camera": open_camera,
    "folder": open_folder,
    "video": open_video,
}
"""Kind of source to what opens it: schemes end in ://, the rest is known by what lies there."""


def open_source(uri: str, clock: Clock = time.monotonic) -> Source:
    """Open a camera (`0`, `/dev/video0`), a folder of images, a video file, or `demo://`.

    Raises SourceError where it can't be opened, UsageError on wrong options in the URI.
    """
    return OPENERS[_kind(uri)](uri, clock)


def _kind(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    if separator:
        if f"{scheme}://" not in OPENERS:
            known = ", ".join(kind for kind in OPENERS if kind.endswith("://"))
            raise SourceError(f"no source for {scheme}:// in {uri}; schemes that exist: {known}; {_EXPECTED}")
        return f"{scheme}://"
    if uri.isdecimal() or uri.startswith("/dev/"):
        return "camera"
    path = Path(uri)
    if path.is_dir() or (path.suffix.lower() in ENDINGS and path.is_file()):
        return "folder"
    if path.is_file():
        return "video"
    raise SourceError(f"source {uri} does not exist; {_EXPECTED}")


_EXPECTED = "expected a camera (0, /dev/video0), a video file, a folder of images, or demo://"
