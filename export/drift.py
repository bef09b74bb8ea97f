"""What a bin is to compare its deposits with: each graph's own answers to photos that had no part in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge import drift_record
from edge.decision import Rule, decide_all
from edge.drift import NOTHING, Rows, row_of
from edge.drift_record import MOST
from edge.manifest import Artifact
from export.answers import Answered
from export.photos import spread_out
from train.checkpoint import About


def make_drift(answered: Sequence[Answered], artifacts: Sequence[Artifact], about: About) -> bytes:
    """Return drift.npz of all photos that were `answered`, or of MOST of them, evenly: they lie by class."""
    return drift_record.pack({one.file: _rows(answered, one, about) for one in artifacts})


def _rows(answered: Sequence[Answered], artifact: Artifact, about: About) -> Rows:
    costs = None if about.pricing.costs is None else np.array(about.pricing.costs, dtype=np.float64)
    rule = Rule(artifact.reject_threshold, artifact.stranger_threshold, costs)
    rows = []
    for part in answered:
        answers = part.by_name[artifact.file]
        its = decide_all(answers, rule)
        classes = np.where(its.strangers, len(about.labels), its.indices)
        rows += [
            row_of(classes[n], its.confidences[n], part.looks[n]) for n in np.flatnonzero(answers.sound).tolist()
        ]
    joined = np.concatenate([NOTHING, *rows])
    return joined[spread_out(MOST, len(joined))] if len(joined) else joined
