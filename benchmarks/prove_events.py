"""No event that was committed is lost: kills of the daemon and of a real mosquitto, power cuts of a real ext4."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.daemon_kills import daemon_kills
from benchmarks.record import Row, keep
from benchmarks.tally import Tally, drain, heard, killed_meanwhile
from tests.broker import Broker, Listener
from tests.events import a_draft, bodies, open_outbox

DAEMON_KILLS, BROKER_KILLS, POWER_CUTS = 200, 50, 30

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN; with flag 2 nothing that is not on the disk gets there any more: a power cut."""

NO_LOG_FLUSH = 2

FORKS = """
import os, sys
from pathlib import Path
from edge.delivery import Delivery
from edge.ledger import Recorder
from edge.sinks.mqtt import Mqtt
from edge.sinks.mqtt_settings import Acknowledge, MqttSettings
from tests.events import a_draft, open_outbox
for _ in sys.stdin:
    if os.fork():
        os.wait()
        print("over", flush=True)
        continue
    print(os.getpid(), flush=True)
    import time
    settings = MqttSettings("127.0.0.1", int(sys.argv[2]), acknowledge=Acknowledge(sys.argv[3]), patience=5.0)
    with open_outbox(Path(sys.argv[1])) as outbox:
        recorder = Recorder(outbox, "b", lambda: delivery.wake())
        delivery = Delivery(Mqtt(settings, "b"), outbox.path, "b", recorder.post)
        delivery.start()
        while True:
            for event in recorder.commit(a_draft()):
                print(event.sequence, event.id, flush=True)
            time.sleep(0.02)
"""
"""Each line on stdin begins a bin that commits and delivers until it is killed, and says what it has committed."""

COMMITS = """
import sys
from pathlib import Path
from tests.events import a_draft, open_outbox
with open_outbox(Path(sys.argv[1])) as outbox:
    while True:
        for event in outbox.commit([a_draft()]):
            print(event.sequence, event.id, flush=True)
"""


def prove_events() -> bool:
    """Run all, and keep the figures."""
    every = f"{DAEMON_KILLS} daemon and {BROKER_KILLS} broker kills"
    whole = daemon_kills(DAEMON_KILLS, BROKER_KILLS)
    application = kills("application", DAEMON_KILLS, BROKER_KILLS)
    broker = kills("broker", DAEMON_KILLS, 0)
    both = kills("broker", DAEMON_KILLS, BROKER_KILLS)
    rows: list[Row] = [
        *whole.rows(f"the whole `edge-run --ack application`, {every}", "0"),
        *application.rows(f"its outbox alone, `--ack application`, {every}", "0"),
        *broker.rows(f"`--ack broker`, {DAEMON_KILLS} daemon kills", "0"),
        *both.rows(f"`--ack broker`, {every}", ""),
    ]
    cut = power_cuts(POWER_CUTS)
    if cut is None:
        rows.append(("power cuts", "not run: no root, or no loop device", "0 lost"))
    else:
        rows.append(
            (f"committed events lost in {POWER_CUTS} power cuts", f"{cut.lost()} of {len(cut.committed)}", "0")
        )
    rows.append(("a commit, median ms", f"{commit_ms():.1f}", ""))
    keep("events", "Kills -9 of a bin that delivers by a real mosquitto; power cuts of ext4", rows)
    total = whole.lost() + application.lost() + broker.lost() + (cut.lost() if cut else 0)
    return total + sum(tally.strange() for tally in (whole, application, broker, both)) == 0


def kills(acknowledge: str, daemons: int, brokers: int, seed: int = 1) -> Tally:
    """Kill bins and the broker at random moments, let all be delivered, and compare."""
    rng = random.Random(seed)
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "outbox.db"
        with (
            Broker(folder / "broker") as broker,
            Listener(broker.port, acks=acknowledge == "application") as listener,
        ):
            with _forks(path, broker.port, acknowledge) as forks:
                at = {*rng.sample(range(daemons), brokers)}
                for number in range(daemons):
                    with killed_meanwhile(broker, number, at, rng, 0.3):
                        tally.committed.update(_one_life(forks, rng.uniform(0.05, 0.6)))
            drain(path, broker.port, acknowledge)
            tally.arrived = heard(listener)
    return tally


@contextmanager
def _forks(path: Path, port: int, acknowledge: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", FORKS, str(path), str(port), acknowledge]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:
        yield forks
        assert forks.stdin
        forks.stdin.close()


def _one_life(forks: subprocess.Popen[str], seconds: float) -> dict[int, str]:
    assert forks.stdin
    assert forks.stdout
    forks.stdin.write("\n")
    forks.stdin.flush()
    process = int(forks.stdout.readline())
    timer = threading.Timer(seconds, os.kill, (process, signal.SIGKILL))
    timer.start()
    said: dict[int, str] = {}
    while not (line := forks.stdout.readline()).endswith("over\n"):
        number, id_ = line.split()
        said[int(number)] = id_
    timer.join()
    return said  # what stood before "over" on its line was cut short by the kill


def power_cuts(count: int, seed: int = 2) -> Tally | None:
    """Cut the power under an outbox on an ext4 of its own. None where this machine can't."""
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        return None
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        image, disk = Path(name) / "image", Path(name) / "disk"
        disk.mkdir()
        with image.open("wb") as file:
            file.truncate(128 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        for _ in range(count):
            if subprocess.run(["mount", "-o", "loop", image, disk], check=False, capture_output=True).returncode:
                return None
            tally.committed.update(_until_the_cut(disk, rng.uniform(0.2, 1.5)))
            subprocess.run(["umount", disk], check=True)
        subprocess.run(["mount", "-o", "loop", image, disk], check=True)
        try:
            tally.arrived = _there(disk / "outbox.db")
        finally:
            subprocess.run(["umount", disk], check=True)
    return tally


def _until_the_cut(disk: Path, seconds: float) -> dict[int, str]:
    command = [sys.executable, "-c", COMMITS, str(disk / "outbox.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout
        lines = [child.stdout.readline()]
        timer = threading.Timer(seconds, _cut, (disk, child))
        timer.start()
        lines += child.stdout.readlines()
        timer.join()
    return {int(number): id_ for number, id_ in (line.split() for line in lines if line.endswith("\n"))}


def _cut(disk: Path, child: subprocess.Popen[str]) -> None:
    handle = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, SHUTDOWN, NO_LOG_FLUSH.to_bytes(4, "little"))
    finally:
        os.close(handle)
    child.kill()


def _there(path: Path) -> list[tuple[int, str]]:
    open_outbox(path).close()
    return [(int(event["sequence"]), event["id"]) for event in bodies(path)]


def commit_ms(count: int = 300) -> float:
    """Return how long one commit takes in a temporary folder, in milliseconds."""
    taken = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, open_outbox(Path(name) / "outbox.db") as outbox:
        for _ in range(count):
            begun = time.perf_counter()
            outbox.commit([a_draft()])
            taken.append((time.perf_counter() - begun) * 1e3)
    return median(taken)


if __name__ == "__main__":
    print(json.dumps({"passed": prove_events()}))
