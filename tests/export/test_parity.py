import numpy as np
import pytest

from edge.backends import Answers, open_backend
from edge.bundle import load
from edge.manifest import Parity, Verdict
from export.parity import compare, judge, spread
from tests.conftest import TinyRun

STRANGENESS = np.linspace(5, 6, 300).astype(np.float32)


def _parity(tiny_run: TinyRun, flips: int, spoil: float = 0.0, strange: float | None = None) -> Parity:
    rng = np.random.default_rng(0)
    reference = rng.dirichlet(np.ones(3), 300).astype(np.float32)
    got = reference.copy()
    got[:flips] = np.roll(got[:flips], 1, axis=1)
    if spoil:
        got[-1] = spoil
    with open_backend(load(tiny_run.bundle), "onnxruntime") as backend:
        truth = reference.argmax(axis=1)
        if strange is None:
            return compare(backend, Answers(reference), Answers(got), truth)
        other = STRANGENESS.copy()
        other[7] += strange
        return compare(backend, Answers(reference, STRANGENESS), Answers(got, other), truth)


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


@pytest.mark.parametrize(("off", "verdict"), [(0.0, Verdict.PASS), (-0.5, Verdict.PASS), (1.0, Verdict.FAIL)])
def test_strangeness_is_compared_over_its_spread(tiny_run: TinyRun, off: float, verdict: Verdict) -> None:
    parity = _parity(tiny_run, 0, strange=off)
    assert parity.max_strangeness_difference == pytest.approx(abs(off) / 0.9, rel=1e-4)
    assert judge(parity) is verdict
    assert _parity(tiny_run, 0).max_strangeness_difference is None


def test_a_strangeness_that_is_no_number_agrees_with_nothing(tiny_run: TinyRun) -> None:
    parity = _parity(tiny_run, 0, strange=float("nan"))
    assert parity.agreement == pytest.approx(299 / 300)
    assert parity.max_strangeness_difference == 0.0


def test_photos_that_are_all_equally_strange_have_a_spread() -> None:
    assert 0 < spread(np.full(5, 3.0, dtype=np.float32)) < 1e-5
