"""A real RTSP server, that of GStreamer, which breaks in every way that is asked for."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from types import TracebackType

import pytest

from tests.broker import free_port

ROOT = Path(__file__).resolve().parent.parent

PYTHON = "/usr/bin/python3"
"""Debian's, whose PyGObject has GStreamer."""

PACKAGES = {
    "python3-gi": "import gi",
    "gir1.2-gst-rtsp-server-1.0": "gi.require_version('GstRtspServer', '1.0')",
    "glib-networking": "from gi.repository import Gio; assert Gio.TlsBackend.get_default().supports_tls()",
    "gstreamer1.0-plugins-base": "assert find('videoconvert')",
    "gstreamer1.0-plugins-good": "assert find('rtph264pay')",
    "gstreamer1.0-plugins-ugly": "assert find('x264enc')",
}
"""Debian's package to what fails without it."""

LOOK = """
import json, sys
def find(element):
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
    Gst.init(None)
    return Gst.ElementFactory.find(element)
for package, statement in json.loads(sys.argv[1]).items():
    try:
        exec(statement)
    except Exception:
        print(package)
"""


@cache
def _registry() -> Path:
    """Return where GStreamer keeps its list of plugins, made once for all processes."""
    folder = Path(tempfile.mkdtemp(prefix="gst-registry-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "registry"


def environment() -> dict[str, str]:
    """Return that of a process that uses GStreamer."""
    return {**os.environ, "GST_REGISTRY": str(_registry()), "GST_REGISTRY_FORK": "no"}


@cache
def missing() -> tuple[str, ...]:
    """Return the Debian packages that this machine lacks."""
    if not Path(PYTHON).exists():
        return ("python3", *PACKAGES)
    command = [PYTHON, "-c", LOOK, json.dumps(PACKAGES)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    return tuple(done.stdout.split())


def need_server() -> None:
    """Skip the test where no server can run."""
    if lacks := missing():
        pytest.skip(f"no RTSP server here; apt-get install {' '.join(lacks)}")


class RtspServer:
    """Serves rtsp://127.0.0.1:PORT/video. May be broken, and mended, on the same port."""

    def __init__(self, user: str = "", password: str = "", scheme: str = "basic", certificate: str = "") -> None:
        self.port = free_port()
        self._options = [f"--user={user}", f"--password={password}", f"--scheme={scheme}"]
        self._options.append(f"--certificate={certificate}")
        self._process: subprocess.Popen[str] | None = None
        self._mute: socket.socket | None = None
        self.start()

    @property
    def uri(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/video"

    @property
    def pid(self) -> int | None:
        """The server's process, where one runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        command = [PYTHON, "-m", "tests.rtsp_serving", str(self.port), *self._options]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "serves\n", "the RTSP server did not start"

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe
                pipe.close()
            self._process = None

    def freeze(self) -> None:
        """Let it hold every connection and say nothing more."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def still(self, on: bool) -> None:
        """Let pictures come whose timestamps stand still, or let these go on."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write("still\n" if on else "go\n")
        self._process.stdin.flush()

    def sent(self) -> int:
        """Return how many pictures this process has sent."""
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("count\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def mute(self) -> None:
        """Put something in its place that accepts and says nothing."""
        self.kill()
        self._mute = socket.create_server(("127.0.0.1", self.port), backlog=64)

    def unmute(self) -> None:
        if self._mute:
            self._mute.close()
            self._mute = None
            time.sleep(0.01)
        self.start()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mute:
            self._mute.close()
        self.kill()
