"""The daemon as a real process, and the child that builds its engine: both on a fake GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle
from tests.tiny import make_bundle, png, solid

ROOT = Path(__file__).resolve().parents[2]
GPU = (
    "from tests.edge.fake_gpu import FakeCudart, FakeTensorRT, install\n"
    "gpu = FakeCudart()\n"
    "api = FakeTensorRT(gpu)\n"
    "install(gpu, api)\n"
)
DAEMON = (
    "import sys\nimport edge.maker\n" + GPU + "edge.maker.COMMAND = (sys.executable, '-c', {child!r})\n"
    "from edge.cli.run import main\nmain()\n"
)
CHILD = GPU + "{before}\nfrom edge.maker_child import main\nmain()\n"
TIMEOUT = 90


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("take-over") / "bundle"
    return make_bundle(folder, runtimes=("onnxruntime", "tensorrt"), parity_images=90)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@contextmanager
def daemon(bundle: Bundle, cache: Path, *arguments: str, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """Start edge-run; `before`: what the child does before it builds."""
    script = DAEMON.format(child=CHILD.format(before=before))
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(bundle.folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(bundle: Bundle, cache: Path, *arguments: str) -> tuple[list[Any], str]:
    """Run it to its end, and return the events and what was said."""
    with daemon(bundle, cache, *arguments) as process:
        out, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()], err


def said(process: subprocess.Popen[str], *words: str) -> str:
    """Read what the daemon says until all of `words` were said."""
    assert process.stderr
    heard, end = "", time.monotonic() + TIMEOUT
    while time.monotonic() < end and not all(word in heard for word in words):
        line = process.stderr.readline()
        assert line, heard
        heard += line
    return heard


def test_a_bin_serves_at_once_and_is_taken_over(bundle: Bundle, cache: Path) -> None:
    with daemon(bundle, cache, "demo://?deposits=100000&width=64&height=48", "--bin", "b") as process:
        heard = said(process, "takes over")
        assert "edge-run: model.fp32.onnx on CPUExecutionProvider, source demo://" in heard
        assert "edge-run: engine: building the TensorRT engine of model.fp32.onnx for Fake Orin" in heard
        assert "edge-run: model.fp32.onnx on TensorRT takes over" in heard
        assert process.stdout
        events: list[Any] = []
        while not events or events[-1]["data"]["backend"] != "tensorrt":
            events.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
        events += [json.loads(line) for line in out.splitlines()]
    assert [event["sequence"] for event in events] == [str(number) for number in range(1, len(events) + 1)]
    backends = [event["data"]["backend"] for event in events]
    assert backends == sorted(backends)  # onnxruntime first, tensorrt after it, and never back


def test_the_next_start_is_immediate(bundle: Bundle, cache: Path, tmp_path: Path) -> None:
    with daemon(bundle, cache, "demo://?deposits=100000&width=64&height=48") as process:
        said(process, "takes over")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(png(solid("red")))
    events, err = run(bundle, cache, str(photos))
    assert [(event["data"]["label"], event["data"]["backend"]) for event in events] == [("red", "tensorrt")]
    assert "model.fp32.onnx on TensorRT, source" in err
    assert "building" not in err
    assert "parity" not in err


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("api.fails = 'out of GPU memory'", "out of GPU memory; free memory"),
        (
            "import numpy; api.distort = lambda said: numpy.roll(said, 1, axis=1)",
            "self-test failed in labels",
        ),
        ("import os, sys; print('9 %', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("import sys; sys.exit('the disk is on fire')", "the disk is on fire"),
    ],
)
def test_what_served_goes_on_where_the_build_fails(bundle: Bundle, cache: Path, before: str, words: str) -> None:
    source = "demo://?deposits=100000&width=64&height=48"
    with daemon(bundle, cache, source, "--backend", "tensorrt", before=before) as process:
        heard = said(process, "TensorRT does not serve")
        assert words in heard.splitlines()[-1]
        assert process.stdout
        event = json.loads(process.stdout.readline())
        assert event["data"]["backend"] == "onnxruntime"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0


def test_the_end_of_the_daemon_ends_the_build(bundle: Bundle, cache: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    before = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with daemon(bundle, cache, "demo://?deposits=100000&width=64&height=48", before=before) as process:
        child = _written(pid)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    assert not Path(f"/proc/{child}").exists()


def _written(path: Path) -> int:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()):
            return int(text)
        time.sleep(0.02)
    raise AssertionError("the child did not start")
