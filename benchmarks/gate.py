"""The gate on latency: what each step costs in this checkout, against the baselines that it brings.

`python -m benchmarks.gate`, or `make gate` for the short form. Exits 1 where a step costs more than it may, twice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from pytest_benchmark.utils import get_commit_info

from benchmarks.made import mobilenet
from benchmarks.record import ROOT
from edge import baseline
from edge.backends import Options
from edge.bundle import Bundle
from edge.cli.compare import gate_json, keep, lines
from edge.gate import GateSettings, Judged, judge, measure_one

BASELINE = ROOT / "benchmarks" / "baseline.json"
ONE_THREAD = Options(threads=1)
"""What another thread waits for is not known: see edge.stopwatch."""
FULL = GateSettings(ONE_THREAD, rounds=240, seconds=60.0, openings=16)
SHORT = GateSettings(ONE_THREAD, rounds=64, seconds=24.0)
RENEWED = GateSettings(ONE_THREAD, rounds=480, seconds=240.0, openings=40)


def main() -> int:
    """Measure and compare, or keep as the baseline."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer rounds, as CI does")
    parser.add_argument("--renew", action="store_true", help=f"write {BASELINE.relative_to(ROOT)}")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with tempfile.TemporaryDirectory() as name:
        bundle = mobilenet(Path(name) / "bundle")
        if asked.renew:
            keep(bundle, BASELINE, [measure_one(bundle, "onnxruntime", None, RENEWED)])
        judged = look(bundle, SHORT if asked.short else FULL)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"commit_info": get_commit_info(), **gate_json(bundle, [judged], [])}
        asked.json.write_text(json.dumps(told, indent=2) + "\n")
    return 1 if judged.slower else 0


def look(bundle: Bundle, settings: GateSettings, file: Path = BASELINE) -> Judged:
    """Measure, and once more where something is slower: only what is so both times stands."""
    kept = baseline.read(file)
    for _ in range(2):
        (judged,) = judge([measure_one(bundle, "onnxruntime", None, settings)], kept)
        sys.stdout.write("\n".join(lines([judged], file.name, [])) + "\n")
        if not judged.slower:
            break
    return judged


if __name__ == "__main__":
    sys.exit(main())
