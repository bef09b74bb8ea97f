"""The slower proofs, on TrashNet beside the project: trains, exports, judges, and keeps the figures.

`python -m benchmarks.proof train`, then `export` and `engines`; `demo`, `latency`, `throughput` and `models` need
no data. Each rewrites its section of docs/measurements.md. Exits 1 where a target is missed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.prove_data import prove_data
from benchmarks.prove_engines import prove_engines
from benchmarks.prove_events import prove_events
from benchmarks.prove_export import prove_export
from benchmarks.prove_folds import prove_folds
from benchmarks.prove_gpu import prove_gpu
from benchmarks.prove_models import prove_models
from benchmarks.prove_strangers import prove_strangers
from benchmarks.prove_throughput import prove_throughput
from benchmarks.record import DATA, ROOT, WORK, keep

BIN = Path(sys.executable).parent

MOST_DEMO_MINUTES = 6.0


def main() -> None:
    """Run the proof that is named."""
    proofs: dict[str, Callable[..., bool]] = {
        "train": prove_folds,
        "throughput": prove_throughput,
        "strangers": prove_strangers,
        "models": prove_models,
        "export": prove_export,
        "engines": prove_engines,
        "demo": prove_demo,
        "latency": prove_latency,
        "gpu": prove_gpu,
        "data": prove_data,
        "events": prove_events,
    }
    name, *numbers = sys.argv[1:] or [""]
    if (
        name not in proofs
        or len(numbers) > (name in ("train", "strangers"))
        or not all(map(str.isdecimal, numbers))
    ):
        sys.exit(f"usage: python -m benchmarks.proof {'|'.join(proofs)}; train [FOLDS], strangers [EPOCHS]")
    if name in ("train", "strangers", "export", "data") and not DATA.is_file():
        sys.exit(f"{DATA} is missing: the proofs need TrashNet beside the project")
    sys.exit(0 if proofs[name](*map(int, numbers)) else 1)


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


def prove_latency() -> bool:
    """A 1080p frame against the bare session.run of the same graph, interleaved in one process."""
    file = WORK / "latency.json"
    WORK.mkdir(parents=True, exist_ok=True)
    test = "benchmarks/test_latency.py::test_a_1080p_frame_costs_little_more_than_its_graph"
    options = ("--benchmark-enable", "--benchmark-only", f"--benchmark-json={file}")
    passed = subprocess.run([BIN / "pytest", "-q", test, *options], cwd=ROOT, check=False).returncode == 0
    figures = json.loads(file.read_text())["benchmarks"][0]["extra_info"]
    rows = [
        ("bare `session.run`, median ms", f"{figures['bare_ms']:.2f}", ""),
        ("preprocessing, median ms", f"{figures['fit_ms']:.2f}", "at most 0.7"),
        ("looking for motion, median ms", f"{figures['watch_ms']:.2f}", ""),
        ("frame to decision over bare", f"{figures['ratio']:.2f}", "at most 1.3"),
        ("the same with the look for motion", f"{figures['ratio_watched']:.2f}", ""),
    ]
    keep("latency", "MobileNetV2 at 224, fp32, 1080p frames, ONNX Runtime", rows)
    return passed


def _command(name: str, *arguments: str) -> Any:
    """Run a command of ours; its progress goes to the screen. Returns what --json printed."""
    done = subprocess.run([str(BIN / name), *arguments], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{name} ended with {done.returncode}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
