"""The whole daemon, killed at random moments of start and work, and with it a real mosquitto.

`python -m benchmarks.daemon_kills [DAEMONS BROKERS]` is the short form of that part of `make proof-events`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.tally import Tally, drain, heard, killed_meanwhile
from tests.broker import Broker, Listener
from tests.tiny import make_bundle

COMMAND = (sys.executable, "-c", "from edge.cli.run import main; main()")
PHOTOS = 1000
"""In the folder that is watched, each a deposit: more than a life is long."""
STARTING = 0.25
"""Share of the kills that come while the daemon starts."""
START_S, LIFE_S = 1.0, 1.5
"""Longest time to a kill from the start of the process, and from the start of its work."""


def daemon_kills(daemons: int, brokers: int, acknowledge: str = "application", seed: int = 3) -> Tally:
    """Start edge-run again and again on one outbox, kill it and the broker, and compare what is known of all."""
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, path, events = make_bundle(folder / "bundle").folder, folder / "outbox.db", folder / "events.jsonl"
        with (
            Broker(folder / "broker") as broker,
            Listener(broker.port, acks=acknowledge == "application") as listener,
        ):
            options = ("--bin", "b", "--outbox", path, "--ack", acknowledge, "--events", events)
            command = (*COMMAND, bundle, _photos(folder), *options, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
            at = {*rng.sample(range(daemons), brokers)}
            for number in range(daemons):
                with killed_meanwhile(broker, number, at, rng, START_S + LIFE_S):
                    _one_life([*map(str, command)], rng)
            tally.last = drain(path, broker.port, acknowledge)
            tally.arrived = heard(listener)
        tally.committed = _written(events)
    return tally


def _photos(folder: Path) -> Path:
    """Make a folder of photos, large enough to take some milliseconds each."""
    photos = folder / "photos"
    photos.mkdir()
    first = photos / "0.jpg"
    cv2.imwrite(str(first), np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8))
    for number in range(1, PHOTOS):
        os.link(first, photos / f"{number}.jpg")
    return photos


def _one_life(command: list[str], rng: random.Random) -> None:
    """Start the daemon and kill it, a while after its first or after its second breath."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr
        if rng.random() < STARTING:
            time.sleep(rng.uniform(0, START_S))
        else:
            lines = []
            while "edge-run: model" not in (line := daemon.stderr.readline()):
                lines.append(line)
                if not line:
                    raise SystemExit(f"the daemon did not start: {''.join(lines)}")
            time.sleep(rng.uniform(0, LIFE_S))
        daemon.kill()


def _written(events: Path) -> dict[int, str]:
    """Return what the daemon wrote once it was committed. A line that a kill cut short is none."""
    known = {}
    for line in events.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        known[int(event["sequence"])] = event["id"]
    return known


if __name__ == "__main__":
    begun = time.monotonic()
    daemons, brokers = map(int, (*sys.argv[1:], "20", "5")[:2])
    found = daemon_kills(daemons, brokers)
    for row in found.rows("edge-run", "0"):
        print(*row, sep="; ")
    print(f"{len(found.committed)} of them in events.jsonl, {time.monotonic() - begun:.0f} s")
