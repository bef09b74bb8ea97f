"""An hour of the daemon at 15 FPS, a fault every two minutes: it neither grows nor slows down, nor loses count."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.made import mobilenet
from benchmarks.record import Row, keep
from benchmarks.soak import SETTLED_S, Calm, Held, Watched, Watcher, World, point
from tests.broker import Broker, Listener, free_port
from tests.rtsp_server import RtspServer, missing
from tests.supervisor import Supervisor

MINUTES = 60
FAULT_S, PAUSE_S, SHORT_PAUSE_S = 8.0, 120.0, 20.0
"""How long a fault lasts; from one to the next in a long run, and in one that is shorter than LONG minutes."""
LONG = 15
WARM_SHARE, MOST_WARM_S = 1 / 6, 600.0
"""What of a run counts as its beginning, in which memory may grow: ten minutes of an hour."""
THROW = "sh -c 'while sleep 2; do echo; done'"
"""What throws something in."""

MOST_SLOPE_MIB, MOST_GAP_S, MOST_RATIO = 1.0, 1.0, 3.5
MOST_UNKNOWN = 20
"""Pictures between two faults that are on their way, or skipped since the counter was last renewed."""


def prove_soak(minutes: int = MINUTES) -> bool:
    """Run it for so many minutes, and keep the figures."""
    if lacks := missing():
        sys.exit(f"the proof needs an RTSP server: apt-get install {' '.join(lacks)}")
    found = soak(minutes)
    title = (
        f"{minutes} minutes of `edge-run` on a real RTSP server at 15 FPS; a fault every {_pause(minutes):.0f} s"
    )
    keep("soak", title, rows(found))
    return passed(found)


@dataclass(frozen=True)
class Soaked:
    """What was found."""

    seen: Watched
    summary: dict[str, Any]
    """The daemon's own."""
    came: int
    """Events that arrived."""
    lost: int
    """Numbers below the newest that did not."""
    restarts: int
    """By the supervisor."""


def soak(minutes: float) -> Soaked:
    """Run the daemon for so long, and let things fail around it."""
    with tempfile.TemporaryDirectory() as name, _disk(Path(name) / "disk") as disk:
        folder = Path(name)
        bundles = mobilenet(folder / "one").folder, mobilenet(folder / "two", seed=1).folder
        point(folder / "bundle", bundles[0])
        port = free_port()
        with RtspServer() as server, Broker(folder / "broker") as broker, Listener(broker.port) as listener:
            command = [
                Path(sys.executable).parent / "edge-run", folder / "bundle", server.uri, "--bin", "b", "--json",
                "--trigger", THROW, "--trigger-hold", "0", "--events", disk / "events.jsonl",
                "--outbox", disk / "outbox.db", "--outbox-limit", "4", "--mqtt", f"mqtt://127.0.0.1:{broker.port}",
                "--web", str(port),
            ]  # fmt: skip
            with Supervisor([str(word) for word in command], folder, patience=10.0) as supervisor:
                world = World(server, broker, supervisor, disk, bundles, folder / "bundle")
                watcher = Watcher(world, f"http://127.0.0.1:{port}/")
                try:
                    _suffer(world, watcher, minutes)
                    restarts = len(supervisor.lives) - 1
                    summary = _stop(supervisor)
                finally:
                    sys.stderr.write(supervisor.log.read_text())
            _all_arrives(listener)
            numbers = [int(event["sequence"]) for event in listener.events()]
            lost = max(numbers, default=0) - len({*numbers})
            return Soaked(watcher.seen, summary, len(numbers), lost, restarts)


def _suffer(world: World, watcher: Watcher, minutes: float) -> None:
    """Let one thing after the other fail for so long."""
    _until(lambda: bool(world.supervisor.lives and world.supervisor.lives[-1].pings))
    end, pause = time.monotonic() + minutes * 60, _pause(minutes)
    watcher.start()
    time.sleep(SETTLED_S)
    kinds = [*world.faults().items()]
    number = 0
    while time.monotonic() + pause + FAULT_S < end:
        before = world.server.sent(), watcher.known()
        time.sleep(pause - FAULT_S - SETTLED_S)
        after = world.server.sent(), watcher.known()
        watcher.seen.calms.append(Calm(after[0] - before[0], after[1] - before[1]))
        name, (begin, finish) = kinds[number % len(kinds)]
        begun = time.monotonic()
        begin()
        time.sleep(FAULT_S)
        finish()
        time.sleep(SETTLED_S)
        watcher.seen.faults.append((name, begun, time.monotonic()))
        number += 1
    watcher.end()


