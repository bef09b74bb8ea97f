"""Where frames come from, behind one door. A new source is one file and one line in OPENERS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge.errors import SourceError
from edge.hidden import hidden
from edge.images import ENDINGS
from edge.sources.base import Clock, Counts, Frame, Gap, Source
from edge.sources.capture import open_captured
from edge.sources.csi import csi_address
from edge.sources.demo import open_demo
from edge.sources.device import Address, CameraSettings
from edge.sources.folder import open_folder
from edge.sources.recording import TABLE, open_recording
from edge.sources.rtsp import rtsp_address
from edge.sources.v4l2 import v4l2_address
from edge.sources.video import open_video

__all__ = ["CAMERAS", "OPENERS", "Clock", "Counts", "Frame", "Gap", "Source", "open_source"]

CAMERAS: dict[str, tuple[str, Callable[[str], Address]]] = {
    "camera": ("v4l2", v4l2_address),
    "rtsp://": ("rtsp", rtsp_address),
    "rtsps://": ("rtsp", rtsp_address),
    "csi://": ("csi", csi_address),
}
"""Kind of source to the device in edge.sources.capture_child.DEVICES, and what makes an address of its URI."""

OPENERS: dict[str, Callable[[str, Clock], Source]] = {
    "demo://": open_demo,
    "folder": open_folder,
    "recording": open_recording,
    "video": open_video,
}
"""Kind of source to what opens it: schemes end in ://, the rest is known by what lies there."""

AS_IT_IS = CameraSettings()


def open_source(uri: str, camera: CameraSettings = AS_IT_IS, clock: Clock = time.monotonic) -> Source:
    """Open a camera (`0`, `/dev/video0`, `csi://0`, `rtsp://...`), a video, a folder of images, a recording or `demo://`.

    `camera`: what a camera is asked for. Raises SourceError where it can't be opened, UsageError on wrong
    options in the URI, or where what is no camera is asked for something.
    """
    kind = _kind(uri)
    if kind in CAMERAS:
        device, address_of = CAMERAS[kind]
        return open_captured(address_of(uri), camera, device, clock)
    if camera != AS_IT_IS:
        raise SourceError(f"source {hidden(uri)} is no camera: leave out what is asked of one")
    return OPENERS[kind](uri, clock)


def _kind(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    if separator:
        kind = f"{scheme.lower()}://"
        if kind not in {*OPENERS, *CAMERAS}:
            known = ", ".join(kind for kind in (*CAMERAS, *OPENERS) if kind.endswith("://"))
            raise SourceError(
                f"no source for {scheme}:// in {hidden(uri)}; schemes that exist: {known}; {_EXPECTED}"
            )
        return kind
    if uri.isdecimal() or uri.startswith("/dev/"):
        return "camera"
    path = Path(uri)
    if (path / TABLE).is_file():
        return "recording"
    if path.is_dir() or (path.suffix.lower() in ENDINGS and path.is_file()):
        return "folder"
    if path.is_file():
        return "video"
    raise SourceError(f"source {hidden(uri)} does not exist; {_EXPECTED}")


_EXPECTED = (
    "expected a camera (0, /dev/video0, csi://0, rtsp://...), a video file, a folder of images, a recording, "
    "or demo://"
)
