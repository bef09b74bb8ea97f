"""All that the features of a data set tell: suspect labels, and whether more photos would help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge.errors import TrainError
from edge.scores import Truth
from train.insight.curve import LearningCurve, learn_curve
from train.insight.draws import Groups
from train.insight.features import Features
from train.insight.probe import compress
from train.insight.suspects import Suspects, find_suspects

Found = TypeVar("Found")


@dataclass(frozen=True)
class Insight:
    """What was found, or why it was not."""

    suspects: Suspects | None
    curve: LearningCurve | None
    notes: tuple[str, ...]
    """Sentences: what is missing and why, and what must be known to read the rest."""


def look(
    features: Features,
    labels: Truth,
    groups: Groups,
    learning: npt.NDArray[np.bool_],
    classes: int,
    seed: int,
    caveats: tuple[str, ...] = (),
) -> Insight:
    """Look for suspect labels among all photos, and measure the learning curve on those that are `learning`.

    features is float32 [photos, features], learning bool [photos]. Photos that are too few are no error: what
    can't be told is left out, and a note says why. `caveats` come first among the notes.
    """
    notes = list(caveats)
    compressed = compress(features)
    suspects = _try(lambda: find_suspects(compressed, labels, groups, classes, seed), notes)
    mine = np.flatnonzero(learning)
    curve = _try(lambda: learn_curve(compressed[mine], labels[mine], groups[mine], classes, seed), notes)
    return Insight(suspects, curve, tuple(notes))


def _try(find: Callable[[], Found], notes: list[str]) -> Found | None:
    try:
        return find()
    except TrainError as error:
        notes.append(str(error))
        return None
