"""Thresholds and their claims, measured on an artifact's own answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.backends import Answers
from edge.decision import Rule, decide_all
from edge.preprocess import InputSpec
from export.limits import Limits, measure
from train.checkpoint import About
from train.rejection import Pricing

ABOUT = About("resnet18", ("a", "b"), InputSpec(32, 32), 1, 1.0, 0, "none", 1.0, {}, max_error=0.05)
PHOTOS = 2000


def made(seed: int, strange: bool = True) -> tuple[Answers, np.ndarray]:
    """Calibrated answers of two classes, with strangeness from 0 to 1 that tells nothing of mistakes."""
    rng = np.random.default_rng(seed)
    first = rng.beta(0.4, 0.4, PHOTOS).astype(np.float32)
    truth = (rng.random(PHOTOS) > first).astype(np.int64)
    strangeness = rng.random(PHOTOS).astype(np.float32)
    return Answers(np.stack([first, 1 - first], axis=1), strangeness if strange else None), truth


def rule_of(limits: Limits, costs: np.ndarray | None = None) -> Rule:
    return Rule(limits.reject_threshold, limits.stranger_threshold, costs)


def test_the_claim_is_what_the_rule_does_to_the_photos_it_was_measured_on() -> None:
    answers, truth = made(0)
    assert answers.strangeness is not None
    limits = measure(answers, truth, answers.strangeness, replace(ABOUT, stranger_rejects=0.1))
    choices = decide_all(answers, rule_of(limits))
    claim = limits.rejection
    assert claim is not None
    assert claim.coverage == pytest.approx(choices.accepted.mean(), abs=1e-9)
    assert choices.strangers.mean() == pytest.approx(0.1, abs=0.02)
    assert (claim.target, claim.images, claim.reached) == (0.05, PHOTOS, True)
    assert (choices.indices != truth)[choices.accepted].mean() < claim.bound <= 0.05


def test_other_photos_keep_the_bound() -> None:
    """What was promised on one draw holds on another, strangers rejected and all."""
    kept = 0
    for seed in range(20):
        answers, truth = made(seed)
        limits = measure(answers, truth, made(100 + seed)[0].strangeness, ABOUT)
        others, their_truth = made(1000 + seed)
        choices = decide_all(others, rule_of(limits))
        kept += bool((choices.indices != their_truth)[choices.accepted].mean() <= 0.05 + 0.015)
    assert kept >= 19


def test_a_smaller_error_costs_coverage_and_few_photos_promise_less() -> None:
    answers, truth = made(0, strange=False)
    strict, lax = (measure(answers, truth, None, replace(ABOUT, max_error=error)) for error in (0.02, 0.1))
    assert strict.rejection is not None
    assert lax.rejection is not None
    assert strict.rejection.coverage < lax.rejection.coverage
    assert (strict.stranger_threshold, lax.stranger_threshold) == (None, None)
    few = measure(Answers(answers.probabilities[:20]), truth[:20], None, ABOUT).rejection
    assert few is not None
    assert not few.reached
    assert few.bound > 0.05


def test_with_costs_what_is_dear_is_bound() -> None:
    answers, truth = made(0, strange=False)
    costs = ((0.0, 1.0), (20.0, 0.0))
    limits = measure(answers, truth, None, replace(ABOUT, pricing=Pricing(costs)))
    matrix = np.array(costs)
    choices = decide_all(answers, rule_of(limits, matrix))
    paid = matrix[truth, choices.indices][choices.accepted] / 20
    assert limits.rejection is not None
    assert limits.rejection.coverage == pytest.approx(choices.accepted.mean(), abs=1e-9)
    assert paid.mean() < limits.rejection.bound


def test_too_few_validation_photos_make_nobody_a_stranger() -> None:
    answers, truth = made(0)
    assert answers.strangeness is not None
    assert measure(answers, truth, answers.strangeness[:48], ABOUT).stranger_threshold is None
    known = answers.strangeness[:49]
    assert measure(answers, truth, known, ABOUT).stranger_threshold == known.max()


def test_answers_that_are_no_numbers_count_as_rejected() -> None:
    answers, truth = made(0)
    assert answers.strangeness is not None
    broken = Answers(answers.probabilities.copy(), answers.strangeness)
    broken.probabilities[::2] = np.nan
    limits = measure(broken, truth, answers.strangeness, ABOUT)
    assert limits.rejection is not None
    assert 0 < limits.rejection.coverage <= 0.5
    broken.probabilities[:] = np.nan
    nothing = measure(broken, truth, np.full(5, np.nan, dtype=np.float32), ABOUT)
    assert (nothing.reject_threshold, nothing.stranger_threshold) == (None, None)
    assert nothing.rejection is not None
    assert (nothing.rejection.coverage, nothing.rejection.reached) == (0.0, False)
