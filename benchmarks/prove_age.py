"""How old a frame is when it is decided on, what that costs beside its inference, and what an idle bin costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

from benchmarks.bin_at_work import Work
from benchmarks.bin_camera import CYCLE_S, FPS, SIZE
from benchmarks.made import mobilenet
from benchmarks.record import ROOT, WORK, Row, keep

SECONDS, IDLE_SECONDS = 300.0, 60.0
"""How long a busy bin and an idle one are watched: the p99 of some hundred decisions."""
SLOW_MS = 200.0
MOST_AGE_MS = SLOW_MS + 2 * 1e3 / FPS
MOST_BEYOND_MS = 25.0
MOST_IDLE = 0.2
"""Share of a busy bin's CPU time."""
TRAINED = WORK / "bundles" / "fold-0"
"""Left there by `make proof-train` and `make proof-export`."""


def prove_age(seconds: int = int(SECONDS)) -> bool:
    """Run the daemon three times, and keep the figures. Each busy one for so many seconds."""
    with tempfile.TemporaryDirectory() as name:
        there = (TRAINED / "manifest.json").is_file()
        bundle = TRAINED if there else mobilenet(Path(name) / "bundle").folder
        slow = at_work(bundle, "busy", seconds, SLOW_MS)
        busy = at_work(bundle, "busy", seconds)
        idle = at_work(bundle, "idle", min(seconds, IDLE_SECONDS))
    beyond = [whole - infer for whole, infer in zip(busy.disk_ms, busy.infer_ms, strict=True)]
    share = (idle.cpu_s / idle.seconds) / (busy.cpu_s / busy.seconds)
    deposits = seconds / CYCLE_S
    rows: list[Row] = [
        (f"model slowed to {SLOW_MS:.0f} ms: decisions in {seconds} s", _of(slow, deposits), "one a deposit"),
        ("age of the frame decided on, p50 / p99", _ends(slow.ages_ms), f"p99 at most {MOST_AGE_MS:.0f} ms"),
        (f"normal model: decisions in {seconds} s", _of(busy, deposits), "one a deposit"),
        ("age of the frame decided on, p50 / p99", _ends(busy.ages_ms), ""),
        ("its inference, p50 / p99", _ends(busy.infer_ms), ""),
        ("the bare graph, median", f"{busy.bare_ms:.1f} ms", ""),
        ("from frame to event on disk, p50 / p99", _ends(busy.disk_ms), ""),
        ("the same beyond its inference, p50 / p99", _ends(beyond), f"p99 at most {MOST_BEYOND_MS:.0f} ms"),
        ("CPU of a busy bin, share of a core", f"{busy.cpu_s / busy.seconds:.2%}", ""),
        ("CPU of an idle bin, share of a core", f"{idle.cpu_s / idle.seconds:.2%}", ""),
        ("idle over busy", f"{share:.2f}", f"at most {MOST_IDLE:g}"),
    ]
    what = "MobileNetV2, trained" if there else "MobileNetV2 with random weights"
    size = f"{SIZE[0]} x {SIZE[1]}"
    keep("age", f"The daemon with an outbox; camera of {size} at {FPS:.0f} FPS in its child process; {what}", rows)
    decided = all(abs(len(work.ages_ms) - deposits) <= max(2.0, deposits / 100) for work in (slow, busy))
    return decided and p99(slow.ages_ms) <= MOST_AGE_MS and p99(beyond) <= MOST_BEYOND_MS and share <= MOST_IDLE


def at_work(bundle: Path, scene: str, seconds: float, slow_ms: float = 0.0) -> Work:
    """Run benchmarks.bin_at_work: in a process of its own, where no other library takes time or memory."""
    command = [sys.executable, "-m", "benchmarks.bin_at_work", str(bundle), scene, str(seconds), str(slow_ms)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return Work(**json.loads(done.stdout))


def p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]


def _of(work: Work, deposits: float) -> str:
    return f"{len(work.ages_ms)} of {deposits:.0f} deposits, {work.frames} frames"


def _ends(values: list[float]) -> str:
    return f"{median(values):.1f} / {p99(values):.1f} ms"
