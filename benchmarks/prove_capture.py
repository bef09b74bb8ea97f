"""A camera's child process: what it leaves behind when it is opened again and again, and what a frame costs."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from benchmarks.record import Row, keep
from edge.sources import Frame
from edge.sources.capture import Captured, open_captured
from edge.sources.device import CameraSettings
from tests.edge.fake_camera import COMMAND, Play, openings, write_script

REOPENINGS = 50
SECONDS = 20.0
FPS = 30.0
SIZE = (1920, 1080)
MOST_GROWTH_MIB = 1.0


@dataclass(frozen=True)
class Left:
    """What 50 reopenings left behind."""

    handles: int
    processes: int
    mebibytes: float
    """By which this process grew between the tenth and the last."""
    slowest: float
    """Longest time without a frame, seconds; the camera itself comes back at once."""


@dataclass(frozen=True)
class Cost:
    """What carrying a frame takes, in milliseconds."""

    child: float
    parent: float
    p50: float
    """From the camera's own time of the frame to its reader."""
    p99: float


def prove_capture() -> bool:
    """Run both, and keep the figures."""
    left, cost = reopenings(), carrying()
    rows: list[Row] = [
        (f"descriptors left after {REOPENINGS} reopenings", str(left.handles), "0"),
        ("processes left", str(left.processes), "0"),
        (
            "memory of the parent, tenth to last reopening",
            f"{left.mebibytes:+.2f} MiB",
            f"< {MOST_GROWTH_MIB:g} MiB",
        ),
        ("longest time without a frame", f"{left.slowest:.2f} s", "< 3 s"),
        ("CPU of the child for a frame of 1080p, the copy included", f"{cost.child:.2f} ms", ""),
        ("CPU of the parent for a frame", f"{cost.parent:.2f} ms", ""),
        ("from the camera to the reader, p50 / p99", f"{cost.p50:.2f} / {cost.p99:.2f} ms", ""),
    ]
    keep("capture", "A camera read by a child process; the camera is one of the tests", rows)
    return not (left.handles or left.processes) and left.mebibytes < MOST_GROWTH_MIB and left.slowest < 3.0


def reopenings(number: int = REOPENINGS) -> Left:
    """Read a camera that goes away after a moment, again and again."""
    handles = _handles()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        address = write_script(folder, [Play("exit", frames=20)])
        with open_captured(address, CameraSettings(), "fake", command=COMMAND) as source:
            tenth, last, slowest = 0.0, time.monotonic(), 0.0
            while source.counts.reopened < number:
                got = source.read()
                if isinstance(got, Frame):
                    slowest, last = max(slowest, got.captured - last), got.captured
                if source.counts.reopened == 10:
                    tenth = tenth or _anonymous_mebibytes()
            grown = _anonymous_mebibytes() - tenth
            got = None  # who holds a frame holds the ring's memory
        alive = sum(Path(f"/proc/{process}").exists() for _, process in openings(folder))
    return Left(_handles() - handles, alive, grown, slowest)


def carrying(seconds: float = SECONDS) -> Cost:
    """Read a camera of 1080p at 30 FPS, and do nothing with its frames."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        address = write_script(folder, [Play(sizes=(SIZE,), fps=FPS, draws=False)])
        with open_captured(address, CameraSettings(), "fake", command=COMMAND) as source:
            _read(source, 1.0)
            process = openings(folder)[0][1]
            before, own = _cpu_seconds(process), time.process_time()
            ages = _read(source, seconds)
            parent, child = time.process_time() - own, _cpu_seconds(process) - before
    return Cost(child / len(ages) * 1e3, parent / len(ages) * 1e3, median(ages), quantiles(ages, n=100)[98])


def _read(source: Captured, seconds: float) -> list[float]:
    """Read for so long, and return how old each frame was, in milliseconds."""
    ages, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        got = source.read()
        if isinstance(got, Frame):
            ages.append((time.monotonic() - got.captured) * 1e3)
    return ages


def _handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _anonymous_mebibytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
