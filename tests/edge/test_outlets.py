"""edge-run with its outlets, as a real process on a real broker."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import SinkError
from edge.event import Event
from edge.outlets import Spare
from tests.broker import Broker, Listener, free_port
from tests.edge.test_run_command import TIMEOUT, check_error, edge_run, lines, start
from tests.events import bodies, eventually
from tests.tiny import make_bundle

FEW = "demo://?deposits=3&width=160&height=120"
LONG = "demo://?deposits=100000&width=64&height=48"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("outlets") / "bundle", reject_threshold=0.9).folder


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as broker:
        yield broker


def test_to_a_broker_and_a_file(bundle: Path, tmp_path: Path, broker: Broker) -> None:
    events = tmp_path / "events.jsonl"
    with Listener(broker.port) as listener:
        url = f"mqtt://127.0.0.1:{broker.port}"
        done = edge_run(bundle, FEW, "--mqtt", url, "--bin", "k", "--events", events, XDG_STATE_HOME=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        eventually(lambda: len(listener.events()) == 3)
    assert listener.events() == lines(events.read_text())
    assert {topic for topic, *_ in listener.messages} == {"binsight/k/available", "binsight/k/events"}
    assert (tmp_path / "binsight" / "outbox-k.db").is_file()


def test_what_a_killed_daemon_had_decided_comes_from_the_next(bundle: Path, tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.db"
    port = free_port()
    options = ("--mqtt", f"mqtt://127.0.0.1:{port}", "--bin", "k", "--outbox", outbox)
    with start(bundle, LONG, *options) as process:
        eventually(lambda: outbox.exists() and count(outbox) >= 3, TIMEOUT)
        process.send_signal(signal.SIGKILL)
    known = {event["sequence"]: event["id"] for event in bodies(outbox)}
    with Broker(tmp_path / "broker") as broker:
        options = ("--mqtt", f"mqtt://127.0.0.1:{broker.port}", *options[2:])
        with Listener(broker.port) as listener:
            assert edge_run(bundle, FEW, *options).returncode == 0
            eventually(lambda: len(listener.events()) == len(known) + 3)
    got = {event["sequence"]: event["id"] for event in listener.events()}
    assert {number: got.get(number) for number in known} == known
    assert sorted(map(int, got)) == list(range(1, len(known) + 4))


def count(outbox: Path) -> int:
    try:
        return len(bodies(outbox))
    except (SinkError, sqlite3.Error):  # it is being made
        return 0


def test_numbers_go_on_over_restarts_with_an_outbox_alone(bundle: Path, tmp_path: Path) -> None:
    options = ("--outbox", tmp_path / "outbox.db", "--events", "-")
    said = [lines(edge_run(bundle, FEW, *options).stdout) for _ in range(2)]
    assert [event["sequence"] for run in said for event in run] == ["1", "2", "3", "4", "5", "6"]
    assert len({event["epoch"] for run in said for event in run}) == 1


def test_a_second_daemon_on_one_outbox_is_one_line(bundle: Path, tmp_path: Path) -> None:
    options = ("--outbox", tmp_path / "outbox.db")
    with start(bundle, LONG, *options) as process:
        assert process.stdout
        process.stdout.readline()
        check_error(
            edge_run(bundle, FEW, *options), "outbox.db is the outbox of another edge-run", str(process.pid)
        )
        process.kill()


def test_a_broken_outbox_is_set_aside_and_the_daemon_runs(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"broken" * 1000)
    done = edge_run(bundle, FEW, "--outbox", tmp_path / "outbox.db")
    assert done.returncode == 0
    assert "it was set aside as" in done.stderr
    assert len(lines(done.stdout)) == 3


def test_a_file_that_fails_does_not_end_a_bin_that_has_an_outbox(
    bundle: Path, tmp_path: Path, broker: Broker
) -> None:
    options = ("--mqtt", f"mqtt://127.0.0.1:{broker.port}", "--outbox", tmp_path / "outbox.db", "--bin", "k")
    with Listener(broker.port) as listener:
        done = edge_run(bundle, FEW, *options, "--events", "/dev/full")
        assert done.returncode == 0
        eventually(lambda: len(listener.events()) == 3)
    assert done.stderr.count("No space left on device") == 1


def test_a_full_outbox_that_may_drop_nothing_is_waited_for(bundle: Path, tmp_path: Path) -> None:
    with Broker(tmp_path / "broker") as broker:
        options: tuple[object, ...] = (
            "--mqtt",
            f"mqtt://127.0.0.1:{broker.port}",
            "--outbox",
            tmp_path / "outbox.db",
        )
        options = (*options, "--outbox-limit", "1", "--outbox-full", "stop")
        assert edge_run(bundle, FEW, *options).returncode == 0
        broker.end()
        connection = sqlite3.connect(tmp_path / "outbox.db")
        with connection:
            connection.execute("INSERT INTO events VALUES (1000, 't', '{}', 1048576, 0)")
            connection.execute("UPDATE state SET last = 1000")
        connection.close()
        with start(bundle, FEW, *options) as process:
            assert process.stderr
            eventually(lambda: "is full: the bin waits" in process.stderr.readline(), TIMEOUT)
            process.send_signal(signal.SIGTERM)  # it can be ended meanwhile
            _, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, err
        broker.start()
        done = edge_run(bundle, FEW, *options)
        assert done.returncode == 0, done.stderr
        assert "3 decisions" in done.stderr


def test_the_flap_moves_with_each_decision(bundle: Path, tmp_path: Path) -> None:
    script = tmp_path / "flap.sh"
    script.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/moved\n')
    script.chmod(0o755)
    done = edge_run(bundle, FEW, "--flap", f"{script} {{label}}")
    assert done.returncode == 0, done.stderr
    moved = (tmp_path / "moved").read_text().split()
    assert sorted(moved) == sorted(event["data"]["label"] for event in lines(done.stdout))


def test_files_rotate(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b"x" * (1 << 20) + b"\n")
    done = edge_run(
        bundle, FEW, "--events", tmp_path / "events.jsonl", "--events-rotate", "1", "--events-keep", "1"
    )
    assert done.returncode == 0, done.stderr
    assert len(lines((tmp_path / "events.jsonl").read_text())) == 3
    assert (tmp_path / "events.jsonl.1").stat().st_size == (1 << 20) + 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mqtt", "broker:1883"], ["--mqtt", "expected mqtt://HOST[:1883] or mqtts://HOST[:8883]"]),
        (["--mqtt", "mqtt://u:s3cret@host/path"], ["mqtt://host/path", "--mqtt-prefix"]),
        (["--mqtt", "mqtt://host", "--mqtt-prefix", "a/#"], ["--mqtt-prefix is 'a/#'"]),
        (["--mqtt", "mqtt://host", "--mqtt-ca", "ca.pem"], ["expected mqtts://"]),
        (["--mqtt", "mqtts://host", "--mqtt-ca", "nowhere.pem"], ["nowhere.pem", "No such file"]),
        (["--mqtt", "mqtt://host", "--mqtt-password-file", "nowhere"], ["--mqtt-password-file nowhere"]),
        (["--webhook", "ftp://u:s3cret@host/"], ["--webhook is ftp://host/", "https://HOST"]),
        (["--flap", "no-such-program"], ["--flap", "no-such-program"]),
        (["--events-rotate", "5"], ["--events-rotate", "--events"]),
        (["--outbox", "/proc/nowhere/outbox.db"], ["--outbox"]),
        (["--outbox-full", "explode"], ["drop-oldest"]),
    ],
)
def test_wrong_options_are_one_line_without_secrets(
    bundle: Path, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    done = edge_run(bundle, FEW, *options, XDG_STATE_HOME=str(tmp_path))
    check_error(done, *words)
    assert "s3cret" not in done.stderr


def test_the_password_is_in_no_output(bundle: Path, tmp_path: Path) -> None:
    options = (
        "--mqtt",
        f"mqtt://bin:s3cret@127.0.0.1:{free_port()}",
        "--outbox",
        tmp_path / "outbox.db",
        "--debug",
    )
    done = edge_run(bundle, FEW, *options)
    assert done.returncode == 0
    assert "can't be reached: Connection refused" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout


class Failing:
    fails = True

    def __init__(self) -> None:
        self.written = 0

    def write(self, event: Event[object]) -> None:
        if self.fails:
            raise SinkError("no room")
        self.written += 1


def test_a_spare_sink_is_said_once_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing()
    spare = Spare(failing)  # type: ignore[arg-type]
    for _ in range(3):
        spare.write(None)  # type: ignore[arg-type]
    failing.fails = False
    spare.write(None)  # type: ignore[arg-type]
    assert caplog.text.count("no room") == 1
    assert "events are written again; 3 were missed" in caplog.text
    assert failing.written == 1
