from __future__ import annotations

import errno
import grp
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import edge.sources.v4l2_controls as controls
import edge.sources.v4l2_node as api
from edge.errors import SourceError
from edge.sources.device import AUTO, CameraSettings, Mains
from edge.sources.v4l2 import V4l2, open_v4l2, v4l2_address
from edge.sources.v4l2_format import fitting
from edge.sources.v4l2_node import Node
from edge.sources.v4l2_nodes import holders
from tests.edge import fake_v4l2
from tests.edge.fake_v4l2 import FakeCamera
from tests.edge.v4l2_cases import CASES, Case, outcome, portrait


@pytest.fixture
def camera(tmp_path: Path) -> FakeCamera:
    return FakeCamera(tmp_path)


def opened(camera: FakeCamera, settings: CameraSettings | None = None, name: str = "video0") -> V4l2:
    address = v4l2_address(str(camera.dev / name), camera.dev)
    return open_v4l2(address, settings or CameraSettings(), camera.machine)


def refused(camera: FakeCamera, settings: CameraSettings | None = None, name: str = "video0") -> str:
    with pytest.raises(SourceError) as caught:
        opened(camera, settings, name)
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(str(camera.dev), "/dev")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.said or str(case.asked))
def test_what_is_asked_holds_or_is_refused_with_what_there_is(case: Case, camera: FakeCamera) -> None:
    assert outcome(case, camera.dev / "video0", camera.machine) == case
    assert camera.reader.released


def test_controls_reach_the_camera_itself_at_each_opening(camera: FakeCamera) -> None:
    """A driver may believe to be set what the camera forgot when its pictures began to flow."""
    settings = CameraSettings(exposure=157, white_balance=AUTO, mains=Mains.HZ50)
    for _ in range(2):
        camera.reader = fake_v4l2.FakeCapture(camera)
        with opened(camera, settings):
            assert (camera.camera[controls.EXPOSURE_AUTO], camera.camera[controls.EXPOSURE_ABSOLUTE]) == (1, 157)
            assert camera.camera[controls.POWER_LINE_FREQUENCY] == 1
        camera.camera = {number: dial.default for number, dial in camera.dials.items()}


def test_a_control_that_is_not_there_and_one_that_has_not_all(camera: FakeCamera) -> None:
    for number in (controls.FOCUS_AUTO, controls.WHITE_BALANCE_AUTO, controls.EXPOSURE_AUTO):
        del camera.dials[number]
    frequencies = camera.dials[controls.POWER_LINE_FREQUENCY]
    camera.dials[controls.POWER_LINE_FREQUENCY] = replace(frequencies, menu=frequencies.menu[1:])
    assert refused(camera, CameraSettings(focus=AUTO)) == (
        "camera /dev/video0 can't do --focus auto: it lacks automatic focus; it has a time of exposure, a colour "
        "temperature, a distance of focus, a frequency of the mains; leave --focus out"
    )
    assert refused(camera, CameraSettings(mains=Mains.OFF)) == (
        "camera /dev/video0 can't do --mains off: its control 'Power Line Frequency' has 50 Hz, 60 Hz"
    )
    # Without anything that could choose by itself, the value alone is set.
    number = controls.FOCUS_ABSOLUTE
    camera.dials[number] = replace(camera.dials[number], boss=None)
    with opened(camera, CameraSettings(focus=50)):
        assert camera.camera[number] == 50


def test_of_two_ways_to_choose_the_one_of_webcams(camera: FakeCamera) -> None:
    number = controls.EXPOSURE_AUTO
    menu = ((0, "Auto Mode"), (1, "Manual Mode"), (2, "Shutter Priority Mode"), (3, "Aperture Priority Mode"))
    camera.dials[number] = replace(camera.dials[number], menu=menu)
    for asked, mode in ((AUTO, 3), (157, 1)):
        with opened(camera, CameraSettings(exposure=asked)):
            assert camera.camera[number] == mode
    camera.dials[number] = replace(camera.dials[number], menu=menu[:1])
    with opened(camera, CameraSettings(exposure=AUTO)):
        assert camera.camera[number] == 0


def test_a_control_that_the_driver_refuses(camera: FakeCamera) -> None:
    number = controls.EXPOSURE_ABSOLUTE
    camera.dials[number] = replace(camera.dials[number], boss=(controls.FOCUS_AUTO, 0))
    assert refused(camera, CameraSettings(exposure=157)) == (
        "camera /dev/video0 refuses --exposure 157: "
        "its control 'Exposure Time, Absolute' (3 to 2047) does not take 157: Permission denied"
    )


