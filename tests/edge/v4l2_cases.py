"""What is asked of a webcam and what becomes of it, on the fake one and, by `make proof-camera`, the kernel's."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import SourceError
from edge.sources.device import AUTO, Address, CameraSettings, Mains
from edge.sources.v4l2 import Machine, open_v4l2
from edge.sources.v4l2_controls import (
    EXPOSURE_ABSOLUTE,
    EXPOSURE_AUTO,
    FOCUS_ABSOLUTE,
    FOCUS_AUTO,
    POWER_LINE_FREQUENCY,
    WHITE_BALANCE_AUTO,
    WHITE_BALANCE_TEMPERATURE,
)
from edge.sources.v4l2_node import Node

GAIN = 0x980913
"""A control that the camera lacks."""

OFFER = "MJPG 640x480, 1280x720; YUYV 320x240: choose with --size and --fourcc"


@dataclass(frozen=True)
class Case:
    """One opening of the camera."""

    asked: CameraSettings
    size: tuple[int, int] = (320, 240)
    """Of the pictures that come."""
    then: dict[int, int] = field(default_factory=dict)
    """Controls and what they hold."""
    said: str = ""
    """The error, where it can't be."""


CASES = (
    Case(CameraSettings()),
    Case(CameraSettings(fourcc="MJPG"), (640, 480)),
    Case(CameraSettings(fourcc="MJPG", size=(1280, 720), fps=15), (1280, 720)),
    Case(CameraSettings(size=(1280, 720)), (1280, 720)),
    Case(CameraSettings(size=(320, 240), fps=30)),
    Case(CameraSettings(fps=14.8)),
    Case(
        CameraSettings(exposure=157, white_balance=4600, focus=40, mains=Mains.HZ50),
        then={
            EXPOSURE_AUTO: 1, EXPOSURE_ABSOLUTE: 157, WHITE_BALANCE_AUTO: 0, WHITE_BALANCE_TEMPERATURE: 4600,
            FOCUS_AUTO: 0, FOCUS_ABSOLUTE: 40, POWER_LINE_FREQUENCY: 1,
        },
    ),
    Case(
        CameraSettings(exposure=AUTO, white_balance=AUTO, focus=AUTO, mains=Mains.OFF),
        then={EXPOSURE_AUTO: 3, WHITE_BALANCE_AUTO: 1, FOCUS_AUTO: 1, POWER_LINE_FREQUENCY: 0},
    ),
    Case(
        CameraSettings(size=(1000, 700)),
        said=f"camera cam: asked for 1000x700, got YUYV 320x240; it offers {OFFER}",
    ),
    Case(
        CameraSettings(size=(1280, 720), fourcc="YUYV"),
        said=f"camera cam: asked for YUYV 1280x720, got YUYV 320x240; it offers {OFFER}",
    ),
    Case(
        CameraSettings(fourcc="H264"), said=f"camera cam: asked for H264, got YUYV 320x240; it offers {OFFER}"
    ),
    Case(
        CameraSettings(fps=60),
        said="camera cam: asked for 60 frames a second, got 30; at YUYV 320x240 it offers 15, 30: "
        "choose with --fps, or another format or size",
    ),
    Case(
        CameraSettings(exposure=2048),
        said="camera cam can't do --exposure 2048: its control 'Exposure Time, Absolute' takes 3 to 2047",
    ),
    Case(
        CameraSettings(focus=7),
        said="camera cam: asked for --focus 7, which is 'Focus, Absolute' = 7, got 5; it takes 0 to 250 in steps "
        "of 5: choose a value that it can have",
    ),
)  # fmt: skip


def outcome(case: Case, path: Path, machine: Machine) -> Case:
    """Return the case as it went."""
    try:
        with (
            open_v4l2(Address(str(path), "cam"), case.asked, machine) as camera,
            Node.open(path, machine.ioctl) as node,
        ):
            height, width, _ = camera.read().image.shape
            return Case(case.asked, (width, height), {number: node.get(number) for number in case.then})
    except SourceError as error:
        return Case(case.asked, said=str(error))


def portrait(node: Node) -> dict[str, Any]:
    """Return all that the driver says of the camera, and how it takes what it should not be asked."""

    def asked(number: int, value: int) -> object:
        try:
            node.set(number, value)
        except OSError as error:
            return error.errno
        return node.get(number), "got"

    identity = node.identity()
    return {
        "card": identity.card,
        "captures": identity.captures,
        "formats": {
            fourcc: {str(size): node.rates(fourcc, size[0]) for size in node.sizes(fourcc)}
            for fourcc in node.formats()
        },
        "controls": [asdict(control) for control in node.controls().values()],
        "menus": {control.number: node.menu(control) for control in node.controls().values() if control.kind == 3},
        "lacks": asked(GAIN, 1),
        "not its turn": asked(EXPOSURE_ABSOLUTE, 100),
        "no such choice": asked(EXPOSURE_AUTO, 2),
        "beyond the menu": asked(EXPOSURE_AUTO, 7),
        "its turn": (asked(EXPOSURE_AUTO, 1), asked(EXPOSURE_ABSOLUTE, 100)),
        "too much": asked(EXPOSURE_ABSOLUTE, 99999),
        "between steps": (asked(FOCUS_AUTO, 0), asked(FOCUS_ABSOLUTE, 7), asked(FOCUS_ABSOLUTE, 8)),
        "more than true": asked(FOCUS_AUTO, 2),
    }
