"""A camera on this machine, through V4L2: a USB camera, or a board's own driver."""

from __future__ import annotations

import errno
import fcntl
import grp
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from edge.errors import SourceError
from edge.preprocess import Pixels
from edge.sources.base import Clock, Closing
from edge.sources.device import Address, CameraSettings, Shot
from edge.sources.v4l2_controls import set_controls
from edge.sources.v4l2_format import JPEG, set_format
from edge.sources.v4l2_node import CAP_META_CAPTURE, Ioctl, Node, letters
from edge.sources.v4l2_nodes import DEV, holders, lasting_name, listing, sibling

log = logging.getLogger(__name__)

YOUNG = 1.0
"""Seconds. The first picture can't be older; where the driver says so, it goes by another clock."""

END_OF_JPEG = b"\xff\xd9"

PATIENCE = ("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")
"""Seconds that OpenCV waits for a picture: the slowest cameras take three to begin, and 10 is its default."""


def v4l2_address(uri: str, dev: Path = DEV) -> Address:
    """Return the camera that `0` or a path means, and say where another name would last longer."""
    path = str(dev / f"video{int(uri)}") if uri.isdecimal() else uri
    if re.fullmatch(r"video\d+", Path(path).name):
        name = lasting_name(Path(path), dev)
        if name:
            log.warning("%s may be another camera after a replug or a start; %s stays this one", path, name)
    return Address(path, path)


@dataclass(frozen=True)
class Machine:
    """What opening a camera needs of the machine: tests hand in another one."""

    dev: Path = DEV
    ioctl: Ioctl = fcntl.ioctl
    capture: Callable[[str, int], Any] = cv2.VideoCapture
    """As cv2.VideoCapture."""
    clock: Clock = time.monotonic


def open_v4l2(address: Address, settings: CameraSettings, machine: Machine | None = None) -> V4l2:
    """Open the camera, set what is asked and check that it holds.

    Raises SourceError: no such device, in use, no permission, no camera, or it can't do what is asked.
    """
    os.environ.setdefault(*PATIENCE)
    path = Path(address.uri)
    machine = machine or Machine()
    with _opened(path, address.shown, machine) as node:
        _check_free(node, path, address.shown)
        capture = machine.capture(str(path.resolve()), cv2.CAP_V4L2)
        try:
            set_format(capture, node, settings, address.shown)
            camera = V4l2(capture, path, address.shown, machine)
            # Only now: some cameras forget their controls when pictures begin to flow.
            set_controls(node, settings, address.shown)
        except BaseException:
            capture.release()
            raise
    return camera


class V4l2(Closing):
    """An open camera that gives pictures."""

    def __init__(self, capture: Any, path: Path, shown: str, machine: Machine) -> None:
        """Take the first picture, which starts the stream. Raises SourceError where none comes."""
        self._capture = capture
        self._path = path
        self._shown = shown
        self._machine = machine
        self._number = 0
        self._raw = letters(int(capture.get(cv2.CAP_PROP_FOURCC))) in JPEG
        if self._raw:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._timed = False
        first = self.read()
        self._timed = first.stamp is not None and -YOUNG < first.captured - first.stamp < YOUNG

    def read(self) -> Shot:
        """Wait for the next whole picture. Raises SourceError where there will be none."""
        while True:
            try:
                there, image = self._capture.read()
            except cv2.error as error:
                raise SourceError(f"camera {self._shown} gives pictures that can't be decoded: {error}") from error
            now = self._machine.clock()
            if not there:
                raise SourceError(self._ended())
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 or None
            if self._raw:
                image = _decoded(image)
                if image is None:  # a part was lost on the cable
                    continue
            self._number += 1
            # The driver's own time is when the picture was there, not when it was asked for. Some count to the end
            # of the exposure, which is still to come.
            captured = min(stamp, now) if self._timed and stamp is not None else now
            return Shot(cast(Pixels, image), captured, stamp)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()

    def __enter__(self) -> V4l2:
        return self

    def _ended(self) -> str:
        try:
            with Node.open(self._path, self._machine.ioctl) as node:
                node.identity()
        except OSError:
            return f"camera {self._shown} is gone after {self._number} pictures: check its cable and power"
        if not self._number:
            return (
                f"camera {self._shown} can be opened and gives no picture: plug it in again, or, where cameras "
                "share a USB port, choose a smaller --size, --fourcc MJPG or another port"
            )
        return f"camera {self._shown} stopped after {self._number} pictures: check its cable and power"


def _opened(path: Path, shown: str, machine: Machine) -> Node:
    """Open a node that gives pictures. Raises SourceError."""
    try:
        node = Node.open(path, machine.ioctl)
    except OSError as error:
        raise SourceError(f"camera {shown} can't be opened: {_why(error, path, machine)}") from error
    try:
        identity = node.identity()
    except OSError as error:
        node.close()
        if error.errno == errno.ENODEV:
            raise SourceError(f"camera {shown} is gone: check its cable and power") from error
        there = listing(machine.dev, machine.ioctl)
        raise SourceError(f"{shown} is no camera; cameras of this machine: {there}") from error
    if identity.captures:
        return node
    node.close()
    what = "metadata" if identity.flags & CAP_META_CAPTURE else "no pictures"
    other = sibling(identity, machine.dev, machine.ioctl)
    there = f"its pictures come from {other}" if other else f"cameras: {listing(machine.dev, machine.ioctl)}"
    raise SourceError(f"{shown} ({identity.card}) gives {what}; {there}")


def _why(error: OSError, path: Path, machine: Machine) -> str:
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        there = listing(machine.dev, machine.ioctl)
        return f"no such device; plug it in, or name one that is there: {there}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission; {_way_in(path)}"
    if error.errno == errno.EBUSY:
        return _in_use(path)
    return f"{error.strerror}"


def _way_in(path: Path) -> str:
    try:
        group = grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        group = "video"
    if group == "root":  # nobody should join that one
        return f"it belongs to root alone, since no udev has set it up: chgrp video {path}; chmod 660 {path}"
    return f"join its group: usermod -aG {group} USER, then log in again"


def _check_free(node: Node, path: Path, shown: str) -> None:
    if node.busy():
        raise SourceError(f"camera {shown} is in use: {_in_use(path)}")


def _in_use(path: Path) -> str:
    who = holders(path)
    by = f"process {who} has it" if who else "another user's process has it (fuser -v as root names it)"
    return f"{by}, and only one at a time may take pictures; end that one, or name another camera"


def _decoded(data: Any) -> Pixels | None:
    """Return a whole JPEG's pixels. Some OpenCV make a picture of half a one, whose rest is grey."""
    raw = np.ravel(data)
    if raw.tobytes().rfind(END_OF_JPEG) < 0:
        return None
    image = cv2.imdecode(raw, cv2.IMREAD_COLOR)
    return None if image is None else cast(Pixels, image)
