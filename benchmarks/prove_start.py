"""How soon a command is there: its import, its help, and its first decision."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from benchmarks.made import mobilenet
from benchmarks.quiet import one_core
from benchmarks.record import ROOT, Row, keep
from edge.steps import camera_frame

FIRST = "first decision"
MOST_MS = {"import edge": 250.0, "edge-run --help": 300.0, FIRST: 2000.0}
ROUNDS = 15


def prove_start() -> bool:
    """Run each command in turns, in processes of its own, and take the medians."""
    with tempfile.TemporaryDirectory() as name, one_core() as where:
        asked = commands(Path(name))
        times: dict[str, list[float]] = {what: [] for what in asked}
        for _ in range(ROUNDS + 1):
            for what, command in asked.items():
                times[what].append(time_of(command, to_end=what != FIRST))
    medians = {what: statistics.median(values[1:]) for what, values in times.items()}  # the first fills caches
    rows: list[Row] = [(what, f"{medians[what]:.0f}", f"at most {most:.0f}") for what, most in MOST_MS.items()]
    keep("start", f"Milliseconds from the start of the process, medians of {ROUNDS} in turns, {where}", rows)
    return all(medians[what] <= most for what, most in MOST_MS.items())


def time_of(command: list[str], *, to_end: bool) -> float:
    """Return the milliseconds to the command's end, or to the first line that it says."""
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        if to_end:
            process.stdout.read()
            process.wait()
        took = (time.perf_counter() - begun) * 1e3
        process.stdout.read()
    assert said
    assert process.returncode == 0
    return took


def commands(folder: Path) -> dict[str, list[str]]:
    """Return what is timed; the bundle and the photo that it needs come into `folder`."""
    bundle = mobilenet(folder / "bundle").folder
    photos = folder / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "one.jpg"), camera_frame(1920, 1080))
    run = [sys.executable, "-c", "from edge.cli.run import main; main()"]
    return {
        "import edge": [sys.executable, "-c", "import edge; print('done')"],
        "edge-run --help": [*run, "--help"],
        FIRST: [*run, str(bundle), str(photos)],
    }
