"""The remedies: tried in order, the first that is enough is taken, judged on validation photos alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from edge.manifest import Remedy
from export import int8
from export.int8 import Quantized, Quantizer, Validation, answer, divergence
from export.qdq import Scheme
from tests.export.nets import CLASSES, graph, photos, targets

LABELS = tuple("abcd"[:CLASSES])


@cache
def _validation() -> Validation:
    seen = photos(64, seed=11)
    return Validation(seen, targets(64).numpy(), LABELS, answer(graph(), seen))


def _quantizer(tolerance: float = 0.5) -> Quantizer:
    return Quantizer(graph(), photos(40), _validation(), tolerance)


def test_the_first_remedy_that_is_enough_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "MOST_DIVERGENCE", 1.0)
    monkeypatch.setattr(int8, "LEAST_AGREEMENT", 0.0)
    quantized = _quantizer().quantize(Scheme.CPU)
    assert [one.name for one in quantized.remedies] == ["min-max"]
    assert quantized.remedies[0].passed


@pytest.mark.slow
def test_where_none_is_enough_the_nearest_answers_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "MOST_DIVERGENCE", 0.0)
    monkeypatch.setattr(int8, "IN_FLOAT", (1, 2))
    quantized = _quantizer().quantize(Scheme.TENSORRT)
    names = [one.name for one in quantized.remedies]
    corrected = [f"{method}, biases corrected" for method in ("min-max", "percentile", "mse")]
    assert names[:4] == ["min-max", *corrected]
    assert [name.rpartition(", ")[2] for name in names[4:]] == ["1 layer in float", "2 layers in float"]
    assert not any(one.passed for one in quantized.remedies)
    least = min(one.divergence for one in quantized.remedies)
    assert _divergence(quantized) == pytest.approx(least, abs=1e-6)


def test_what_is_told_of_a_remedy_is_what_the_graph_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "MOST_DIVERGENCE", 1.0)
    monkeypatch.setattr(int8, "LEAST_AGREEMENT", 0.0)
    quantized = _quantizer().quantize(Scheme.CPU)
    its = _validation()
    got, expected = (
        one.probabilities.argmax(axis=1) for one in (answer(quantized.model, its.tensors), its.reference)
    )
    told = quantized.remedies[-1]
    assert told == replace(
        Remedy("min-max", 64, float((got == expected).mean()), float((got == its.truth).mean()), 0.0, passed=True),
        divergence=_divergence(quantized),
    )


def test_the_most_sensitive_layers_stay_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that int8 can't hold is the first that is left alone, and leaving it alone helps."""
    monkeypatch.setattr(int8, "MOST_DIVERGENCE", 0.0)
    monkeypatch.setattr(int8, "IN_FLOAT", (1,))
    honest = int8.find_range
    spoilt = int8.find_layers(graph())[20]

    def spoil(observed: int8.Observed, method: int8.Method, *, symmetric: bool) -> tuple[float, float]:
        low, high = honest(observed, method, symmetric=symmetric)
        return (low * 100, high * 100) if observed is quantizer._observed[spoilt.input] else (low, high)

    quantizer = _quantizer()
    monkeypatch.setattr(int8, "find_range", spoil)
    remedies = quantizer.quantize(Scheme.TENSORRT).remedies
    assert remedies[-1].divergence < 0.3 * min(one.divergence for one in remedies[:-1])


def test_divergence_is_zero_for_the_same_answers_and_grows_with_the_difference() -> None:
    expected = np.array([[0.7, 0.2, 0.1]], dtype=np.float32)
    near, far = np.array([[0.6, 0.3, 0.1]], dtype=np.float32), np.array([[0.1, 0.2, 0.7]], dtype=np.float32)
    assert divergence(expected, expected) == 0.0
    assert divergence(expected, near) == pytest.approx(0.7 * np.log(0.7 / 0.6) + 0.2 * np.log(0.2 / 0.3), abs=1e-6)
    assert divergence(expected, far) > 10 * divergence(expected, near)


def _divergence(quantized: Quantized) -> float:
    its = _validation()
    return divergence(its.reference.probabilities, answer(quantized.model, its.tensors).probabilities)
