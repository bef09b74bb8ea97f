"""The slower proofs: what is too long for the tests, measured.

`python -m benchmarks.proof NAME`, or `make proof-NAME`. Each rewrites its section of docs/measurements.md. Exits 1
where a target is missed.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.record import DATA, WORK, keep

BIN = Path(sys.executable).parent

MOST_DEMO_MINUTES = 6.0


PROOFS = {
    "aarch64": "prove_install:prove_aarch64",
    "age": "prove_age:prove_age",
    "camera": "prove_camera:prove_camera",
    "capture": "prove_capture:prove_capture",
    "data": "prove_data:prove_data",
    "demo": "proof:prove_demo",
    "deposits": "prove_deposits:prove_deposits",
    "drift": "prove_drift:prove_drift",
    "engines": "prove_engines:prove_engines",
    "events": "prove_events:prove_events",
    "eval": "prove_eval:prove_eval",
    "export": "prove_export:prove_export",
    "gate": "prove_gate:prove_gate",
    "gpu": "prove_gpu:prove_gpu",
    "health": "prove_health:prove_health",
    "install": "prove_install:prove_install",
    "latency": "prove_latency:prove_latency",
    "memory": "prove_memory:prove_memory",
    "models": "prove_models:prove_models",
    "peers": "peers.run:prove_peers",
    "rtsp": "prove_cameras:prove_cameras",
    "sizes": "prove_sizes:prove_sizes",
    "soak": "prove_soak:prove_soak",
    "start": "prove_start:prove_start",
    "steady": "prove_steady:prove_steady",
    "strangers": "prove_strangers:prove_strangers",
    "swaps": "prove_swaps:prove_swaps",
    "throughput": "prove_throughput:prove_throughput",
    "train": "prove_folds:prove_folds",
    "watchdog": "prove_watchdog:prove_watchdog",
}
"""Name to where it is done: imported when it is wanted, for some need much."""

NUMBERED = {
    "age": "SECONDS",
    "gate": "RUNS",
    "health": "SCENES",
    "rtsp": "FAULTS",
    "soak": "MINUTES",
    "strangers": "EPOCHS",
    "swaps": "SWAPS",
    "train": "FOLDS",
}
"""Those that take a number, and what it counts."""

NEED_DATA = ("train", "strangers", "export", "data")
"""Those that need TrashNet beside the project."""


def main() -> None:
    """Run the proof that is named."""
    name, *numbers = sys.argv[1:] or [""]
    if name not in PROOFS or len(numbers) > (name in NUMBERED) or not all(map(str.isdecimal, numbers)):
        numbered = ", ".join(f"{proof} [{what}]" for proof, what in NUMBERED.items())
        sys.exit(f"usage: python -m benchmarks.proof {'|'.join(PROOFS)}; {numbered}")
    if name in NEED_DATA and not DATA.is_file():
        sys.exit(f"{DATA} is missing: this proof needs TrashNet beside the project")
    module, _, function = PROOFS[name].partition(":")
    prove: Callable[..., bool] = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    sys.exit(0 if prove(*map(int, numbers)) else 1)


def prove_demo() -> bool:
    """edge-demo with default settings: the whole way on images that it makes."""
    folder = WORK / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    begun = time.monotonic()
    result = _command("edge-demo", "-o", str(folder), "--json")
    minutes = (time.monotonic() - begun) / 60
    rows = [
        ("minutes, all told", f"{minutes:.1f}", f"at most {MOST_DEMO_MINUTES:.0f}"),
        ("accuracy on unseen generated images", f"{result['unseen_accuracy']:.1%}", "at least 90 %"),
        ("images", str(result["unseen_images"]), ""),
        ("deposits, decisions", f"{result['deposits']}, {result['decisions']}", "equal"),
        ("decisions right", f"{result['decisions_right']:.1%}", "at least 90 %"),
        ("parity", result["parity"], "PASS"),
    ]
    keep("demo", "`edge-demo`, default settings", rows)
    return bool(result["passed"]) and minutes <= MOST_DEMO_MINUTES


def _command(name: str, *arguments: str) -> Any:
    """Run a command of ours; its progress goes to the screen. Returns what --json printed."""
    done = subprocess.run([str(BIN / name), *arguments], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{name} ended with {done.returncode}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
