"""A hundred bundles, one after the other, in a daemon that does not stop: what it skips, and what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.bin_camera import FPS
from benchmarks.made import mobilenet
from benchmarks.record import ROOT, Row, keep
from benchmarks.swapping_bin import Swapped

SWAPS = 100
WARM = 10
"""Swaps after which memory should have found its level."""
MOST_GAP_MS, MOST_GROWTH_MIB = 100.0, 5.0


def prove_swaps(swaps: int = SWAPS) -> bool:
    """Run it in a process of its own, and keep the figures."""
    with tempfile.TemporaryDirectory() as name:
        found = swapped(Path(name), swaps)
    first, last = (median(part) for part in (found.mib[WARM : 2 * WARM], found.mib[-WARM:]))
    worst, p99 = max(found.late_ms), float(np.percentile(found.late_ms, 99))
    rows: list[Row] = [
        ("swaps, refused", f"{len(found.took_s)}, {found.refused}", f"{swaps}, 0"),
        ("from the link's new target to the first answer, median s", f"{median(found.took_s):.2f}", ""),
        ("frames decided on meanwhile", str(found.frames), ""),
        ("a frame's delay beyond the camera's interval, p99, ms", f"{p99:.1f}", ""),
        ("the longest", f"{worst:.1f} ms", f"at most {MOST_GAP_MS:.0f} ms"),
        (f"memory in swaps {WARM + 1} to {2 * WARM} and the last {WARM}, MiB", f"{first:.1f}, {last:.1f}", ""),
        ("growth between them", f"{last - first:+.1f} MiB", f"at most {MOST_GROWTH_MIB:.0f} MiB"),
        ("the most ever, MiB", f"{max(found.mib):.1f}", ""),
        ("open files and threads, then and at the end", _then_and_now(found), "equal"),
    ]
    keep("swaps", f"{swaps} bundles of MobileNetV2 in turns, 720p at {FPS:.0f} FPS, each frame decided on", rows)
    steady = worst <= MOST_GAP_MS and last - first <= MOST_GROWTH_MIB
    return steady and len(found.took_s) == swaps and not found.refused


def swapped(folder: Path, swaps: int) -> Swapped:
    """Run benchmarks.swapping_bin with two bundles below `folder`."""
    bundles = [str(mobilenet(folder / name, seed=seed).folder) for seed, name in enumerate(("one", "two"))]
    command = [sys.executable, "-m", "benchmarks.swapping_bin", str(folder), *bundles, str(swaps)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return Swapped(**json.loads(done.stdout))


def _then_and_now(found: Swapped) -> str:
    return f"{found.files[WARM - 1]} and {found.threads[WARM - 1]}; {found.files[-1]} and {found.threads[-1]}"
