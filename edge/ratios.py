"""Costs as ratios: each step over another that was timed in the same rounds, with an interval."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.progress import Progress
from edge.steps import Step
from edge.stopwatch import Stopwatch

Samples = npt.NDArray[np.float64]
"""float64 [rounds, steps]: milliseconds."""

WARM_UP = 5
"""Times that each step is done before any is timed."""
QUICKER = 0.5
"""Share of the rounds, the quickest of each step, whose mean stands for it: what disturbs a machine only adds."""
RESAMPLES = 1000
TAIL = 0.05
"""Chance that the true value lies below the interval, and that it lies above."""


@dataclass(frozen=True)
class Ratio:
    """What a step costs, as a multiple of another."""

    step: str
    over: str
    """The step that it is measured against."""
    value: float
    low: float
    """Low end of the 90 % interval."""
    high: float
    milliseconds: float
    """Of the step itself: not compared, since it says as much of the machine as of the code."""


def measure(steps: Sequence[Step], rounds: int, seconds: float, progress: Progress, seed: int = 0) -> Samples:
    """Do all steps in every round, in an order drawn anew: float64 [rounds, steps], milliseconds of each.

    Ends after `rounds` or, with the round that is under way, after `seconds` of work.
    """
    rng, order = random.Random(seed), list(range(len(steps)))
    taken: list[list[float]] = []
    for step in steps:
        for _ in range(WARM_UP):
            step.work()
    spent = 0.0
    with Stopwatch() as watch:
        while len(taken) < rounds and (not taken or spent < seconds * 1e3):
            rng.shuffle(order)
            row = [0.0] * len(steps)
            for each in order:
                times = [watch.milliseconds(steps[each].work) for _ in range(steps[each].repeats)]
                row[each], spent = min(times), spent + sum(times)
            taken.append(row)
            progress(len(taken), rounds)
    return np.array(taken, dtype=np.float64)


def ratios(steps: Sequence[Step], samples: Samples, seed: int = 0) -> tuple[Ratio, ...]:
    """Return the ratio of every step that is measured against another, of float64 [rounds, steps] milliseconds.

    The interval is the moving-block bootstrap's, for what disturbs one round disturbs the next. Whole rounds are
    drawn, so that what hit numerator and denominator alike cancels. Source: H. R. Künsch, "The jackknife and the
    bootstrap for general stationary observations", Annals of Statistics 17 (1989).
    """
    names = [step.name for step in steps]
    typical = _typical(samples)
    drawn = _typical(samples[_blocks(len(samples), seed)])
    found = []
    for at, step in enumerate(steps):
        if step.over:
            under = names.index(step.over)
            low, high = np.quantile(drawn[:, at] / drawn[:, under], (TAIL, 1 - TAIL))
            value = typical[at] / typical[under]
            found.append(Ratio(step.name, step.over, float(value), float(low), float(high), float(typical[at])))
    return tuple(found)


def _typical(samples: Samples) -> Samples:
    """Return the mean of the quicker half of the rounds: float64 [..., rounds, steps] to [..., steps]."""
    few = max(1, round(samples.shape[-2] * QUICKER))
    mean: Samples = np.partition(samples, few - 1, axis=-2)[..., :few, :].mean(axis=-2)
    return mean


def _blocks(rounds: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw rounds in blocks of the cube root of their number: int64 [RESAMPLES, rounds]."""
    length = max(1, round(rounds ** (1 / 3)))
    starts = np.random.default_rng(seed).integers(0, rounds - length + 1, (RESAMPLES, -(-rounds // length)))
    drawn = starts[:, :, None] + np.arange(length)
    result: npt.NDArray[np.int64] = drawn.reshape(RESAMPLES, -1)[:, :rounds]
    return result
