from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from edge.cli.camera import camera_options, take_camera
from edge.sources.device import AUTO, CameraSettings, Mains, Transport


def taken(*arguments: str) -> CameraSettings | str:
    """Return the settings that these options make, or what a command says of them."""
    found: list[CameraSettings] = []

    @click.command()
    @camera_options
    def command(**values: Any) -> None:
        found.append(take_camera(values))
        assert not values

    result = CliRunner().invoke(command, arguments)
    return found[0] if found else result.output


def test_options_become_settings() -> None:
    assert taken() == CameraSettings()
    assert taken(
        "--size", "1280X720", "--fps", "14.5", "--fourcc", "MJPG", "--exposure", "157", "--white-balance", "AUTO",
        "--focus", "auto", "--mains", "50", "--rtsp-transport", "udp",
    ) == CameraSettings((1280, 720), 14.5, "MJPG", 157, AUTO, AUTO, Mains.HZ50, Transport.UDP)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "1280"), "'1280' is no size in pixels; expected one such as 1280x720"),
        (("--size", "0x720"), "'0x720' is no size"),
        (("--exposure", "-3"), "'-3'; expected auto or a whole number"),
        (("--focus", "near"), "'near'; expected auto or a whole number"),
        (("--fourcc", "MJPEG"), "'MJPEG' is no pixel format; expected four letters such as MJPG"),
        (("--fps", "0"), "0.0 is not in the range"),
        (("--mains", "55"), "'55' is not one of"),
    ],
)
def test_a_bad_value_names_its_option(arguments: tuple[str, str], said: str) -> None:
    text = taken(*arguments)
    assert isinstance(text, str)
    assert f"Invalid value for '{arguments[0]}': {said}" in text
