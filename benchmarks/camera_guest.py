"""What benchmarks/prove_camera.py does inside the guest: cameras that the kernel really drives."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plugged import LINK, Plugged, nodes
from edge import opencv
from edge.errors import SourceError
from edge.sources import patience
from edge.sources.base import Frame, Gap
from edge.sources.capture import open_captured
from edge.sources.device import Address, CameraSettings, Mains
from edge.sources.v4l2 import Machine, V4l2, open_v4l2
from edge.sources.v4l2_format import READABLE
from edge.sources.v4l2_node import Control, Node
from edge.sources.v4l2_nodes import glance
from edge.sources.v4l2_nodes import nodes as all_nodes
from tests.edge.fake_v4l2 import FakeCamera
from tests.edge.v4l2_cases import CASES, outcome, portrait

REPLUGS, REPLUGS_CAPTURED = 10, 5
WANTED = CameraSettings(fourcc="MJPG", exposure=157, white_balance=4600, focus=40, mains=Mains.HZ50)
HELD = "1 157 0 4600 0 40 1"
"""What the camera itself then has: see UsbCamera.held."""

BARS = CameraSettings(size=(640, 360))

Found = dict[str, Any]


def main() -> None:
    """Prove all, and say what was found in one line of JSON."""
    opencv.set_log_level(opencv.SILENT)
    found = {**webcam(), **vivid()}
    print("\nFOUND " + json.dumps(found), flush=True)


def webcam() -> Found:
    """The kernel's uvcvideo and a camera made of software."""
    camera = Plugged()
    try:
        camera.plug()
        return {
            **_cases(),
            **_age(),
            **_in_use(),
            **_torn(camera),
            **_silent(camera),
            **_replugged(camera),
            **_captured(camera),
        }
    finally:
        camera.close()


def _cases() -> Found:
    with Node.open(LINK) as node:
        kernel = portrait(node)
    with tempfile.TemporaryDirectory() as folder:
        fake = FakeCamera(Path(folder))
        with Node.open(fake.dev / "video0", fake.ioctl) as node:
            false = portrait(node)
    wrong = [key for key in kernel if kernel[key] != false[key]]
    for key in wrong:
        print(key, "kernel", kernel[key], "fake", false[key])
    went = [(case, outcome(case, LINK, Machine())) for case in CASES]
    for case, got in went:
        if case != got:
            print("wanted", case, "got", got)
    metadata = next(node for node in nodes() if not glance(node).captures)  # type: ignore[union-attr]
    return {
        "portrait": [len(kernel) - len(wrong), len(kernel)],
        "cases": [sum(case == got for case, got in went), len(CASES)],
        "metadata": _error(lambda: opened(metadata)).endswith(f"its pictures come from {LINK.resolve()}"),
    }


def _age() -> Found:
    """How old pictures are when they are given, by the driver's clock."""
    with opened(LINK) as source:
        shots = [(time.monotonic(), source.read(), time.monotonic())[1:] for _ in range(60)]
    ages = [now - shot.captured for shot, now in shots]
    rising = all(a.stamp < b.stamp for (a, _), (b, _) in pairwise(shots))  # type: ignore[operator]
    stamped = all(shot.captured == shot.stamp for shot, _ in shots)
    return {
        "age_ms": [round(1e3 * float(np.percentile(ages, p)), 1) for p in (0, 50, 100)],
        "clock": rising and stamped,
    }


