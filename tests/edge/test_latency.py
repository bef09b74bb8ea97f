from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import pytest

from edge.backends import Answers, BackendInfo
from edge.latency import WARM_UP, summarize, time_in_turns
from edge.manifest import Precision
from edge.preprocess import Pixels


@dataclass
class Clock:
    """Simulated time."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Engine:
    """Takes `milliseconds` of simulated time, and keeps what it was asked."""

    name: str
    milliseconds: float
    clock: Clock
    log: list[tuple[str, int]]
    """Of all engines: name, and the level of the photo."""
    memory: Pixels = field(default_factory=lambda: np.zeros((1, 2, 2, 3), dtype=np.uint8))
    info: BackendInfo = field(default_factory=lambda: BackendInfo("", "", Precision.FP32, "", 0, ()))

    def infer(self, batch: Pixels) -> Answers:
        assert batch is self.memory
        self.log.append((self.name, int(batch[0, 0, 0, 0])))
        self.clock.now += self.milliseconds / 1e3
        return Answers(np.ones((1, 2), dtype=np.float32))

    def allocate(self, images: int) -> Pixels:
        assert images == 1
        return self.memory

    def close(self) -> None:
        raise AssertionError("who opened it closes it")

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def photo(level: int) -> Pixels:
    return np.full((2, 2, 3), level, dtype=np.uint8)


def engines(clock: Clock, log: list[tuple[str, int]]) -> list[Engine]:
    return [Engine(name, ms, clock, log) for name, ms in (("a", 2.0), ("b", 5.0), ("c", 3.0))]


def test_each_engine_has_its_own_column_and_a_turn_in_every_round() -> None:
    clock, log, told = Clock(), [], []
    samples = time_in_turns(
        engines(clock, log),
        [photo(7), photo(8)],
        40,
        1e9,
        lambda done, total: told.append((done, total)),
        clock,
    )
    np.testing.assert_allclose(samples, np.tile([2.0, 5.0, 3.0], (40, 1)), rtol=1e-6)
    turns = log[3 * WARM_UP :]
    rounds = [turns[at : at + 3] for at in range(0, len(turns), 3)]
    assert [sorted(one) for one in rounds[:3]] == [[(name, level) for name in "abc"] for level in (7, 8, 7)]
    assert (
        len({tuple(name for name, _ in one) for one in rounds}) == 6
    )  # orders: no engine follows always the same
    assert told == [(done, 40) for done in range(1, 41)]


def test_engines_are_warm_before_they_are_timed() -> None:
    clock, log = Clock(), []
    time_in_turns(engines(clock, log), [photo(7)], 1, 1e9, lambda *_: None, clock)
    assert sorted(log[: 3 * WARM_UP]) == sorted([("a", 7), ("b", 7), ("c", 7)] * WARM_UP)
    assert len(log) == 3 * WARM_UP + 3


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 1), (0.025, 3), (1.0, 50)])
def test_time_that_is_up_ends_with_a_whole_round(seconds: float, rounds: int) -> None:
    clock = Clock()
    samples = time_in_turns(engines(clock, []), [photo(7)], 50, seconds, lambda *_: None, clock)
    assert samples.shape == (rounds, 3)


def test_summary() -> None:
    samples = np.array([1.0] * 98 + [2.0, 99.0])
    latency = summarize(samples)
    assert (latency.p50_ms, latency.rounds) == (1.0, 100)
    assert latency.p99_ms == pytest.approx(np.percentile(samples, 99))
    assert 2.0 < latency.p99_ms < 3.0
    assert latency.fps == pytest.approx(1e3 / 1.99)
