"""An engine built in a real child process, which is bounded, heard, and ends with whoever wanted it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.backends import Options
from edge.errors import BackendError
from edge.maker import LESS, EngineMaker
from edge.maker_child import Task, encode
from edge.manifest import Precision

SOON = 30.0
READY: Any = object()
"""What the maker opens."""


def _maker(tmp_path: Path, script: str, **others: Any) -> EngineMaker:
    task = Task("bundle", Precision.FP16, Options(cache=tmp_path / "engines"), False, os.getpid())
    others = {"open": lambda: READY, **others}
    return EngineMaker(task, command=(sys.executable, "-c", script), **others)


def _wait(maker: EngineMaker) -> Any:
    """Poll as the loop does, until the maker has ended."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        found = maker.poll()
        if found is not None or not maker.is_working:
            return found or maker.poll()
        time.sleep(0.01)
    raise AssertionError("the maker did not end")


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class TestMaker:
    def test_the_engine_is_given_once(self, tmp_path: Path) -> None:
        with _maker(tmp_path, "") as maker:
            assert _wait(maker) is READY
            assert maker.poll() is None

    def test_what_the_child_says_is_logged(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with (
            caplog.at_level(logging.INFO),
            _maker(tmp_path, "import sys; sys.stderr.write('half\\ndone\\n')") as maker,
        ):
            assert _wait(maker) is READY
        assert [record.getMessage() for record in caplog.records] == ["engine: half", "engine: done"]

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("import sys; print('one', file=sys.stderr); sys.exit('out of memory')", "out of memory"),
            ("import sys; sys.exit(3)", "the build ended with 3"),
            (
                "import os, sys; print('40 %', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)",
                f"the build was ended by SIGKILL, as it is where memory runs out: {LESS}",
            ),
        ],
    )
    def test_a_failure_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, script: str, words: str
    ) -> None:
        with _maker(tmp_path, script, open=lambda: pytest.fail("nothing to open")) as maker:
            assert _wait(maker) is None
        assert caplog.records[-1].getMessage() == f"TensorRT does not serve: {words}"

    def test_an_engine_that_does_not_open_is_said(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def refuse() -> Any:
            raise BackendError("it answers otherwise")

        with _maker(tmp_path, "", open=refuse) as maker:
            assert _wait(maker) is None
        assert caplog.messages == ["TensorRT does not serve: it answers otherwise"]

    def test_its_memory_is_bounded(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        script = "import time\nheld = bytearray(b'x') * 300_000_000\ntime.sleep(60)"
        begun = time.monotonic()
        with _maker(tmp_path, script, limit=100 << 20) as maker:
            assert _wait(maker) is None
        assert time.monotonic() - begun < SOON
        assert "MiB of memory, allowed 100" in caplog.text

    def test_the_end_of_the_daemon_is_that_of_the_child(self, tmp_path: Path) -> None:
        script = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
        with _maker(tmp_path, script):
            process = _pid(tmp_path / "pid")
            assert _alive(process)
        assert not _alive(process)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("engine-maker")]

    def test_a_late_engine_is_closed(self, tmp_path: Path) -> None:
        closed = []

        class Late:
            def close(self) -> None:
                closed.append(True)

        def slow() -> Any:
            time.sleep(0.3)
            return Late()

        opening = threading.Event()

        def open_slowly() -> Any:
            opening.set()
            return slow()

        with _maker(tmp_path, "", open=open_slowly):
            assert opening.wait(SOON)
        assert closed == [True]

    def test_a_folder_that_can_not_be_made(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "engines").write_text("in the way")
        with _maker(tmp_path, "") as maker:
            assert _wait(maker) is None
        assert "keeps its TensorRT engines, can't be written (File exists): make room" in caplog.text

    def test_a_fault_is_said_too(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> Any:
            raise RuntimeError("as the bindings do")

        with _maker(tmp_path, "", open=fail) as maker:
            assert _wait(maker) is None
        assert caplog.messages == ["TensorRT does not serve: fault in binsight: RuntimeError: as the bindings do"]


class TestChild:
    def test_nothing_is_built_for_nobody(self, tmp_path: Path) -> None:
        done = _child(Task("bundle", None, Options(cache=tmp_path), allow_failed=False, parent=1))
        assert (done.returncode, done.stderr) == (2, "the daemon that wanted it has gone\n")

    def test_an_error_is_one_line(self, tmp_path: Path) -> None:
        done = _child(Task(str(tmp_path / "none"), None, Options(cache=tmp_path), False, os.getpid()))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "is no bundle" in done.stderr

    def test_it_dies_with_the_daemon(self, tmp_path: Path) -> None:
        """Also of kill -9, which leaves nobody to stop it."""
        pid = tmp_path / "pid"
        child = (
            "import os, sys, time\nfrom edge.maker_child import _humble\n_humble(os.getppid())\n"
            f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
        )
        daemon = subprocess.Popen(
            [sys.executable, "-c", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"]
        )
        process = _pid(pid)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process) >= min(19, own + 10)
        assert Path(f"/proc/{process}/oom_score_adj").read_text() == "1000\n"
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        end = time.monotonic() + SOON
        while _alive(process) and time.monotonic() < end:
            time.sleep(0.02)
        assert not _alive(process)


def _child(task: Task) -> subprocess.CompletedProcess[str]:
    script = "from edge.maker_child import main; main()"
    command = [sys.executable, "-c", script, encode(task)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _pid(path: Path) -> int:
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        if path.exists() and (text := path.read_text()):
            return int(text)
        time.sleep(0.02)
    raise AssertionError("the child did not start")


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING):
        yield
