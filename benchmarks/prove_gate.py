"""The proof of the gate: planted slow-downs are seen, and where nothing is planted nothing is."""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gate import ONE_THREAD, SHORT
from benchmarks.made import mobilenet
from benchmarks.plants import NOTHING, PLANT, PLANTS, time_planted
from benchmarks.record import Row, keep
from edge import gate, opening, steps
from edge.baseline import MARGIN, Kept
from edge.bundle import Bundle, load
from edge.gate import Measured
from edge.preprocess import InputSpec, Resize
from edge.steps import Step
from edge.stopwatch import Stopwatch

RUNS = 100
"""Of the gate with each slow-down, and with none."""
BASELINES = 10
"""Runs whose medians are the baseline."""
SLOWER = 0.10
LEAST_SEEN, MOST_FALSE = 0.95, 0.05
SETTINGS = SHORT
SPEC = InputSpec(96, 96, Resize.CROP, 110)
"""A small picture, so that the runs end: a short graph is harder to time than a long one."""
CALIBRATIONS, TURNS, WARM_UP = 4, 200, 10


@dataclass(frozen=True)
class Found:
    """What one run of the gate found."""

    planted: str
    measured: Measured


def prove_gate(runs: int = RUNS) -> bool:
    """Run the gate over and over, on each core one, in an order that mixes what is planted."""
    begun = time.monotonic()
    asked = [NOTHING] * BASELINES + [name for _ in range(runs) for name in PLANTS]
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(len(cores)) as pool:
        folder = Path(name) / "bundle"
        maker = multiprocessing.get_context("fork").Process(target=_make, args=(folder,))
        maker.start()
        maker.join()
        bundle = load(folder)
        plants = {one: _calibrated(folder, one) for one in PLANTS}
        free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for core in cores:
            free.put(core)
        found = []
        for one in pool.map(lambda planted: _run(bundle, planted, plants[planted][0], free), asked):
            found.append(one)
            sys.stderr.write(f"\r{len(found)} of {len(asked)} runs")
    kept, rest = _baseline(found[:BASELINES]), found[BASELINES:]
    minutes = (time.monotonic() - begun) / 60
    rows, passed = tell(kept, rest)
    load_now = f"{os.getloadavg()[2]:.1f} at its end"
    shares = ", ".join(f"{name} {added:+.1%}" for name, (share, added) in plants.items() if share)
    rows.append(("what is planted, measured with and without it in turns", shares, f"{SLOWER:+.0%}"))
    rows += [("minutes, all told; load of the machine, mean of 15 minutes", f"{minutes:.1f}; {load_now}", "")]
    keep("gate", f"{TITLE}, {len(cores)} runs beside each other", rows)
    return passed


TITLE = (
    f"The gate with {SLOWER:.0%} planted: busy work after each call, until its step takes so much longer. "
    f"MobileNetV2 at {SPEC.width}, {SETTINGS.rounds} rounds in {SETTINGS.openings} processes"
)


def tell(kept: Kept, found: list[Found]) -> tuple[list[Row], bool]:
    """Lay out how often the gate failed with each plant, and by how much; say whether that is as it should be."""
    rows: list[Row] = []
    passed = True
    for planted, (step, _) in PLANTS.items():
        its = [gate.judge([one.measured], [kept])[0] for one in found if one.planted == planted]
        failed = [bool(one.slower) for one in its]
        share = sum(failed) / len(failed)
        twice = [one and other for one, other in zip(failed[::2], failed[1::2], strict=False)]
        changes = sorted(
            compared.change or 0.0 for one in its for compared in one.steps if compared.found.step == step
        )
        least, most = changes[0], changes[-1]
        middle = f"`{step}` {median(changes):+.1%}, {least:+.1%} to {most:+.1%}"
        figure = f"{sum(failed)} of {len(its)}; {sum(twice)} of {len(twice)}; {middle}"
        wrong = planted == NOTHING
        target = f"at most {MOST_FALSE:.0%}" if wrong else f"at least {LEAST_SEEN:.0%}"
        passed &= share <= MOST_FALSE if wrong else share >= LEAST_SEEN
        rows.append(
            (f"{planted} planted: runs that failed; pairs that failed twice; change measured", figure, target)
        )
    spread = {
        step: max(abs(one.change or 0.0) for f in found if f.planted == NOTHING for one in compared(f, kept, step))
        for step in kept.ratios
    }
    told = ", ".join(f"{step} {most:.1%}" for step, most in spread.items())
    rows.append((f"nothing planted: farthest from the baseline (margin {MARGIN:.0%})", told, ""))
    return rows, passed


def compared(found: Found, kept: Kept, step: str) -> list[Any]:
    """Return the comparison of one step, in a list."""
    (judged,) = gate.judge([found.measured], [kept])
    return [one for one in judged.steps if one.found.step == step]


def _make(folder: Path) -> None:
    mobilenet(folder, SPEC)


def _calibrated(folder: Path, planted: str) -> tuple[float, float]:
    """Return the share that makes a step SLOWER, and what it then costs more: measured once more."""
    step, plant = PLANTS[planted]
    if planted == NOTHING:
        return 0.0, 0.0
    bundle = load(folder)
    with (
        plant(),
        opening.open_backend(bundle, "onnxruntime", None, ONE_THREAD) as backend,
        steps.steps_of(bundle, backend, ONE_THREAD) as groups,
    ):
        (one,) = (each for group in groups for each in group.steps if each.name == step)
        share = SLOWER
        for _ in range(CALIBRATIONS):
            share *= SLOWER / max(_added(one, share, TURNS), SLOWER / 4)
        return share, _added(one, share, 2 * TURNS)


def _added(step: Step, share: float, turns: int) -> float:
    """Return the share by which the plant makes a step longer: in turns with none, the median of the ratios."""
    logs = []
    with Stopwatch() as watch:
        for turn in range(turns + WARM_UP):
            times = {}
            for PLANT.share in (0.0, share) if turn % 2 else (share, 0.0):
                times[PLANT.share] = watch.milliseconds(step.work)
            logs.append(math.log(times[share] / times[0.0]))
    PLANT.share = 0.0
    return math.exp(median(logs[WARM_UP:])) - 1


def _run(bundle: Bundle, planted: str, share: float, free: queue.SimpleQueue[int]) -> Found:
    """Run the gate once, on a core of its own."""
    core = free.get()
    try:
        timing = partial(time_planted, planted, share, core)
        return Found(planted, gate.measure_one(bundle, "onnxruntime", None, SETTINGS, timing=timing))
    finally:
        free.put(core)


def _baseline(found: list[Found]) -> Kept:
    names = [one.step for one in found[0].measured.ratios]
    middle = {
        name: median(its.value for one in found for its in one.measured.ratios if its.step == name)
        for name in names
    }
    return Kept(found[0].measured.key, "", "", middle)