def test_the_format_that_gives_the_size_fast(camera: FakeCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"H264": ((1280, 720),), "MJPG": ((1280, 720), (640, 480)), "YUYV": ((1280, 720), (640, 480))}
    monkeypatch.setattr(fake_v4l2, "SIZES", sizes)
    slow = {("YUYV", (1280, 720)): (5.0, 10.0)}
    monkeypatch.setattr(Node, "rates", lambda self, name, size: slow.get((name, size), (30.0,)))
    with Node.open(camera.dev / "video0", camera.ioctl) as node:

        def chosen(size: tuple[int, int] | None, fps: float | None = None) -> str | None:
            return fitting(node, CameraSettings(size=size, fps=fps))

        assert chosen((1280, 720)) == "MJPG"
        assert chosen((1280, 720), 10) == "YUYV"
        assert chosen((640, 480)) == "YUYV"
        assert chosen((800, 600)) is chosen(None, 10) is None


def test_no_such_device_names_those_that_exist(camera: FakeCamera, caplog: pytest.LogCaptureFixture) -> None:
    (camera.dev / "v4l" / "by-id").mkdir(parents=True)
    (camera.dev / "v4l" / "by-id" / "usb-binsight_0001").symlink_to("../../video0")
    there = "/dev/video0 (Bin Camera, /dev/v4l/by-id/usb-binsight_0001)"
    assert refused(camera, name="video7") == (
        f"camera /dev/video7 can't be opened: no such device; plug it in, or name one that is there: {there}"
    )
    assert refused(camera, name="video1") == (
        "/dev/video1 (Bin Camera) gives metadata; its pictures come from /dev/video0"
    )
    (camera.dev / "tty").symlink_to("/dev/full")
    camera.ioctl = tty(camera.ioctl)  # type: ignore[method-assign]
    assert refused(camera, name="tty") == f"/dev/tty is no camera; cameras of this machine: {there}"

    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert v4l2_address("0", camera.dev).uri == str(camera.dev / "video0")
        v4l2_address(str(camera.dev / "v4l" / "by-id" / "usb-binsight_0001"), camera.dev)
    (record,) = caplog.records
    assert record.getMessage().endswith("/v4l/by-id/usb-binsight_0001 stays this one")


def tty(ioctl: Callable[[int, int, bytearray], int]) -> Callable[[int, int, bytearray], int]:
    """Let /dev/full know nothing of video."""

    def answer(file: int, request: int, buffer: bytearray) -> int:
        if os.fstat(file).st_rdev == os.stat("/dev/full").st_rdev:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        return ioctl(file, request, buffer)

    return answer


def test_a_camera_in_use_names_who_has_it(camera: FakeCamera) -> None:
    camera.busy = True
    command = [sys.executable, "-c", "open('/dev/full'); file = open('/dev/null'); print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        assert "camera /dev/video0 is in use: process " in refused(camera)
        assert f"{other.pid} (python" in holders(camera.dev / "video0")
        assert str(os.getpid()) not in holders(camera.dev / "video0").split()
        other.communicate(b"\n")
    assert f"{other.pid} (" not in holders(camera.dev / "video0")


def test_no_permission_names_the_group(camera: FakeCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, ioctl: object = None) -> Node:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Node, "open", forbidden)
    says = "camera /dev/video0 can't be opened: no permission; "
    for group, mend in (("video", "join its group: usermod -aG video USER"), ("root", "it belongs to root alone")):
        monkeypatch.setattr(grp, "getgrgid", lambda number, name=group: SimpleNamespace(gr_name=name))
        assert refused(camera).startswith(says + mend)


