"""Who supervises the daemon: in simulated time, and as a real process whose parts are stopped in turn."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.board import Board
from edge.delivery import Delivery
from edge.pending import Row
from edge.snapshot import Part, Vitals
from edge.sources import Gap
from edge.supervise import Orders, Watchdog, orders, status, to_mend
from tests.broker import free_port
from tests.edge.fake_camera import Play, openings, write_script
from tests.events import a_draft, bodies, eventually, open_outbox
from tests.supervisor import Supervisor
from tests.tiny import make_bundle

PATIENCE = 4.0
SOON = 60.0
"""Seconds that a busy machine may need for what takes some."""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Heard:
    """A watchdog on a clock of its own, and what it says."""

    clock: Clock
    board: Board
    watchdog: Watchdog
    socket: socket.socket

    def beat(self, seconds: float = 0.0) -> list[str]:
        """Let time go by, beat, and return what was said."""
        self.clock.now += seconds
        self.board.enter(Part.LOOP)
        self.watchdog.beat()
        return self.words()

    def words(self) -> list[str]:
        try:
            return self.socket.recv(65536, socket.MSG_DONTWAIT).decode().split("\n")
        except BlockingIOError:
            return []


@contextmanager
def hearing(tmp_path: Path, patience: float = 10.0) -> Iterator[Heard]:
    clock = Clock()
    board = Board("bin", clock)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "ear"))
        with Watchdog(Orders(str(tmp_path / "ear"), patience), board.snapshot, clock) as watchdog:
            heard = Heard(clock, board, watchdog, ear)
            assert heard.words() == ["READY=1"]
            yield heard
        assert "STOPPING=1" in heard.words()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "1000000"}, None),
        ({"NOTIFY_SOCKET": "/run/n"}, Orders("/run/n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "4000000"}, Orders("@n", 4.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "7"}, Orders("@n", 4.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "8"}, Orders("@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "0"}, Orders("@n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "soon"}, Orders("@n")),
        ({"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "4000000"}, None),
        ({"NOTIFY_SOCKET": "run/n"}, None),
    ],
)
def test_what_a_supervisor_asks_for(environment: dict[str, str], expected: Orders | None) -> None:
    assert orders(environment, 7) == expected


def test_a_word_a_second_and_more_often_where_patience_is_short(tmp_path: Path) -> None:
    with hearing(tmp_path) as heard:
        assert "WATCHDOG=1" in heard.beat()
        assert [bool(heard.beat(0.25)) for _ in range(8)] == [False, False, False, True] * 2
    (tmp_path / "ear").unlink()
    with hearing(tmp_path, patience=0.5) as heard:
        heard.beat()
        assert all("WATCHDOG=1" in heard.beat(0.25) for _ in range(8))


def test_nobody_who_listens_is_no_trouble(tmp_path: Path) -> None:
    clock = Clock()
    board = Board("bin", clock)
    with Watchdog(None, board.snapshot, clock) as watchdog:
        watchdog.beat()
    with Watchdog(Orders(str(tmp_path / "nobody"), 2.0), board.snapshot, clock) as watchdog:
        watchdog.beat()
    with hearing(tmp_path) as heard:  # a supervisor that is stopped: its queue fills, and the bin does not wait
        for _ in range(1000):
            heard.clock.now += 1
            heard.watchdog.beat()
        kept = 0
        while heard.words():
            kept += 1
        assert 0 < kept < 1000, "what its queue had no room for is let go"


def test_what_a_restart_might_mend(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hearing(tmp_path) as heard:
        heard.board.enter(Part.CAMERA)
        heard.board.gap(Gap(1.0, 90.0, "the camera is away"))
        said = heard.beat(3600)
        assert "WATCHDOG=1" in said  # a lost camera is tried again by the daemon
        assert "camera: the camera is away, for 3600 s" in said[0]
        heard.board.vitals(Vitals(unwritten=3))
        said = heard.beat(3600)
        assert "WATCHDOG=1" in said  # a full disk is tried again, and decisions wait in memory
        assert "the disk takes no events, for 3600 s" in said[0]
        heard.board.vitals(Vitals(delivery_s=299.0))
        assert "WATCHDOG=1" in heard.beat(1)
        assert not caplog.records
        heard.board.vitals(Vitals(delivery_s=301.0))
        for _ in range(3):
            said = heard.beat(1)
            assert "WATCHDOG=1" not in said
            assert "outbox: who delivers events does not get on, for 301 s" in said[0]
        assert [record.message for record in caplog.records] == [
            "outbox stands still: who delivers events does not get on, for 301 s; the supervisor is not told that "
            "all is well any more"
        ]
        heard.board.vitals(Vitals())
        assert "WATCHDOG=1" in heard.beat(1)


@pytest.mark.parametrize("part", [*Part])
def test_each_part_that_does_not_come_back(part: Part) -> None:
    clock = Clock()
    board = Board("bin", clock)
    board.enter(part)
    clock.now += 4.0
    assert to_mend(board.snapshot()) is None
    clock.now += 8.0
    still = to_mend(board.snapshot())
    assert (still.part if still else Part.START) is part


def test_a_status_is_one_line() -> None:
    clock = Clock()
    board = Board("bin", clock)
    assert status(board.snapshot()) == "starting, or waiting for room in the outbox"
    board.enter(Part.LOOP)
    board.gap(Gap(0.0, 0.0, "gone\nfor good"))
    clock.now += 20
    assert "\n" not in status(board.snapshot())


class Stuck:
    """A remote sink whose every connection hangs until the test is over."""

    name, place, window, patience = "mqtt", "mqtt://nowhere", 1, None

    def __init__(self) -> None:
        import threading

        self.go = threading.Event()

    def connect(self, epoch: str, ended: object) -> None:
        self.go.wait(SOON)

    def send(self, row: Row, *, ahead: bool = False) -> None: ...

    def arrived(self) -> bool:
        return True

    def receive(self, wake: object, seconds: float) -> list[object]:
        return []

    def close(self) -> None: ...


def test_a_delivery_that_hangs_is_seen(tmp_path: Path) -> None:
    clock, stuck = Clock(), Stuck()
    with open_outbox(tmp_path / "outbox.db") as outbox:
        outbox.commit([a_draft()])
        delivery = Delivery(stuck, outbox.path, "b", print, clock)  # type: ignore[arg-type]
        delivery.start()
        clock.now += 400
        assert delivery.absent_s == 400
        stuck.go.set()
        eventually(lambda: delivery.absent_s == 0)
        delivery.close(0.0)


@dataclass
class Bin:
    """A bin under a supervisor, with events that wait for a broker that is not there."""

    folder: Path
    supervisor: Supervisor

    @classmethod
    def make(cls, folder: Path, bundle: Path, source: str) -> Bin:
        folder.mkdir()
        command = [
            sys.executable, "-m", "tests.edge.supervised_bin", folder, bundle, source, "--bin", "b",
            "--events", folder / "events.jsonl", "--outbox", folder / "outbox.db",
            "--mqtt", f"mqtt://127.0.0.1:{free_port()}",
        ]  # fmt: skip
        return cls(folder, Supervisor(command, folder, PATIENCE, abstract=source == "deposits://"))

    def committed(self) -> list[tuple[str, str]]:
        """What was said to be committed: a line is written once the outbox has the event."""
        try:
            text = (self.folder / "events.jsonl").read_text()
        except FileNotFoundError:
            return []
        events = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(event["sequence"], event["id"]) for event in events]

    def came_back(self) -> bool:
        lives = self.supervisor.lives
        return len(lives) > 1 and bool(lives[-1].pings) and bool(lives[0].silenced)

    def check(self) -> None:
        """It was ended for its silence and started again, once, and all that was committed is there."""
        first, *others = self.supervisor.lives
        assert len(others) == 1, self.supervisor.log.read_text()
        assert first.silenced
        waiting = [(event["sequence"], event["id"]) for event in bodies(self.folder / "outbox.db")]
        assert {*self.committed()} <= {*waiting}
        assert [number for number, _ in waiting] == [str(number) for number in range(1, len(waiting) + 1)]
        if others[0].ready:
            print(f"{self.folder.name}: ready {others[0].ready - first.pings[-1]:.1f} s after its last word")


LOCK = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
"""A process that takes the outbox's file and is stopped: a disk that does not answer."""