def _in_use() -> Found:
    program = (
        "from benchmarks.camera_guest import *\n"
        "with opened(LINK) as source: print(source.read().image.shape, flush=True); input()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        said = _error(lambda: opened(LINK))
        other.communicate(b"\n")
    return {
        "in_use": f"is in use: process {other.pid} (python" in said,
        "free_again": not _error(lambda: opened(LINK)),
    }


def _torn(camera: Plugged) -> Found:
    """Each third picture is sent by half, and is red."""
    with opened(LINK, replace(WANTED, size=(640, 480))) as source:
        camera.say("tears", 3)
        corners = [source.read().image[::40, ::40].reshape(-1, 3).astype(int) for _ in range(30)]
        camera.say("tears", 0)
    grey = [int(np.abs(corner - corner[:, :1]).max()) < 20 for corner in corners]
    return {"torn_given": grey.count(False), "torn_of": len(grey)}


def _silent(camera: Plugged) -> Found:
    with opened(LINK) as source:
        camera.say("silent", 1)
        begun = time.monotonic()
        said = _error(lambda: [source.read() for _ in range(20)])
        seconds = time.monotonic() - begun
    camera.say("silent", 0)
    return {"silent_s": round(seconds, 1), "silent": "stopped after" in said and not _error(lambda: opened(LINK))}


def _replugged(camera: Plugged) -> Found:
    """Pull the plug while pictures flow, and open again by the same lasting name."""
    seen, again, held, names = [], [], 0, set()
    for _ in range(REPLUGS):
        with opened(LINK, WANTED) as source:
            source.read()
            held += camera.held() == HELD
            names.add(str(LINK.resolve()))
            camera.say("unplug")
            begun = time.monotonic()
            said = _error(lambda: [source.read() for _ in range(200)])
            seen.append(time.monotonic() - begun if "is gone after" in said else float("inf"))
            camera.plug()
        begun = time.monotonic()
        with opened(LINK, WANTED) as source:
            source.read()
            again.append(time.monotonic() - begun)
            held += camera.held() == HELD
    return {
        "unplugged_ms": round(1e3 * max(seen), 1), "reopened_ms": round(1e3 * float(np.median(again))),
        "held": [held, 2 * REPLUGS], "names": sorted(names),
    }  # fmt: skip


def _captured(camera: Plugged) -> Found:
    """The same under the capture of edge-run, which opens again by itself.

    An emulated processor takes up to 20 s to start a Python that knows OpenCV.
    """
    patience.OPENING_S = patience.SHORT_OPENING_S = 90.0
    seen, back, held = [], [], 0
    with open_captured(Address(str(LINK), "cam"), WANTED, "v4l2") as source:
        for _ in range(REPLUGS_CAPTURED):
            for _ in range(30):
                source.read()
            camera.say("unplug")
            begun = time.monotonic()
            while isinstance(source.read(), Frame):
                pass
            seen.append(time.monotonic() - begun)
            camera.plug()
            begun = time.monotonic()
            frame: Frame | Gap | None = None
            while not isinstance(frame, Frame) and time.monotonic() - begun < 120:
                frame = source.read()
            back.append(time.monotonic() - begun)
            held += camera.held() == HELD
    return {
        "gap_s": round(max(seen), 2),
        "back_s": [round(float(np.percentile(back, p)), 1) for p in (50, 100)],
        "held_again": [held, REPLUGS_CAPTURED],
    }


def vivid() -> Found:
    """The kernel's own test driver, with the faults that it can be told to have."""
    seen = {path: glance(path) for path in all_nodes()}
    node = next(path for path, identity in seen.items() if identity and identity.card == "vivid")
    return {**_formats(node), **_faults(node)}


def _formats(path: Path) -> Found:
    """Every format gives the colours of the same test picture, or is refused."""
    with Node.open(path) as node:
        offered = node.formats()
    with opened(path, replace(BARS, fourcc="BGR3")) as source:
        wanted = source.read().image[120, 40::80].astype(int)
    apart, refused = [], 0
    for fourcc in offered:
        settings = replace(BARS, fourcc=fourcc)
        if fourcc not in READABLE:
            refused += "asked for" in _error(lambda: opened(path, settings))  # noqa: B023
            continue
        with opened(path, settings) as source:
            got = source.read().image[120, 40::80].astype(int)
        apart.append(float(np.abs(got - wanted).max()) if fourcc != "GREY" else 0.0)
    others = [other for other in all_nodes() if other != path and other not in nodes()]
    elsewhere = [_error(lambda: opened(other)) for other in others]  # noqa: B023
    return {
        "formats": len(apart), "colours_apart": round(max(apart), 1),
        "refused": [refused, len(offered) - len(apart)],
        "others": [sum(text.endswith(f"its pictures come from {path}") for text in elsewhere), len(others)],
        "lacks": _error(lambda: opened(path, replace(BARS, exposure=100))),
    }  # fmt: skip


FAULTS = {
    "Disconnect": "is gone after",
    "Inject Fatal Streaming Error": "stopped after",
    "Inject VIDIOC_STREAMON Error": "gives no picture",
    "Inject VIDIOC_QBUF Error": "",
    "Inject VIDIOC_REQBUFS Error": "",
    "Inject V4L2_BUF_FLAG_ERROR": "",
}
"""Control of vivid to what is then said; nothing where pictures go on."""


def _faults(path: Path) -> Found:
    seen: dict[str, str] = {}
    again = 0
    with Node.open(path) as node:
        controls = {control.name: control for control in node.controls().values()}
    for name in FAULTS:
        seen[name] = _fault(path, controls[name], before="STREAMON" in name)
        again += not _error(lambda: opened(path, BARS))
    with opened(path, BARS) as source, Node.open(path) as node:
        node.set(controls["Percentage of Dropped Buffers"].number, 40)
        stamps = [source.read().stamp or 0 for _ in range(40)]
        node.set(controls["Percentage of Dropped Buffers"].number, 0)
    right = sum(FAULTS[name] in text if FAULTS[name] else not text for name, text in seen.items())
    rising = all(a < b for a, b in pairwise(stamps))
    return {"faults": [right, len(FAULTS)], "again": [again, len(FAULTS)], "said": seen, "dropped": rising}


def _fault(path: Path, control: Control, before: bool) -> str:
    """Return what is said when the driver fails in this way."""

    def press() -> None:
        with Node.open(path) as node:
            node.set(control.number, 1)

    def go() -> None:
        if before:
            press()
        with opened(path, BARS) as source:
            if not before:
                press()
            for _ in range(20):
                source.read()

    return _error(go)


def opened(path: Path, settings: CameraSettings | None = None) -> V4l2:
    return open_v4l2(Address(str(path), str(path)), settings or CameraSettings())


def _error(action: Callable[[], Any]) -> str:
    """Return the sentence with which it fails, nothing where it does not; what it opened is closed."""
    try:
        result = action()
    except SourceError as error:
        return str(error)
    if isinstance(result, V4l2):
        result.close()
    return ""


if __name__ == "__main__":
    main()