@pytest.mark.parametrize("old", [False, True])
def test_half_a_jpeg_is_no_picture(old: bool, camera: FakeCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this OpenCV refuses it, or makes a picture of it as others do, whose rest is grey."""
    if old:
        decode, grey = cv2.imdecode, np.full((480, 640, 3), 128, np.uint8)
        monkeypatch.setattr(
            cv2, "imdecode", lambda raw, flags: grey if (got := decode(raw, flags)) is None else got
        )
    with opened(camera, CameraSettings(fourcc="MJPG")) as source:
        camera.reader.tears = 3
        levels = [int(source.read().image[-1, -1, 0]) for _ in range(6)]
    assert levels == [2, 4, 5, 7, 8, 10]


def test_the_drivers_own_time_is_the_time_of_the_picture(camera: FakeCamera) -> None:
    camera.clock = lambda: 1000.0
    with opened(camera) as source:
        assert source.read().captured == pytest.approx(999.99)
        camera.reader.lag = 7.0  # an old picture stays an old one
        shot = source.read()
        assert (shot.captured, shot.stamp) == (pytest.approx(993.0), pytest.approx(993.0))
        camera.reader.lag = -0.02  # the end of an exposure that still goes on
        assert source.read().captured == 1000.0


@pytest.mark.parametrize("epoch", [1.7e9, -500.0, -999.99])
def test_another_clock_is_not_taken_for_ours(camera: FakeCamera, epoch: float) -> None:
    """Seconds since 1970, since the camera was plugged in, and a driver that always says 0."""
    camera.clock = lambda: 1000.0
    camera.reader.epoch = epoch
    with opened(camera) as source:
        shot = source.read()
        assert shot.captured == 1000.0
        assert shot.stamp == (pytest.approx(1000 - 0.01 + epoch) if epoch > -999 else None)


def test_a_camera_that_stops_and_one_that_is_pulled_out(camera: FakeCamera) -> None:
    camera.reader.ends = 3
    with opened(camera) as source:
        source.read()
        source.read()
        with pytest.raises(SourceError, match="video0 stopped after 3 pictures: check its cable and power"):
            source.read()
        camera.gone = True
        with pytest.raises(SourceError, match="video0 is gone after 3 pictures: check its cable and power"):
            source.read()
    assert "/dev/video0 is gone: check its cable" in refused(camera)
    camera.gone = False
    camera.reader.ends = 0
    assert "can be opened and gives no picture: plug it in again" in refused(camera)


def test_pictures_that_opencv_can_not_read(camera: FakeCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_v4l2, "SIZES", {"NV24": ((640, 480),), "H264": ((640, 480),)})
    camera.reader.format, camera.reader.size = "NV24", (640, 480)
    assert refused(camera) == (
        "camera /dev/video0 gives NV24 640x480, which can't be read here; "
        "it offers NV24, H264, which can't be read here: choose with --size and --fourcc"
    )

    def broken() -> Any:
        raise cv2.error("reshape")

    camera.reader.format = "YUYV"
    monkeypatch.setattr(camera.reader, "read", broken)
    assert refused(camera) == "camera /dev/video0 gives pictures that can't be decoded: reshape"


def test_what_the_driver_says_is_read_as_it_is_laid_out(camera: FakeCamera) -> None:
    with Node.open(camera.dev / "video0", camera.ioctl) as node:
        seen = portrait(node)
    assert seen["card"] == "Bin Camera"
    assert seen["formats"]["MJPG"] == {
        "((640, 480), (640, 480))": (15.0, 30.0), "((1280, 720), (1280, 720))": (15.0, 30.0)
    }  # fmt: skip
    assert [(c["number"], c["name"], c["minimum"], c["maximum"], c["step"]) for c in seen["controls"]] == [
        (number, dial.name, dial.low, dial.high, dial.step) for number, dial in fake_v4l2.DIALS.items()
    ]
    assert seen["menus"][controls.EXPOSURE_AUTO] == {1: "Manual Mode", 3: "Aperture Priority Mode"}
    assert (seen["too much"], seen["not its turn"]) == ((2047, "got"), errno.EACCES)


def test_ranges_of_sizes_and_rates(camera: FakeCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    def any_size(camera: FakeCamera, data: Any) -> None:
        data.type, data.numbers[:] = 3, (48, 1920, 8, 32, 1080, 4)

    def any_rate(camera: FakeCamera, data: Any) -> None:
        data.type, data.numbers[:] = 2, (1, 60, 1, 5, 1, 60)

    size, rate = api.ENUM_FRAMESIZES, api.ENUM_FRAMEINTERVALS
    monkeypatch.setitem(fake_v4l2.ANSWERS, size, (fake_v4l2.FrameSize, any_size))
    monkeypatch.setitem(fake_v4l2.ANSWERS, rate, (fake_v4l2.Interval, any_rate))
    with Node.open(camera.dev / "video0", camera.ioctl) as node:
        assert node.sizes("YUYV") == (((48, 32), (1920, 1080)),)
        assert node.rates("YUYV", (640, 480)) == (5.0, 60.0)
        assert fitting(node, CameraSettings(size=(640, 480))) == "YUYV"
    assert "it offers MJPG YUYV 48x32 to 1920x1080: choose" in refused(camera, CameraSettings(size=(8, 8)))


NUMBERS = {
    "VIDIOC_QUERYCAP": api.QUERYCAP, "VIDIOC_ENUM_FMT": api.ENUM_FMT, "VIDIOC_REQBUFS": api.REQBUFS,
    "VIDIOC_G_CTRL": api.G_CTRL, "VIDIOC_S_CTRL": api.S_CTRL, "VIDIOC_QUERYCTRL": api.QUERYCTRL,
    "VIDIOC_QUERYMENU": api.QUERYMENU, "VIDIOC_ENUM_FRAMESIZES": api.ENUM_FRAMESIZES,
    "VIDIOC_ENUM_FRAMEINTERVALS": api.ENUM_FRAMEINTERVALS,
    "V4L2_CAP_VIDEO_CAPTURE": api.CAP_VIDEO_CAPTURE, "V4L2_CAP_META_CAPTURE": api.CAP_META_CAPTURE,
    "V4L2_CAP_VIDEO_CAPTURE_MPLANE": api.CAP_VIDEO_CAPTURE_MPLANE, "V4L2_CAP_DEVICE_CAPS": api.CAP_DEVICE_CAPS,
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": api.BUF_VIDEO_CAPTURE, "V4L2_MEMORY_MMAP": api.MEMORY_MMAP,
    "V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE": api.BUF_VIDEO_CAPTURE_MPLANE,
    "V4L2_FRMSIZE_TYPE_DISCRETE": api.DISCRETE, "V4L2_FRMIVAL_TYPE_DISCRETE": api.DISCRETE,
    "V4L2_CTRL_TYPE_MENU": api.TYPE_MENU, "V4L2_CTRL_TYPE_CTRL_CLASS": api.TYPE_CLASS,
    "V4L2_CTRL_TYPE_INTEGER_MENU": api.TYPE_INTEGER_MENU, "V4L2_CTRL_FLAG_DISABLED": api.FLAG_DISABLED,
    "V4L2_CTRL_FLAG_NEXT_CTRL": api.FLAG_NEXT,
    "V4L2_CID_AUTO_WHITE_BALANCE": controls.WHITE_BALANCE_AUTO,
    "V4L2_CID_WHITE_BALANCE_TEMPERATURE": controls.WHITE_BALANCE_TEMPERATURE,
    "V4L2_CID_EXPOSURE_AUTO": controls.EXPOSURE_AUTO, "V4L2_CID_EXPOSURE_ABSOLUTE": controls.EXPOSURE_ABSOLUTE,
    "V4L2_CID_FOCUS_AUTO": controls.FOCUS_AUTO, "V4L2_CID_FOCUS_ABSOLUTE": controls.FOCUS_ABSOLUTE,
    "V4L2_CID_POWER_LINE_FREQUENCY": controls.POWER_LINE_FREQUENCY,
    "V4L2_CID_POWER_LINE_FREQUENCY_50HZ": controls.FREQUENCIES[Mains.HZ50],
    "V4L2_CID_POWER_LINE_FREQUENCY_60HZ": controls.FREQUENCIES[Mains.HZ60],
    "V4L2_CID_POWER_LINE_FREQUENCY_DISABLED": controls.FREQUENCIES[Mains.OFF],
    "V4L2_EXPOSURE_MANUAL": 1, "V4L2_EXPOSURE_SHUTTER_PRIORITY": 2, "V4L2_EXPOSURE_APERTURE_PRIORITY": 3,
    "V4L2_EXPOSURE_AUTO": 0,
    "offsetof(struct v4l2_capability, device_caps)": 88, "offsetof(struct v4l2_fmtdesc, pixelformat)": 44,
    "offsetof(struct v4l2_frmsizeenum, discrete)": 12, "offsetof(struct v4l2_frmivalenum, discrete)": 20,
    "offsetof(struct v4l2_queryctrl, minimum)": 40, "offsetof(struct v4l2_queryctrl, flags)": 56,
    "offsetof(struct v4l2_querymenu, name)": 8,
}  # fmt: skip


def test_numbers_and_layouts_are_the_kernels(tmp_path: Path) -> None:
    layouts = (api.CAPABILITY, api.FORMAT, api.BUFFERS, api.VALUE, api.CONTROL, api.MENU, api.SIZE, api.RATE)
    assert [layout.size for layout in layouts] == [104, 64, 20, 8, 68, 44, 44, 52]  # on x86-64 and on aarch64
    assert set(fake_v4l2.ANSWERS) == {NUMBERS[name] for name in NUMBERS if name.startswith("VIDIOC")}
    compiler = shutil.which("cc")
    if not compiler or not Path("/usr/include/linux/videodev2.h").is_file():
        pytest.skip("no C compiler or no linux/videodev2.h here; apt-get install gcc linux-libc-dev")
    lines = "\n".join(f'printf("%lld\\n", (long long) ({name}));' for name in NUMBERS)
    heads = "#include <stdio.h>\n#include <stddef.h>\n#include <linux/videodev2.h>\n"
    (tmp_path / "numbers.c").write_text(f"{heads}int main(void) {{ {lines} return 0; }}")
    subprocess.run([compiler, "-o", tmp_path / "numbers", tmp_path / "numbers.c"], check=True, capture_output=True)
    said = subprocess.run([tmp_path / "numbers"], check=True, capture_output=True, text=True).stdout.split()
    assert dict(zip(NUMBERS, map(int, said), strict=True)) == NUMBERS
