from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import address, opencv
from edge.errors import SourceError
from edge.sources import rtsp, rtsp_probe
from edge.sources.device import CameraSettings, Transport
from edge.sources.rtsp import Rtsp, open_rtsp, rtsp_address
from tests.clock_code import draw, read
from tests.edge.test_mqtt import Certificates
from tests.rtsp_server import RtspServer, need_server

ROOT = Path(__file__).resolve().parent.parent.parent
AS_IT_IS = CameraSettings()
SECRET = "s/ecret@9"
WRITTEN = "s%2Fecret%409"


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An opener sets up its own process; here that is this one."""
    for name in ("OPENCV_FFMPEG_CAPTURE_OPTIONS", "OPENCV_FFMPEG_LOGLEVEL"):
        monkeypatch.setenv(name, "")
    level = opencv.log_level()
    yield
    opencv.set_log_level(level)


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    need_server()
    with RtspServer() as server:
        yield server


def udp_sockets() -> int:
    """Return how many this process has."""
    udp = Path("/proc/self/net/udp").read_text().splitlines()[1:]
    inodes = {f"socket:[{line.split()[9]}]" for line in udp}
    count = 0
    for handle in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the list itself
            count += os.readlink(f"/proc/self/fd/{handle}") in inodes
    return count


def sentence(uri: str, settings: CameraSettings = AS_IT_IS) -> str:
    with pytest.raises(SourceError) as caught:
        open_rtsp(rtsp_address(uri), settings)
    return str(caught.value)


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A server that answers everything with this and hangs up, and its address; None: it says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                while answer is not None:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)
            except OSError:
                pass  # the test is over

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"rtsp://127.0.0.1:{listening.getsockname()[1]}/x"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert not thread.is_alive()


class Tape:
    """A cv2.VideoCapture of a script. Each line: seconds until the picture is there, and its stamp in seconds;
    None: FFmpeg found it broken."""

    def __init__(self, script: list[tuple[float, float | None]]) -> None:
        self._script = iter(script)
        self.now = 100.0
        self._stamp: float | None = None
        self.ended = False

    def grab(self) -> bool:
        wait, self._stamp = next(self._script, (0.0, None))
        self.now += wait
        return self._stamp is not None

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.full((2, 2, 3), 7, np.uint8)

    def get(self, property_id: int) -> float:
        assert property_id == cv2.CAP_PROP_POS_MSEC
        return (self._stamp or 0.0) * 1e3

    def release(self) -> None:
        self.ended = True


def played(script: list[tuple[float, float | None]]) -> tuple[Rtsp, Tape]:
    tape = Tape(script)
    return Rtsp(tape, "rtsp://cam/x", lambda: tape.now), tape  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", Transport)
def test_pictures_come_at_once_and_know_their_age(server: RtspServer, transport: Transport) -> None:
    before = udp_sockets()
    device = open_rtsp(rtsp_address(server.uri), CameraSettings(transport=transport))
    assert (udp_sockets() > before) == (transport is Transport.UDP)
    stamps = []
    for _ in range(15):
        shot = device.read()
        drawn = read(shot.image)
        assert drawn is not None
        assert 0 <= time.monotonic() - drawn / 1e3 < 0.7
        assert -0.05 <= shot.captured - drawn / 1e3 < 0.4
        assert shot.stamp is not None
        stamps.append(shot.stamp)
    device.close()
    steps = np.diff(stamps)
    assert (steps > 0).all()
    assert np.median(steps) == pytest.approx(1 / 15, rel=0.3)


def test_times_that_stand_still_are_no_stream(server: RtspServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "FIRST_S", 1.0)
    server.still(True)
    try:
        assert "stand still" in sentence(server.uri)
    finally:
        server.still(False)


def test_each_refusal_has_its_sentence(
    server: RtspServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rtsp, "OPEN_S", 1.0)
    monkeypatch.setattr(rtsp_probe, "PATIENCE_S", 1.0)
    base = server.uri.replace("rtsp://", f"rtsp://eve:{WRITTEN}@").removesuffix("/video")
    said = [sentence(f"{base}/nothing")]
    assert said[0].endswith("(404 Not Found); its manual or page names the path")
    said.append(sentence(f"{base}/sound"))
    assert "no video" in said[-1]
    said.append(sentence(f"rtsp://eve:{WRITTEN}@nohost.invalid/x"))
    assert "no host is called nohost.invalid" in said[-1]
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as uri:
        said.append(sentence(uri))
        assert "does not speak RTSP" in said[-1]
    with answering(b"RTSP/1.0 453 Not Enough Bandwidth\r\nCSeq: 1\r\n\r\n") as uri:
        said.append(sentence(uri))
        assert said[-1].endswith("answers 453 Not Enough Bandwidth")
    with answering(b"") as uri:
        said.append(sentence(uri))
        assert "ends without an answer" in said[-1] or "ends the connection" in said[-1]
    with answering(None) as uri:
        said.append(sentence(uri))
        assert "says nothing within 1 s" in said[-1]
    said.append(sentence(uri))
    assert "refuses port" in said[-1]
    said.append(sentence(f"{base}/video", CameraSettings(size=(640, 480), fps=5)))
    assert "can't be asked for size, fps" in said[-1]
    everything = "".join(said) + "".join(capfd.readouterr())
    assert not any(secret in everything for secret in ("eve", SECRET, WRITTEN))


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_a_password_opens_and_a_wrong_one_is_called_wrong(scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    need_server()
    with RtspServer(user="adam", password=SECRET, scheme=scheme) as server:
        with_password = server.uri.replace("rtsp://", f"rtsp://adam:{WRITTEN}@")
        device = open_rtsp(rtsp_address(with_password), AS_IT_IS)
        assert read(device.read().image) is not None
        device.close()
        said = [
            sentence(server.uri),
            sentence(with_password.replace("9@", "8@")),
            sentence(with_password.replace("video", "sound")),
        ]
    assert "wants a user and a password" in said[0]
    assert "refuses that user and password (401)" in said[1]
    assert "no video" in said[2]
    everything = "".join(said) + "".join(capfd.readouterr())
    assert not any(secret in everything for secret in ("adam", SECRET, WRITTEN, "s%2Fecret%408"))


def test_a_fresh_process_prints_nothing() -> None:
    program = (
        "from tests.edge.test_rtsp import *\n"
        "with answering(b'RTSP/1.0 404 Not Found\\r\\n\\r\\n') as uri: assert '404' in sentence(uri)"
    )
    command = [sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_was_queued_before_the_stream_opened_is_left_out() -> None:
    queued = [(0.0, number / 10) for number in range(20)]
    device, tape = played([*queued, (0.08, 2.0), (0.1, 2.1)])
    device.settle()
    shot = device.read()
    assert (shot.stamp, shot.captured) == (pytest.approx(2.1), pytest.approx(tape.now, abs=0.03))


def test_late_pictures_are_passed_over_and_a_stream_that_stays_behind_is_left() -> None:
    live = [(0.1, number / 10) for number in range(10)]
    stalled = [(0.9, 1.0), *((0.01, number / 10) for number in range(11, 20))]
    device, tape = played([*live, *stalled])
    for _ in live:
        device.read()
    shot = device.read()
    assert shot.stamp == pytest.approx(
        1.4
    )  # at 1.94 of its own time: what waited for over half a second is left out
    assert tape.now - shot.captured == pytest.approx(0.44, abs=0.05)
    half_as_fast = [(0.2, number / 10) for number in range(10, 60)]
    device, _ = played([*live, *half_as_fast])
    with pytest.raises(SourceError, match=r"falls behind: its pictures come \d\.\d s late"):
        deque(iter(device.read, None), maxlen=0)


def test_a_still_stamp_is_handed_on_and_a_broken_picture_is_no_end() -> None:
    device, _ = played([(0.1, 0.0), (0.1, 0.1), (0.1, None), (0.1, 0.3), (1.0, 0.3), (0.1, 0.3)])
    assert [device.read().stamp for _ in range(5)] == pytest.approx([0.0, 0.1, 0.3, 0.3, 0.3])
    with pytest.raises(SourceError, match="ended the stream"):
        device.read()


def test_addresses_are_shown_without_what_is_secret() -> None:
    shown = {
        "rtsp://eve:pw@cam:8554/live?token=x": "rtsp://cam:8554/live",
        "rtsps://[::1]/a/b": "rtsps://[::1]/a/b",
        "rtsp://cam/user=eve_password=pw_channel=1.sdp": "rtsp://cam/user=***",
    }
    assert {uri: rtsp_address(uri).shown for uri in shown} == shown
    assert "pw" not in repr(rtsp_address("rtsp://eve:pw@cam/x"))
    for wrong in (
        "rtsp://e:pw#1@cam/x",
        "rtsp://e:12/pw@cam/x",
        "rtsp://e:pw x@cam/",
        "rtsp:///pw",
        "rtsp://c:pw/",
    ):
        with pytest.raises(SourceError, match="expected rtsp://") as caught:
            rtsp_address(wrong)
        assert "pw" not in str(caught.value).replace(":///pw", "")


def test_the_probe_answers_a_digest_challenge_as_rfc_2069_says() -> None:
    parsed = address.parse("rtsp://Mufasa:CircleOfLife@cam/x", rtsp.PORTS, "camera")
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n"'
    answer = rtsp_probe._authorization(parsed, challenge)
    one, two = rtsp_probe._md5("Mufasa:r:CircleOfLife"), rtsp_probe._md5("DESCRIBE:rtsp://cam:554/x")
    assert f'response="{rtsp_probe._md5(f"{one}:n:{two}")}"' in answer
    assert "CircleOfLife" not in answer


def test_the_code_of_a_time_is_read_or_not_at_all() -> None:
    for value in (0, 1, 123_456_789_012, (1 << 40) - 1):
        picture = np.frombuffer(draw(value, 320, 240), np.uint8).reshape(240, 320)
        small = cv2.resize(picture, (160, 120))
        _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 30])
        assert read(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == value
    other = np.frombuffer(draw(5, 320, 240), np.uint8).reshape(240, 320)
    torn = np.vstack([picture[:120], other[120:]])
    assert read(torn) is None
    assert read(np.full((240, 320, 3), 128, np.uint8)) is None


def test_rtsps_is_encrypted_whoever_signed_the_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_server()
    monkeypatch.setattr(rtsp_probe, "PATIENCE_S", 1.0)
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(file.read_bytes() for file in Certificates(tmp_path / "own").make("elsewhere")))
    with RtspServer(user="adam", password=SECRET, certificate=str(both)) as server:
        uri = server.uri.replace("rtsp://", f"rtsps://adam:{WRITTEN}@")
        device = open_rtsp(rtsp_address(uri), AS_IT_IS)
        assert read(device.read().image) is not None
        device.close()
        assert "404" in sentence(uri.replace("video", "nothing"))
    with answering(b"RTSP/1.0 200 OK\r\n\r\n") as uri:
        assert "speaks no TLS" in sentence(uri.replace("rtsp", "rtsps"))
