from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.backends import Answers
from edge.bundle import Bundle
from edge.decision import Choice, Decision, Reason, Rule, decide, decide_all, rule_of
from edge.errors import BundleError
from edge.manifest import Precision
from tests.tiny import make_bundle

POISON = np.array([[0.0, 1.0], [20.0, 0.0]])
"""Two classes, food and poison: to call poison food costs 20 times what the other mistake does."""


def row(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(
        tmp_path_factory.mktemp("decision") / "bundle",
        precisions=(Precision.FP32, Precision.INT8),
        reject_threshold=0.75,
        strangeness=True,
        stranger_threshold=0.25,
        costs=((0.0, 1.0, 2.0), (3.0, 0.0, 4.0), (5.0, 6.0, 0.0)),
    )


class TestDecide:
    def test_without_a_rule_everything_is_accepted(self) -> None:
        assert decide(row(0.25, 0.5, 0.25), 1e30, Rule()) == Choice(1, 0.5, Decision.ACCEPTED, Reason.NONE)

    @pytest.mark.parametrize(
        ("threshold", "reason"),
        [(0.5, Reason.NONE), (math.nextafter(0.5, 1), Reason.UNSURE), (1.5, Reason.UNSURE)],
    )
    def test_the_threshold_itself_is_accepted_and_all_below_is_unsure(
        self, threshold: float, reason: Reason
    ) -> None:
        choice = decide(row(0.25, 0.5, 0.25), None, Rule(reject_threshold=threshold))
        assert (choice.index, choice.confidence, choice.reason) == (1, 0.5, reason)
        assert (choice.decision is Decision.ACCEPTED) == (reason is Reason.NONE)

    @pytest.mark.parametrize(
        ("threshold", "reason"), [(3.0, Reason.NONE), (math.nextafter(3.0, 0), Reason.STRANGER)]
    )
    def test_more_strangeness_than_the_threshold_is_a_stranger(self, threshold: float, reason: Reason) -> None:
        assert decide(row(0.9, 0.1), 3.0, Rule(0.5, threshold)).reason is reason

    def test_an_unsure_stranger_is_a_stranger(self) -> None:
        assert decide(row(0.5, 0.5), 3.0, Rule(0.9, 1.0)).reason is Reason.STRANGER
        made = decide_all(Answers(row(0.5, 0.5)[None], row(3.0)), Rule(0.9, 1.0))
        assert (made.strangers.tolist(), made.unsure.tolist()) == ([True], [False]), "and counted once"

    def test_thresholds_are_not_rounded_to_float32(self) -> None:
        confidence = np.float32(0.9)
        rule = Rule(reject_threshold=math.nextafter(float(confidence), 1))
        assert np.float32(rule.reject_threshold) == confidence
        assert decide(row(confidence, 0.1), None, rule).reason is Reason.UNSURE

    def test_a_rule_that_needs_strangeness_and_gets_none_is_no_quiet_yes(self) -> None:
        with pytest.raises(BundleError, match="no strangeness: export the run again"):
            decide(row(0.9, 0.1), None, Rule(stranger_threshold=1.0))


class TestCosts:
    def test_the_label_is_the_cheapest_and_the_confidence_its_own(self) -> None:
        choice = decide(row(0.875, 0.125), None, Rule(costs=POISON))
        assert (choice.index, choice.confidence) == (1, 0.125)
        assert decide(row(0.875, 0.125), None, Rule()).index == 0
        assert decide(row(0.984375, 0.015625), None, Rule(costs=POISON)).index == 0

    def test_the_threshold_judges_the_cost_and_not_the_confidence(self) -> None:
        # 0.25 is the chance of food, which is thrown away at a cost of 1: 0.25 of cost, at 0.75 of confidence.
        dear, sure = row(0.875, 0.125), row(0.25, 0.75)
        made = decide_all(Answers(np.stack([dear, sure])), Rule(costs=POISON))
        assert made.scores[1] > made.scores[0]
        between = float(made.scores.mean())
        assert [decide(one, None, Rule(between, costs=POISON)).reason for one in (dear, sure)] == [
            Reason.UNSURE,
            Reason.NONE,
        ]


@given(
    st.lists(
        st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32), st.floats(0, 8, width=32)),
        min_size=1,
        max_size=20,
    ),
    st.none() | st.floats(-1, 1.5),
    st.none() | st.floats(0, 8),
    st.booleans(),
)
def test_many_are_decided_as_one_is(
    rows: list[tuple[float, float, float]], reject: float | None, strange: float | None, costly: bool
) -> None:
    rule = Rule(reject, strange, POISON if costly else None)
    answers = Answers(row(*(p for one in rows for p in one[:2])).reshape(-1, 2), row(*(one[2] for one in rows)))
    made = decide_all(answers, rule)
    assert not (made.unsure & made.strangers).any()
    for number, (first, second, strangeness) in enumerate(rows):
        choice = decide(row(first, second), strangeness, rule)
        assert (choice.index, choice.confidence) == (made.indices[number], made.confidences[number])
        assert (choice.decision is Decision.ACCEPTED) == made.accepted[number]
        assert (choice.reason is Reason.STRANGER) == made.strangers[number]


def test_the_rule_of_an_artifact_is_the_manifests(bundle: Bundle) -> None:
    rule = rule_of(bundle.manifest, "model.int8.onnx")
    assert (rule.reject_threshold, rule.stranger_threshold) == (0.75, 0.25)
    assert rule.costs is not None
    assert rule.costs[1].tolist() == [3.0, 0.0, 4.0]
    with pytest.raises(BundleError, match=r"no artifact model.fp8.onnx"):
        rule_of(bundle.manifest, "model.fp8.onnx")