def _stop(supervisor: Supervisor) -> dict[str, Any]:
    os.kill(supervisor.pid, signal.SIGTERM)
    _until(lambda: supervisor.lives[0].ended is not None)
    lines = [line for line in supervisor.log.read_text().splitlines() if line.startswith("{")]
    summary: dict[str, Any] = json.loads(lines[0]) if lines else {}
    return summary


def _all_arrives(listener: Listener) -> None:
    """Wait until nothing more comes."""
    last = -1
    while last != len(listener.messages):
        last = len(listener.messages)
        time.sleep(3)


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    """Give a file system of 16 MB, where this machine lets us."""
    folder.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=False, capture_output=True
    ).returncode
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)


def slope(held: Sequence[Held], of: str) -> float:
    """Return by how many MiB an hour it grew, once warm, by least squares."""
    warm = held[0].time + min(MOST_WARM_S, (held[-1].time - held[0].time) * WARM_SHARE)
    points = [(one.time, getattr(one, of)) for one in held if one.time >= warm and getattr(one, of)]
    times, values = np.array(points).T
    return float(np.polyfit(times / 3600, values, 1)[0])


def rows(found: Soaked) -> list[Row]:
    """Lay the figures out."""
    seen, names = found.seen, [name for name, _, _ in found.seen.faults]
    sent, known = (sum(getattr(one, of) for one in seen.calms) for of in ("sent", "known"))
    infer = found.summary["latency_ms"]["infer"]
    return [
        ("faults", ", ".join(f"{name} {names.count(name)}" for name in dict.fromkeys(names)), ""),
        ("memory of the daemon, MiB an hour", f"{slope(seen.held, 'parent_mib'):+.2f}", f"< {MOST_SLOPE_MIB:g}"),
        ("memory of the capture child, MiB an hour", f"{slope(seen.held, 'child_mib'):+.2f}", ""),
        ("memory of both in the first quarter, MiB", _quarters(seen.held, "parent_mib", "child_mib")[0], ""),
        ("memory of both in the last quarter, MiB", _quarters(seen.held, "parent_mib", "child_mib")[1], ""),
        ("open files and threads, first quarter", _quarters(seen.held, "files", "threads")[0], ""),
        ("open files and threads, last quarter", _quarters(seen.held, "files", "threads")[1], "as the first"),
        ("longest gap outside of faults, s", f"{max(seen.calm_ages()):.2f}", f"at most {MOST_GAP_S:g}"),
        ("inference, p50 and p99, ms", f"{infer['p50']:.2f}, {infer['p99']:.2f}", f"p99 <= {MOST_RATIO} p50"),
        ("pictures sent between faults; looked at or counted as skipped", f"{sent}, {known}", ""),
        ("most apart between two faults", str(max(map(_apart, seen.calms))), f"at most {MOST_UNKNOWN}"),
        ("decisions", str(found.summary["decisions"]), ""),
        ("events that came, numbers that are missing", f"{found.came}, {found.lost}", "0 missing"),
        ("camera opened again", str(found.summary["reopened"]), ""),
        ("restarts by the supervisor", str(found.restarts), "0"),
    ]


def passed(found: Soaked) -> bool:
    """Whether all is as it should be."""
    infer, seen = found.summary["latency_ms"]["infer"], found.seen
    steady = infer["p99"] <= MOST_RATIO * infer["p50"] and max(seen.calm_ages()) <= MOST_GAP_S
    flat = slope(seen.held, "parent_mib") < MOST_SLOPE_MIB
    counted = max(map(_apart, seen.calms)) <= MOST_UNKNOWN
    return counted and steady and flat and not found.lost and not found.restarts


def _apart(calm: Calm) -> int:
    return abs(calm.sent - calm.known)


def _quarters(held: Sequence[Held], *what: str) -> tuple[str, str]:
    """Return the medians in the first quarter and in the last."""
    size = max(1, len(held) // 4)
    first, last = (
        ", ".join(f"{median(getattr(one, of) for one in part):.0f}" for of in what)
        for part in (held[:size], held[-size:])
    )
    return first, last


def _pause(minutes: float) -> float:
    return PAUSE_S if minutes >= LONG else SHORT_PAUSE_S


def _until(true: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            sys.exit("the daemon does not do what it should")
        time.sleep(0.1)


if __name__ == "__main__":
    found = soak(float(sys.argv[1]) if len(sys.argv) > 1 else 3)
    for row in rows(found):
        print(" | ".join(row))
    print(
        [
            (round(one.time - found.seen.held[0].time), round(one.parent_mib, 1), one.files, one.threads)
            for one in found.seen.held[::5]
        ]
    )
    print([(name, round(begun - found.seen.held[0].time)) for name, begun, _ in found.seen.faults])
    print(json.dumps({"passed": passed(found)}))
