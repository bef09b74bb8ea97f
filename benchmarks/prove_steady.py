"""What each measure for steady time is worth: with all of them, and with one left out, in turns."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.made import mobilenet
from benchmarks.record import ROOT, Row, keep
from benchmarks.steady_bin import Took

SHIPPED = "as it is"
WAYS = (SHIPPED, "no gc.freeze", "switch after 5 ms", "spinning", "OpenCV's threads", "1 thread", "2 threads")
ROUNDS, SECONDS = 5, 20.0
MOST_RATIO = 3.5
MOST_BLOCKS = 500
"""Pieces of memory: what is on its way at the one moment and not at the other."""


def prove_steady() -> bool:
    """Run all, and keep the figures."""
    taken = measure(ROUNDS, SECONDS)
    keep("steady", TITLE, rows(taken))
    return passed(taken)


TITLE = (
    "30 FPS at 720p, MobileNetV2 on each frame, the page asked all the time and the bundle verified every 2 s. "
    "From a frame's arrival to the loop's next read"
)


def measure(rounds: int, seconds: float) -> dict[str, list[Took]]:
    """Run each way so often, in turns, each time in a process of its own."""
    taken: dict[str, list[Took]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        bundle = mobilenet(Path(name) / "bundle").folder
        for _ in range(rounds):
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.steady_bin", str(bundle), way, str(seconds)]
                done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
                taken[way].append(Took(**json.loads(done.stdout)))
    return taken


def percentiles(runs: list[Took]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the most of all frames, in milliseconds."""
    times = np.concatenate([one.frame_ms for one in runs])
    p50, p99 = np.percentile(times, (50, 99))
    return float(p50), float(p99), float(times.max())


def rows(taken: Mapping[str, list[Took]]) -> list[Row]:
    """Lay the figures out."""
    table: list[Row] = []
    for way, runs in taken.items():
        p50, p99, most = percentiles(runs)
        cpu = sum(one.cpu_s for one in runs) / sum(len(one.frame_ms) for one in runs) * 1e3
        collect = max(one.collect_ms for one in runs)
        target = f"p99 at most {MOST_RATIO} p50" if way == SHIPPED else ""
        figures = f"{p50:.1f} / {p99:.1f} / {most:.1f}; {cpu:.1f}; {collect:.0f}"
        table.append((f"{way}: p50 / p99 / max ms; CPU ms a frame; a full collection, ms", figures, target))
    blocks = max(one.blocks for one in taken[SHIPPED])
    return [*table, ("pieces of memory more after half of the time", str(blocks), f"at most {MOST_BLOCKS}")]


def passed(taken: Mapping[str, list[Took]]) -> bool:
    """Whether a frame in a hundred takes no longer than it should, and nothing grows."""
    p50, p99, _ = percentiles(taken[SHIPPED])
    return p99 <= MOST_RATIO * p50 and max(one.blocks for one in taken[SHIPPED]) <= MOST_BLOCKS


if __name__ == "__main__":
    numbers = [*map(float, sys.argv[1:])] or [1, 5]
    found = measure(int(numbers[0]), numbers[1])
    for row in rows(found):
        print(" | ".join(row))
    print(json.dumps({"passed": passed(found)}))
