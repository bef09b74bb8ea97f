import numpy as np
import pytest

from edge.scores import calibration_error
from train.calibrate import COLDEST, fit_temperature, softmax


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    truth = np.array([rng.choice(5, p=row / row.sum()) for row in softmax(honest, 1.0).astype(np.float64)])
    spoiled = honest * np.float32(temperature)
    found = fit_temperature(spoiled, truth)
    assert found == pytest.approx(temperature, rel=0.03)
    assert calibration_error(truth, softmax(spoiled, found)) < 0.015


def test_softmax_holds_at_large_logits() -> None:
    probabilities = softmax(np.array([[1e4, 0, -1e4]], dtype=np.float32), 1.0)
    assert probabilities.tolist() == [[1.0, 0.0, 0.0]]


def test_few_photos_that_are_all_right_do_not_make_every_answer_certain() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    truth = np.array([rng.choice(5, p=row / row.sum()) for row in softmax(honest, 1.0).astype(np.float64)])
    sure = np.flatnonzero((honest.argmax(axis=1) == truth) & (softmax(honest, 1.0).max(axis=1) > 0.6))[:12]
    found = fit_temperature(honest[sure], truth[sure])
    assert 0.3 < found < 1
    coldest = calibration_error(truth, softmax(honest, COLDEST))
    assert calibration_error(truth, softmax(honest, found)) < 0.7 * coldest


def test_all_wrong_is_believed_with_many_photos_only() -> None:
    logits = np.tile(np.array([[4.0, 0, 0]], dtype=np.float32), (2000, 1))
    wrong = np.ones(2000, dtype=np.int64)
    assert fit_temperature(logits, wrong) > 5
    assert 1 < fit_temperature(logits[:1], wrong[:1]) < fit_temperature(logits, wrong)


def test_without_a_photo_the_logits_stay_as_they_are() -> None:
    assert fit_temperature(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64)) == 1.0
