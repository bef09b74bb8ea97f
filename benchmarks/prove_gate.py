"""The proof of the gate: planted slow-downs are seen, and where nothing is planted nothing is."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any
from unittest import mock

from benchmarks.gate import ONE_THREAD, SHORT
from benchmarks.made import mobilenet
from benchmarks.record import Row, keep
from edge import gate, model, steps
from edge.backends.onnxruntime import OnnxRuntime
from edge.baseline import MARGIN, Kept
from edge.bundle import load
from edge.gate import GateSettings, Measured
from edge.loop import Loop
from edge.preprocess import InputSpec, Resize
from edge.steps import Step
from edge.stopwatch import Stopwatch

RUNS = 100
"""Of the gate with each slow-down, and with none."""
BASELINES = 20
"""Runs whose medians are the baseline."""
SLOWER = 0.10
LEAST_SEEN, MOST_FALSE = 0.95, 0.05
SETTINGS = GateSettings(ONE_THREAD, rounds=SHORT.rounds, seconds=60.0, openings=SHORT.openings)
SPEC = InputSpec(96, 96, Resize.CROP, 110)
"""A small picture, so that the runs end: a short graph is harder to time than a long one."""
NOTHING = "nothing"
CALIBRATIONS, TURNS = 4, 200


@dataclass(frozen=True)
class Found:
    """What one run of the gate found."""

    planted: str
    measured: Measured


def prove_gate(runs: int = RUNS) -> bool:
    """Run the gate over and over, each time in a process of its own, in an order that mixes what is planted."""
    begun = time.monotonic()
    context = multiprocessing.get_context("fork")
    asked = [NOTHING] * BASELINES + [name for _ in range(runs) for name in PLANTS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bundle"
        maker = context.Process(target=_make, args=(folder,))
        maker.start()
        maker.join()
        # One core stays free: runs beside each other are what a gate is not asked to see through.
        with context.Pool(max(1, len(os.sched_getaffinity(0)) - 1), maxtasksperchild=1) as pool:
            plants = dict(zip(PLANTS, pool.map(_calibrated, [(folder, one) for one in PLANTS], 1), strict=True))
            found = []
            tasks = [(folder, planted, plants[planted][0]) for planted in asked]
            for one in pool.imap(_run, tasks, chunksize=1):
                found.append(one)
                sys.stderr.write(f"\r{len(found)} of {len(asked)} runs")
    kept, rest = _baseline(found[:BASELINES]), found[BASELINES:]
    minutes = (time.monotonic() - begun) / 60
    rows, passed = tell(kept, rest)
    load = f"{os.getloadavg()[2]:.1f} at its end"
    shares = ", ".join(f"{name} {added:+.1%}" for name, (share, added) in plants.items() if share)
    rows.append(("what is planted, measured with and without it in turns", shares, f"{SLOWER:+.0%}"))
    rows += [("minutes, all told; load of the machine, mean of 15 minutes", f"{minutes:.1f}; {load}", "")]
    keep("gate", TITLE, rows)
    return passed


TITLE = (
    f"The gate with {SLOWER:.0%} planted: busy work after each call, until its step takes so much longer. "
    f"MobileNetV2 at {SPEC.width}, {SETTINGS.rounds} rounds, {SETTINGS.openings} openings, each run a process"
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


def _calibrated(asked: tuple[Path, str]) -> tuple[float, float]:
    """Return the share that makes a step SLOWER, and what it then costs more: measured once more."""
    folder, planted = asked
    step, plant = PLANTS[planted]
    if planted == NOTHING:
        return 0.0, 0.0
    bundle = load(folder)
    with (
        plant(),
        gate.open_backend(bundle, "onnxruntime", None, ONE_THREAD) as backend,
        steps.steps_of(bundle, backend, ONE_THREAD) as its,
    ):
        (one,) = (each for each in its if each.name == step)
        share = SLOWER
        for _ in range(CALIBRATIONS):
            share *= SLOWER / max(_added(one, share, TURNS), SLOWER / 4)
        return share, _added(one, share, 2 * TURNS)


def _added(step: Step, share: float, turns: int) -> float:
    """Return the share by which the plant makes a step longer: in turns with none, the quicker half of each."""
    times: dict[float, list[float]] = {0.0: [], share: []}
    with Stopwatch() as watch:
        for turn in range(turns + 5):
            for PLANT.share, taken in sorted(times.items(), reverse=bool(turn % 2)):
                found = min(watch.milliseconds(step.work) for _ in range(step.repeats))
                if turn >= 5:
                    taken.append(found)
    PLANT.share = 0.0
    without, with_it = (mean(sorted(taken)[: turns // 2]) for taken in times.values())
    return with_it / without - 1


def _run(asked: tuple[Path, str, float]) -> Found:
    folder, planted, PLANT.share = asked
    _, plant = PLANTS[planted]
    with plant():
        return Found(planted, gate.measure_one(load(folder), "onnxruntime", None, SETTINGS))


def _baseline(found: list[Found]) -> Kept:
    names = [one.step for one in found[0].measured.ratios]
    middle = {
        name: median(its.value for one in found for its in one.measured.ratios if its.step == name)
        for name in names
    }
    return Kept(found[0].measured.key, "", "", middle)


@dataclass
class Plant:
    """What is added to a step. One in this process."""

    share: float = 0.0
    """Of the step's own time on the core, as busy work behind it; more or less than what the step then shows, for
    the clock's own time comes with it, and the caches are another's afterwards. See `_calibrated`."""

    def work(self, since: int, without: int = 0) -> None:
        """Be busy for a share of the nanoseconds on the core since `since`, `without` left out."""
        if self.share:
            now = time.thread_time_ns()
            end = now + round((now - since - without) * self.share)
            while time.thread_time_ns() < end:
                pass


PLANT = Plant()


def slowed(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does the same, and what is planted behind it."""

    def longer(*arguments: Any, **named: Any) -> Any:
        begun = time.thread_time_ns() if PLANT.share else 0
        result = work(*arguments, **named)
        PLANT.work(begun)
        return result

    return longer


