"""Costs as ratios: each step over another that was timed right beside it, with an interval."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.progress import Progress
from edge.steps import Group
from edge.stopwatch import Stopwatch

Samples = npt.NDArray[np.float64]
"""float64 [rounds, turns, steps]: milliseconds of the steps of one group."""

WARM_UP = 5
"""Times that each step is done before any is timed."""
MIDDLE = 0.5
"""Share of the rounds whose mean stands for all: those in the middle, by their ratio."""
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


@dataclass(frozen=True, eq=False)
class Taken:
    """What a step took in one opening of an engine."""

    step: str
    over: str
    logs: npt.NDArray[np.float64]
    """float64 [rounds]: logarithm of its ratio, the median of the round's turns."""
    milliseconds: npt.NDArray[np.float64]
    """float64 [rounds]: of the step itself, likewise."""


def measure(
    groups: Sequence[Group], rounds: int, seconds: float, progress: Progress, seed: int = 0
) -> tuple[Samples, ...]:
    """Time the steps of each group: milliseconds, one array a group.

    In every round each group has its turns, one after the other, and in every turn each of its steps is done, all
    in an order drawn anew. So what is divided lies within some milliseconds, and a core that is quicker or slower
    meanwhile is so for both. Ends after `rounds` or, with the round that is under way, after `seconds` of work.
    """
    rng = random.Random(seed)
    rows: list[list[list[list[float]]]] = [[] for _ in groups]
    for group in groups:
        for step in group.steps * WARM_UP:
            step.work()
    spent, done = 0.0, 0
    with Stopwatch() as watch:
        while done < rounds and (not done or spent < seconds * 1e3):
            for at in rng.sample(range(len(groups)), len(groups)):
                turns = [_turn(groups[at], rng, watch) for _ in range(groups[at].turns)]
                rows[at].append(turns)
                spent += sum(
                    time * step.calls for turn in turns for time, step in zip(turn, groups[at].steps, strict=True)
                )
            done += 1
            progress(done, rounds)
    return tuple(np.array(one, dtype=np.float64) for one in rows)


def _turn(group: Group, rng: random.Random, watch: Stopwatch) -> list[float]:
    times = [0.0] * len(group.steps)
    for at in rng.sample(range(len(times)), len(times)):
        step = group.steps[at]
        times[at] = watch.milliseconds(step.work_all) / step.calls
    return times


def taken(groups: Sequence[Group], samples: Sequence[Samples]) -> tuple[Taken, ...]:
    """Return what each step took that is measured against another, round by round."""
    found = []
    for group, times in zip(groups, samples, strict=True):
        names = [step.name for step in group.steps]
        for at, step in enumerate(group.steps):
            if step.over:
                own, under = times[:, :, at], times[:, :, names.index(step.over)]
                logs = np.median(np.log(own / under), axis=1)
                found.append(Taken(step.name, step.over, logs, np.median(own, axis=1)))
    return tuple(found)


def ratios(openings: Sequence[Sequence[Taken]], seed: int = 0) -> tuple[Ratio, ...]:
    """Return the ratio of every step, from what it took in each opening: the interquartile mean of the rounds.

    The interval is a bootstrap's of two levels: openings are drawn, and of each its rounds, for where memory
    happens to lie makes an opening quicker or slower as a whole. Source: A. C. Davison and D. V. Hinkley,
    "Bootstrap Methods and their Application", 1997, section 3.8.
    """
    rng = np.random.default_rng(seed)
    return tuple(_ratio(its, rng) for its in zip(*openings, strict=True))


def _ratio(openings: Sequence[Taken], rng: np.random.Generator) -> Ratio:
    logs = np.concatenate([one.logs for one in openings])
    rounds = np.array([len(one.logs) for one in openings])
    first, size = np.cumsum(rounds) - rounds, (len(openings), int(rounds.max()))
    drawn = []
    for _ in range(RESAMPLES):
        its = rng.integers(len(openings), size=(len(openings), 1))
        at = first[its] + (rng.random(size) * rounds[its]).astype(np.int64)
        drawn.append(_middle(logs[at].ravel()))
    value, low, high = (float(one) for one in np.exp([_middle(logs), *np.quantile(drawn, (TAIL, 1 - TAIL))]))
    took = np.median(np.concatenate([one.milliseconds for one in openings]))
    return Ratio(openings[0].step, openings[0].over, value, low, high, float(took))


def _middle(logs: npt.NDArray[np.float64]) -> float:
    """Return the mean of those in the middle: float64 [rounds]."""
    outside = int(len(logs) * (1 - MIDDLE) / 2)
    return float(np.sort(logs)[outside : len(logs) - outside].mean())
