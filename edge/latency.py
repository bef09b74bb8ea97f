"""Latency: engines that are timed in turns, so that a noisy machine is noisy to all of them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.backends.base import Backend
from edge.preprocess import Pixels
from edge.progress import Progress

Milliseconds = npt.NDArray[np.float64]

WARM_UP = 10
"""Inferences of each engine before any is timed: the first ones allocate."""


@dataclass(frozen=True)
class Latency:
    """What one photo at a time takes, inference alone."""

    p50_ms: float
    p99_ms: float
    fps: float
    """Photos a second, one after another: 1000 over the mean."""
    rounds: int
    """Timed inferences."""


def summarize(samples: Milliseconds) -> Latency:
    """Summarize float64 [rounds] of milliseconds, one at least."""
    p50, p99 = np.percentile(samples, (50, 99))
    return Latency(float(p50), float(p99), float(1e3 / samples.mean()), len(samples))


def time_in_turns(
    engines: Sequence[Backend],
    photos: Sequence[Pixels],
    rounds: int,
    seconds: float,
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
) -> Milliseconds:
    """Let every engine answer a photo in each round, and return float64 [rounds, engines], milliseconds of each.

    `photos`: each uint8 [height, width, 3] BGR, one at least, taken in turn. Ends after `rounds` or, with the
    round that is under way, after `seconds`. `progress` is told (done, rounds). The order within a round is drawn
    anew, so that no engine always finds the caches as the same other one left them. Raises BackendError.
    """
    inputs = [engine.allocate(1) for engine in engines]
    order, rng = list(range(len(engines))), random.Random(0)
    taken: list[list[float]] = []
    for each in order:
        inputs[each][0] = photos[0]
        for _ in range(WARM_UP):
            engines[each].infer(inputs[each])
    begun = clock()
    while len(taken) < rounds and (not taken or clock() - begun < seconds):
        photo, row = photos[len(taken) % len(photos)], [0.0] * len(engines)
        rng.shuffle(order)
        for each in order:
            inputs[each][0] = photo
            row[each] = _time(engines[each], inputs[each], clock)
        taken.append(row)
        progress(len(taken), rounds)
    return np.array(taken, dtype=np.float64)


def _time(engine: Backend, batch: Pixels, clock: Callable[[], float]) -> float:
    begun = clock()
    engine.infer(batch)
    return (clock() - begun) * 1e3
