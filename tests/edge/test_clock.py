"""A wall clock that jumps, by libfaketime, in a real process with real time underneath."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.broker import Broker, Listener, free_port
from tests.certificates import Certificates
from tests.events import eventually

BIN = """
import logging, sys
from pathlib import Path
from edge.outbox import OutboxSettings
from edge.outlets import OutletSettings, opened
from edge.sinks import Rotation
from edge.sinks.mqtt_settings import MqttSettings
from edge.sinks.tls import TlsFiles
from tests.events import a_draft

logging.basicConfig(format="%(message)s")
folder = Path(sys.argv[1])
mqtt = MqttSettings("127.0.0.1", int(sys.argv[2]), TlsFiles(folder / "certificates" / "ca.pem"), keepalive=1)
file = (str(folder / "events.jsonl"),)
with opened(OutletSettings(file, Rotation(5000), OutboxSettings(folder / "outbox.db"), mqtt), "b") as outlets:
    for line in sys.stdin:
        events = [event for _ in range(int(line)) for event in outlets.ledger.commit(a_draft())]
        for event in events:
            outlets.sinks[0].write(event)
        print(events[-1].time, flush=True)
"""
"""Commits as many events as each line of stdin says, and prints what time it was."""


def faked(clock: Path) -> dict[str, str]:
    """Return the environment of a process whose wall clock is off by what stands in the file `clock`."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("no libfaketime here; apt-get install faketime")
    steady = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    own = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    return {**os.environ, **steady, **own}


class Bin:
    """A process that commits on demand."""

    def __init__(self, folder: Path, port: int) -> None:
        self._clock = folder / "clock"
        self.jump(-9000)  # a device whose clock has no battery, at boot
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BIN, str(folder), str(port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=faked(self._clock),
            )  # fmt: skip

    def jump(self, days: int) -> None:
        """Have its wall clock off by so many days."""
        new = self._clock.with_name("new")
        new.write_text(f"{days:+d}d\n")
        os.replace(new, self._clock)

    def commit(self) -> str:
        """Have ten events committed, and return the year in which they were."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("10\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()[:4]

    def said(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> Bin:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate(timeout=30)


def test_a_clock_that_jumps_changes_no_order_and_holds_up_nothing(tmp_path: Path) -> None:
    certificate, key = Certificates(tmp_path / "certificates").make("127.0.0.1")
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", f"certfile {certificate}", f"keyfile {key}")
    with Broker(tmp_path / "broker", *lines) as broker:
        with Listener(broker.port) as listener, Bin(tmp_path, port) as bin_:
            years = {bin_.commit()}
            eventually(lambda: "see that the clock is right" in bin_.said())
            assert not listener.events()
            bin_.jump(0)
            eventually(lambda: len(listener.events()) == 10)
            for count, days in enumerate((-30, 400, -400, 1, -1, 9000), start=2):
                bin_.jump(days)
                years.add(bin_.commit())
                eventually(lambda count=count: len(listener.events()) == 10 * count)
            broker.end()
            bin_.commit()
            eventually(lambda: "is gone" in bin_.said())
            bin_.jump(1)  # back, to a day on which the certificate holds
            bin_.commit()
            broker.start()
            eventually(lambda: len(listener.events()) >= 90)
    assert bin_.process.returncode == 0
    assert [*dict.fromkeys(listener.numbers())] == list(range(1, 91))
    assert len({(event["id"], event["epoch"]) for event in listener.events()}) == 90
    assert len(years) > 3, "the clock did jump"
    files = [file.read_text().splitlines() for file in sorted(tmp_path.glob("events.jsonl*"), reverse=True)]
    written = [int(json.loads(line)["sequence"]) for lines in files for line in lines]
    assert written == list(range(written[0], 91))