@contextmanager
def nothing() -> Iterator[None]:
    """Plant nothing."""
    yield


@contextmanager
def in_preprocessing() -> Iterator[None]:
    """Make `fit` slower, wherever it is called."""
    with mock.patch.object(model, "fit", slowed(model.fit)), mock.patch.object(steps, "fit", slowed(steps.fit)):
        yield


class _Session:
    """A session whose `run` is slower."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.run = slowed(session.run)


@contextmanager
def in_inference() -> Iterator[None]:
    """Make `session.run` of the bundle's graph slower: the pinned one stays as it is."""

    def opened(*arguments: Any, **named: Any) -> Any:
        backend = open_backend(*arguments, **named)
        assert isinstance(backend, OnnxRuntime)
        backend._session = _Session(backend.session)
        return backend

    open_backend = gate.open_backend
    with mock.patch.object(gate, "open_backend", opened):
        yield


@contextmanager
def in_postprocessing() -> Iterator[None]:
    """Make what the loop does with a frame slower, its model's part left out."""
    see = Loop._see

    def longer(self: Loop, frame: Any) -> None:
        begun = time.thread_time_ns() if PLANT.share else 0
        see(self, frame)
        latency = self._classified.latency if self._classified else None
        PLANT.work(begun, without=round((latency.preprocess + latency.infer) * 1e6) if latency else 0)

    with mock.patch.object(Loop, "_see", longer):
        yield


PLANTS: dict[str, tuple[str, Callable[[], Any]]] = {
    NOTHING: ("frame to decision", nothing),
    "preprocessing": ("preprocess", in_preprocessing),
    "inference": ("graph", in_inference),
    "post-processing": ("decide", in_postprocessing),
}
"""What is planted, to the step that shows it and what plants it."""