def test_a_daemon_any_part_of_which_is_stopped_goes_on(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle").folder
    (tmp_path / "camera").mkdir()
    write_script(tmp_path / "camera", [Play(fps=15.0)])
    capture, *others = bins = [
        Bin.make(tmp_path / "capture", bundle, f"fake://x@{tmp_path}/camera"),
        *(Bin.make(tmp_path / part, bundle, "deposits://") for part in ("inference", "outbox", "daemon")),
    ]
    inference, outbox, daemon = others
    with capture.supervisor, inference.supervisor, outbox.supervisor, daemon.supervisor:
        for one in bins:
            eventually(lambda one=one: one.supervisor.lives and one.supervisor.lives[-1].pings, SOON)  # type: ignore[misc]
        for one in others:
            eventually(lambda one=one: len(one.committed()) > 2, SOON)  # type: ignore[misc]

        os.kill(openings(tmp_path / "camera")[0][1], signal.SIGSTOP)
        (inference.folder / "hang").write_text("")
        os.kill(daemon.supervisor.pid, signal.SIGSTOP)
        command = [sys.executable, "-c", LOCK, str(outbox.folder / "outbox.db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as lock:
            assert lock.stdout
            assert lock.stdout.readline() == b"held\n"
            stopped = time.monotonic()

            eventually(lambda: inference.supervisor.lives[0].silenced, SOON)
            (inference.folder / "hang").unlink()
            eventually(lambda: outbox.supervisor.lives[0].silenced, SOON)
            lock.kill()
        for one in others:
            eventually(one.came_back, SOON)
            more = len(one.committed())
            eventually(lambda one=one, more=more: len(one.committed()) > more, SOON)  # type: ignore[misc]

        # The child that reads a camera is killed and replaced by the daemon itself.
        eventually(lambda: len(openings(tmp_path / "camera")) > 1, SOON)
        seen = len(capture.supervisor.lives[0].pings)
        eventually(lambda: len(capture.supervisor.lives[0].pings) > seen + 1, SOON)
    assert len(capture.supervisor.lives) == 1
    assert openings(tmp_path / "camera")[1][0] - stopped < SOON
    for one in others:
        one.check()
    said = inference.supervisor.log.read_text()
    assert "Fatal Python error: Aborted" in said
    assert "in hanging" in said  # and where it was
