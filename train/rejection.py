"""From which score on an answer is accepted, so that what is accepted keeps a stated error, and what that costs.

The procedure is fixed-sequence testing as in Learn then Test (A. Angelopoulos, S. Bates, E. Candès, M. Jordan and
L. Lei, arXiv:2110.01052). Photos that neither trained the network nor chose its weights are ranked by their scores
alone. Going down the ranks, each hypothesis "the risk of what scores at least this much exceeds the target" is
tested at the same level, and the first that is not rejected ends it: the level needs no share for each test.

Why it holds though the thresholds are the photos' own scores: given the scores, mistakes are independent. Let the
first wrong threshold lie just below the score t where the risk of what is accepted passes the target. Given how
many photos lie above t, their mistakes are binomial at the target; those below are wrong at least as often, where
surer answers are not more often wrong. So the mistakes at the first wrong rank are at least those of a binomial at
the target, and the exact test rejects it with probability delta at most. What is assumed: the photos are drawn
like those to come, and the chance of a mistake does not rise with the score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edge.backends.base import Probabilities
from edge.costs import choose_answers
from edge.errors import TrainError, UsageError
from edge.intervals import wilson
from edge.scores import Truth
from train import risk_bounds
from train.risk_bounds import Numbers

DELTA = 0.05
"""Chance that the bound does not hold, over the draw of the photos that judged."""
MOST_STARTS = 4
CURVE_POINTS = 400


@dataclass(frozen=True)
class Rejection:
    """What is accepted, and what that keeps."""

    threshold: float | None
    """Score from which on an answer is accepted, itself included; None: no threshold can be vouched for."""
    target: float
    """Risk of what is accepted that was asked for, 0 to 1."""
    bound: float
    """Risk that what is accepted keeps with `confidence`, 0 to 1: the target, or above it where not `reached`."""
    confidence: float
    """Chance, over the draw of the photos that judged, that the bound holds."""
    coverage: float
    """Share of the photos that judged which is accepted, 0 to 1."""
    coverage_low: float
    """Low end of the 95 % interval of the coverage (Wilson)."""
    coverage_high: float
    """High end of it."""
    accepted: int
    """Photos that judged and are accepted."""
    images: int
    """Photos that judged."""
    reached: bool
    """Whether so many photos could show the target. If not, `bound` holds with the same confidence."""
    priced: bool = False
    """Whether risk is the mean cost of an answer over the largest cost; else the share of wrong answers."""


@dataclass(frozen=True)
class Pricing:
    """What mistakes cost."""

    costs: tuple[tuple[float, ...], ...] | None = None
    """By true label (rows) and answer (columns), in output order; None: all the same."""
    least_score: float = 0.0
    """Score below which rejecting is cheaper than answering, 0 to 1."""


@dataclass(frozen=True)
class RiskCoverage:
    """What rejection buys: the risk of what is accepted at every share that may be accepted. float64 [points]."""

    coverage: Numbers
    """Share accepted, rising to 1."""
    risk: Numbers
    """Mean loss of what is accepted."""
    low: Numbers
    """Low end of its pointwise 95 % interval (Clopper-Pearson)."""
    high: Numbers
    """High end of it."""
    thresholds: Numbers
    """Score from which on so much is accepted."""
    aurc: float
    """Mean risk over all coverages (Geifman, Uziel and El-Yaniv 2019); 0 is perfect."""


@dataclass(frozen=True)
class _Ranks:
    """Photos from the highest score down, and where they may be parted: never between equal scores."""

    thresholds: Numbers
    """float64 [ranks], falling."""
    accepted: npt.NDArray[np.int64]
    """int64 [ranks], rising: photos that score at least that much."""
    total: Numbers
    """float64 [ranks]: their losses, added up."""


@dataclass(frozen=True)
class _Passed:
    """How far one sequence of tests came. The best of several has the least bound, then the most photos."""

    bound: float
    accepted: int
    threshold: float = field(compare=False)


def choose_threshold(
    scores: npt.ArrayLike,
    losses: npt.ArrayLike,
    target: float,
    delta: float = DELTA,
    *,
    priced: bool = False,
) -> Rejection:
    """Return the lowest threshold whose accepted answers keep a risk of `target` with confidence 1 - delta.

    `scores` float [n], higher is surer; `losses` float [n]: 1 for a wrong answer and 0 for a right one, or with
    `priced` anything from 0 to 1. Tests are exact (Clopper-Pearson), or Hoeffding-Bentkus for prices.

    Where n photos can't show the target, the bound is the least of those that the same tests passed on their way
    to it: a sequence begins with the bound 1 at a rank chosen by n alone and lowers it there first, which is the
    upper confidence limit at that rank. So the bound that is stated keeps the confidence in either case.
    Raises UsageError: a target or delta outside 0 to 1. TrainError: numbers of another shape or range.
    """
    for name, value in (("target", target), ("delta", delta)):
        if not 0 < value < 1:
            raise UsageError(f"the {name} of the rejection is {value}, expected more than 0 and less than 1")
    ranks, images = _rank(scores, losses, priced)
    starts, level = _starts(images, target, delta)
    passed = [_descend(ranks, start, target, level, priced) for start in starts]
    best = min(passed, key=lambda its: (its.bound, -its.accepted), default=_Passed(1.0, 0, math.inf))
    shown = best.bound < 1
    accepted = best.accepted if shown else 0
    low, high = wilson(accepted, images)
    return Rejection(
        threshold=best.threshold if shown else None,
        target=target,
        bound=best.bound,
        confidence=1 - delta,
        coverage=accepted / images if images else 0.0,
        coverage_low=low,
        coverage_high=high,
        accepted=accepted,
        images=images,
        reached=best.bound <= target,
        priced=priced,
    )


def weigh(truth: Truth, probabilities: Probabilities, rule: Pricing) -> tuple[Truth, Numbers, Numbers]:
    """Return the answers, int64 [n], how sure they are and what they lose, float64 [n] from 0 to 1.

    Without costs a wrong answer loses 1. truth int64 [n], probabilities float32 [n, classes].
    """
    costs = None if rule.costs is None else np.array(rule.costs, dtype=np.float64)
    answers, scores = choose_answers(probabilities, costs)
    losses = (answers != truth).astype(np.float64) if costs is None else costs[truth, answers] / costs.max()
    return answers, scores, losses


def choose_rejection(
    truth: Truth, probabilities: Probabilities, known: npt.NDArray[np.bool_], target: float, rule: Pricing
) -> Rejection:
    """Choose the threshold from answers to held-out photos: truth int64 [n], probabilities float32 [n, classes].

    `known` bool [n]: whether a photo is taken for an object of the classes; a stranger is not accepted, however
    sure the answer. A threshold below the score where rejecting is cheaper than answering rises to it. Raises as
    choose_threshold does.
    """
    _, scores, losses = weigh(truth, probabilities, rule)
    found = choose_threshold(scores[known], losses[known], target, priced=rule.costs is not None)
    threshold = max(found.threshold or 0.0, rule.least_score) or found.threshold
    lowest = -np.inf if threshold is None else threshold  # without one, nothing is rejected for want of sureness
    accepted = int(np.count_nonzero(known & (scores >= lowest)))
    low, high = wilson(accepted, len(truth))
    return replace(
        found,
        threshold=threshold,
        coverage=accepted / len(truth),
        coverage_low=low,
        coverage_high=high,
        accepted=accepted,
        images=len(truth),
    )


def tell(rejection: Rejection) -> str:
    """Return what the threshold keeps and costs as one sentence for people."""
    its = rejection
    of = " of the largest cost" if its.priced else ""
    what = f"the {'mean cost' if its.priced else 'error'} of what is accepted"
    target, bound = f"{100 * its.target:.1f} %{of}", f"{100 * its.bound:.1f} %{of}"
    sure = f"with {100 * its.confidence:.0f} % confidence"
    if its.threshold is None:
        return f"{its.images} photos that judged can't show that any threshold keeps {what} below {target} {sure}"
    share = (
        f"{100 * its.coverage:.0f} % of the photos ({its.accepted} of {its.images} that judged; of others like "
        f"them, {100 * its.coverage_low:.0f} to {100 * its.coverage_high:.0f} %)"
    )
    if its.reached:
        return f"accepting from {its.threshold:.3f} on keeps {what} below {bound} {sure} and accepts {share}"
    return (
        f"{its.images} photos that judged can't show that {what} stays below {target}: the lowest that they can "
        f"show {sure} is {bound}, accepting from {its.threshold:.3f} on, which accepts {share}"
    )


def risk_coverage(scores: npt.ArrayLike, losses: npt.ArrayLike) -> RiskCoverage:
    """Return the curve of scores float [n], higher is surer, and losses float [n] in 0..1, of at most 400 points.

    Photos of equal score are accepted together; in between, AURC takes the mean over their orders. The interval
    is each point's own: it is not the bound of choose_threshold, which looks at many. Raises TrainError: numbers
    of another shape or range, or none.
    """
    ranks, images = _rank(scores, losses, priced=True)
    if not images:
        raise TrainError("no photo judged, expected at least one for the curve of risk and coverage")
    every = np.arange(1, images + 1)
    aurc = np.mean(np.interp(every, np.append(0, ranks.accepted), np.append(0.0, ranks.total)) / every)
    count = len(ranks.accepted)
    kept = np.unique(np.linspace(0, count - 1, min(count, CURVE_POINTS)).astype(np.int64))
    accepted, total = ranks.accepted[kept], ranks.total[kept]
    low, high = risk_bounds.clopper_pearson(total, accepted)
    return RiskCoverage(accepted / images, total / accepted, low, high, ranks.thresholds[kept], float(aurc))


def _rank(scores: npt.ArrayLike, losses: npt.ArrayLike, priced: bool) -> tuple[_Ranks, int]:
    """Order the photos. Raises TrainError where the arrays are not what they should be."""
    score, loss = np.asarray(scores, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if score.ndim != 1 or score.shape != loss.shape:
        raise TrainError(f"scores of shape {score.shape} and losses of {loss.shape}, expected one of each a photo")
    if not np.isfinite(score).all():
        raise TrainError("scores that are no numbers, expected finite ones; train again with a lower --lr")
    if not ((loss >= 0) & (loss <= 1)).all() or not (priced or np.isin(loss, (0, 1)).all()):
        expected = "0 to 1" if priced else "0 or 1; prices need priced=True"
        raise TrainError(f"losses from {loss.min()} to {loss.max()}, expected {expected}")
    order = np.argsort(-score, kind="stable")
    score, total = score[order], np.cumsum(loss[order])
    last = np.flatnonzero(np.append(score[1:] < score[:-1], True)) if len(score) else np.zeros(0, dtype=np.int64)
    return _Ranks(score[last], last + 1, total[last]), len(score)


def _starts(images: int, target: float, delta: float) -> tuple[list[int], float]:
    """Return the ranks at which sequences start, by the number of photos alone, and the level of each.

    One mistake among the surest few ends a sequence that starts there, so large sets get several, each with
    twice the photos of the one before, and delta is shared out evenly (LTT, section 2.3). The first start is the
    least number of photos that could show the target, or half of them all where there are not twice as many: on
    simulated photos (300 to 6,000, accuracy 0.90 to 0.99) this certified the most, or within 5 points of it.
    """
    if not images:
        return [], delta
    count = 1
    while count < MOST_STARTS and _least(target, delta / (count + 1)) * 2**count <= images:
        count += 1
    first = min(_least(target, delta / count), math.ceil(images / 2))
    return [first * 2**step for step in range(count)], delta / count


def _least(target: float, level: float) -> int:
    """How many photos without a mistake show a risk of at most `target`."""
    return math.ceil(math.log(level) / math.log1p(-target) - 1e-9)


def _descend(ranks: _Ranks, start: int, target: float, level: float, priced: bool) -> _Passed:
    """Test from rank `start` on: first at lower and lower bounds there, then at more and more photos.

    With k photos no bound below 1 - level ** (1 / k) can be shown, so that is what the test at rank k asks for
    until it falls below the target.
    """
    begin = int(np.searchsorted(ranks.accepted, start))
    accepted, total = ranks.accepted[begin:], ranks.total[begin:]
    asked = np.maximum(target, -np.expm1(math.log(level) / accepted))
    test = risk_bounds.hoeffding_bentkus if priced else risk_bounds.exact
    failed = test(total, accepted, asked) > level * (1 + 1e-9)
    steps = int(failed.argmax()) if failed.any() else len(failed)
    at = max(0, steps - 1)
    bound = float(asked[at]) if steps else risk_bounds.upper(test, float(total[0]), int(accepted[0]), level)
    return _Passed(bound, int(accepted[at]), float(ranks.thresholds[begin + at]))
