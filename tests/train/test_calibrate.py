import numpy as np
import pytest

from edge.scores import calibration_error
from train.calibrate import fit_temperature, softmax


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
