from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import SourceError
from edge.sources import csi
from edge.sources.csi import csi_address, open_csi, open_pipeline, pipeline, pixels
from edge.sources.device import AUTO, CameraSettings
from tests.rtsp_server import environment

ROOT = Path(__file__).resolve().parent.parent.parent

DEBIANS = "/usr/lib/python3/dist-packages"
"""Where PyGObject lies, which is made for Debian's own Python."""

NEEDED = """
import sys
sys.path.append(sys.argv[1])
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("videotestsrc", "videoconvert", "appsink")))
"""

READS = """
import json, sys, time
sys.path.append(sys.argv[1])
from edge.errors import SourceError
from edge.sources.csi import TAIL, csi_address, open_csi, open_pipeline
from edge.sources.device import CameraSettings
said = {}
try:
    open_csi(csi_address("csi://0"), CameraSettings())
except SourceError as error:
    said["no camera"] = str(error)
source = "videotestsrc is-live=true num-buffers=25 pattern={} ! video/x-raw,width=318,height=240,framerate=20/1"
device = open_pipeline(source.format("blue") + " ! " + TAIL, "csi://0")
shots = []
try:
    while True:
        shot = device.read()
        shots.append((shot.stamp, time.monotonic() - shot.captured))
        if len(shots) == 5:
            time.sleep(0.6)
except SourceError as error:
    said["end"] = str(error)
said |= {"shots": shots, "shape": shot.image.shape, "pixel": shot.image[100, 100].tolist()}
device.close()
device = open_pipeline("videotestsrc ! identity error-after=2 ! " + TAIL, "csi://0")
try:
    while True:
        device.read()
except SourceError as error:
    said["error"] = str(error)
print(json.dumps(said))
"""


def test_the_newest_picture_of_a_real_pipeline_comes_with_its_time() -> None:
    def child(program: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, DEBIANS]
        return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    if child(NEEDED).returncode:
        pytest.skip(f"this Python has no GStreamer; {csi.PACKAGES}, and take Debian's Python")
    result = child(READS)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["no camera"] == (
        "camera csi://0 can't be opened: GStreamer has no nvarguscamerasrc; apt-get install nvidia-l4t-gstreamer"
    )
    assert said["end"] == "camera csi://0 gives no pictures: its stream has ended; check the ribbon cable"
    assert said["error"].startswith("camera csi://0 gives no pictures: ")
    assert (said["shape"], said["pixel"]) == ([240, 318, 3], [255, 0, 0])
    stamps, ages = zip(*said["shots"], strict=True)
    assert all(later > earlier for earlier, later in pairwise(stamps))
    assert stamps[5] - stamps[4] > 0.4  # what came while nobody read is not kept
    assert all(0 <= age < 0.3 for age in ages)


def test_a_pipeline_asks_for_what_is_asked() -> None:
    assert pipeline(0, CameraSettings()) == (
        "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM) ! nvvidconv ! video/x-raw,format=BGRx ! "
        "videoconvert ! video/x-raw,format=BGR ! appsink name=pictures drop=true max-buffers=1 sync=false"
    )
    wanted = "sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 !"
    assert wanted in pipeline(1, CameraSettings(size=(1280, 720), fps=30))
    assert "framerate=15/2" in pipeline(1, CameraSettings(fps=7.5))


def test_rows_are_taken_without_what_fills_them_up() -> None:
    padded = np.zeros((2, 12), np.uint8)
    padded[:, :9] = np.arange(18).reshape(2, 9)
    assert pixels(padded.tobytes(), 3, 2).tolist() == np.arange(18).reshape(2, 3, 3).tolist()


@pytest.mark.parametrize("uri", ["csi://", "csi://a", "csi://0/1", "csi://-1", "csi://0 ! filesink location=x"])
def test_a_sensor_is_a_number(uri: str) -> None:
    with pytest.raises(SourceError, match="expected csi://0"):
        csi_address(uri)


def test_what_csi_can_not_do_is_refused() -> None:
    with pytest.raises(SourceError, match="can't be asked for fourcc, focus"):
        open_csi(csi_address("csi://0"), CameraSettings(fourcc="MJPG", focus=AUTO))


class TestWithoutPyGObject:
    class Fake:
        """An OpenCV that has GStreamer."""

        there = True

        def __init__(self, text: str, api: int) -> None:
            assert api == cv2.CAP_GSTREAMER
            self.left = 2
            assert text.endswith(csi.TAIL)

        def isOpened(self) -> bool:
            return self.there

        def read(self) -> tuple[bool, Any]:
            self.left -= 1
            return self.left >= 0, np.zeros((4, 4, 3), np.uint8)

        def release(self) -> None:
            self.left = 0

    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gi", None)
        monkeypatch.setattr(cv2, "VideoCapture", self.Fake)

    def test_opencv_reads(self) -> None:
        device = open_csi(csi_address("csi://0"), CameraSettings())
        assert [device.read().image.shape for _ in range(2)] == [(4, 4, 3)] * 2
        with pytest.raises(SourceError, match="nvargus-daemon"):
            device.read()
        device.close()

    def test_nothing_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.Fake, "there", False)
        with pytest.raises(SourceError, match="apt-get install python3-gi"):
            open_pipeline(csi.TAIL, "csi://0")
