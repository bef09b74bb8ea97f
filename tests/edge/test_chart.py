from __future__ import annotations

import numpy as np

from edge.chart import Series, latency_chart
from edge.draw import GREEN, RED
from edge.preprocess import Pixels


def _series(name: str, median: float, accuracy: float | None, **options: bool) -> Series:
    spread = np.exp(np.random.default_rng(0).normal(0, 0.05, 200))
    return Series(name, median * spread, accuracy, **options)


def _places(picture: Pixels, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns in which this colour stands, int64 [n]."""
    return np.flatnonzero((picture == np.array(colour[::-1], dtype=np.uint8)).all(axis=2).any(axis=0))


def test_what_is_slower_lies_further_right() -> None:
    picture = latency_chart("two", [_series("a", 5, None, best=True), _series("b", 9, None, good=False)])
    assert _places(picture, GREEN).max() < _places(picture, RED).min()


def test_the_trade_needs_two_accuracies() -> None:
    one = latency_chart("one", [_series("a", 5, 0.9), _series("b", 9, None)])
    two = latency_chart("two", [_series("a", 5, 0.9), _series("b", 9, 0.8)])
    assert two.shape[0] > one.shape[0] + 200


def test_the_accurate_lies_higher() -> None:
    picture = latency_chart("two", [_series("a", 5, 0.9, best=True), _series("b", 9, 0.8, good=False)])
    rows = [
        np.flatnonzero((picture == np.array(colour[::-1], dtype=np.uint8)).all(axis=2).sum(axis=1) >= 9)
        for colour in (GREEN, RED)
    ]
    assert rows[0].max() < rows[1].min()


def test_samples_that_are_all_the_same_are_drawn() -> None:
    assert latency_chart("flat", [Series("a", np.full(3, 2.0)), Series("b", np.full(1, 2.0))]).ndim == 3
