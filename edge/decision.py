"""From what a graph answered to what the bin does with it: pure, and the only place that compares thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from edge.backends.base import Answers
from edge.costs import choose_answers
from edge.errors import BundleError
from edge.manifest import Manifest

Flags = npt.NDArray[np.bool_]
"""bool [n]."""


class Decision(str, Enum):
    """What the bin does with the answer."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Reason(str, Enum):
    """Why an answer was rejected."""

    NONE = ""
    """It was accepted."""
    UNSURE = "unsure"
    """It may be any of several classes: its score is below the artifact's threshold."""
    STRANGER = "stranger"
    """It looks like nothing that the network was trained on."""


@dataclass(frozen=True, eq=False)
class Rule:
    """What one artifact's answers have to reach."""

    reject_threshold: float | None = None
    """An answer whose score, as in edge.costs, is lower is rejected: without costs, the label's probability."""
    stranger_threshold: float | None = None
    """An answer with more strangeness is rejected."""
    costs: npt.NDArray[np.float64] | None = None
    """float64 [true class, answered class]; None: all mistakes cost the same."""


@dataclass(frozen=True)
class Choice:
    """One decision."""

    index: int
    """Of the label."""
    confidence: float
    """The label's probability, 0 to 1."""
    decision: Decision
    reason: Reason


@dataclass(frozen=True, eq=False)
class Choices:
    """Many decisions, in the order of the answers."""

    indices: npt.NDArray[np.int64]
    """int64 [n], of the labels."""
    confidences: npt.NDArray[np.float64]
    """float64 [n], the labels' probabilities."""
    scores: npt.NDArray[np.float64]
    """float64 [n], what the rejection threshold judges; larger is surer."""
    strangers: Flags
    """bool [n], rejected since they look like nothing known."""
    unsure: Flags
    """bool [n], rejected since their score is too low; none of them is a stranger."""

    @property
    def accepted(self) -> Flags:
        """Neither: bool [n]."""
        return ~(self.strangers | self.unsure)


def rule_of(manifest: Manifest, file: str) -> Rule:
    """Return the rule of the artifact `file`. Raises BundleError where the manifest has no such artifact."""
    artifact = manifest.artifact_of(file)
    costs = None if manifest.costs is None else np.array(manifest.costs, dtype=np.float64)
    return Rule(artifact.reject_threshold, artifact.stranger_threshold, costs)


def decide_all(answers: Answers, rule: Rule) -> Choices:
    """Decide on every answer, in float64: numpy would round the thresholds to float32.

    A stranger is called one however unsure it is too: what the network makes of a thing it never saw means
    nothing. Raises BundleError where the rule needs a strangeness that the graph does not answer.
    """
    indices, scores = choose_answers(answers.probabilities, rule.costs)
    strangers = np.zeros(len(scores), dtype=np.bool_)
    if rule.stranger_threshold is not None:
        if answers.strangeness is None:
            raise BundleError(
                "the rule has a stranger_threshold and the answers no strangeness: export the run again"
            )
        strangers = answers.strangeness.astype(np.float64) > rule.stranger_threshold
    lowest = -np.inf if rule.reject_threshold is None else rule.reject_threshold
    return Choices(
        indices=indices,
        confidences=answers.probabilities[np.arange(len(indices)), indices].astype(np.float64),
        scores=scores,
        strangers=strangers,
        unsure=(scores < lowest) & ~strangers,
    )


def decide(probabilities: npt.NDArray[np.float32], strangeness: float | None, rule: Rule) -> Choice:
    """Decide on one answer, float32 [classes], as decide_all does on many."""
    strange = None if strangeness is None else np.array([strangeness], dtype=np.float64)
    made = decide_all(Answers(probabilities[None], strange), rule)
    reason = Reason.STRANGER if made.strangers[0] else Reason.UNSURE if made.unsure[0] else Reason.NONE
    return Choice(
        index=int(made.indices[0]),
        confidence=float(made.confidences[0]),
        decision=Decision.ACCEPTED if reason is Reason.NONE else Decision.REJECTED,
        reason=reason,
    )
