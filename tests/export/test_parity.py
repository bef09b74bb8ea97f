import numpy as np
import pytest

from edge.backends import open_backend
from edge.bundle import load
from edge.manifest import Parity, Verdict
from export.parity import compare, judge
from tests.conftest import TinyRun


def _parity(tiny_run: TinyRun, flips: int, spoil: float = 0.0) -> Parity:
    rng = np.random.default_rng(0)
    reference = rng.dirichlet(np.ones(3), 300).astype(np.float32)
    got = reference.copy()
    got[:flips] = np.roll(got[:flips], 1, axis=1)
    if spoil:
        got[-1] = spoil
    with open_backend(load(tiny_run.bundle), "onnxruntime") as backend:
        return compare(backend, reference, got, reference.argmax(axis=1))


@pytest.mark.parametrize(("flips", "verdict"), [(0, Verdict.PASS), (3, Verdict.PASS), (4, Verdict.FAIL)])
def test_less_than_99_per_cent_agreement_fails(tiny_run: TinyRun, flips: int, verdict: Verdict) -> None:
    parity = _parity(tiny_run, flips)
    assert parity.agreement == pytest.approx(1 - flips / 300)
    assert parity.accuracy == pytest.approx(1 - flips / 300)
    assert parity.reference_accuracy == 1.0
    assert (parity.max_difference > 0) == (flips > 0)
    assert judge(parity) is verdict


def test_an_answer_that_is_no_number_agrees_with_nothing(tiny_run: TinyRun) -> None:
    parity = _parity(tiny_run, 0, spoil=float("nan"))
    assert parity.agreement == pytest.approx(299 / 300)
    assert parity.accuracy == pytest.approx(299 / 300)
    assert parity.max_difference == 1.0
