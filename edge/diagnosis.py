"""Why an engine's answers to right tensors are wrong: what broke in its graph, as far as the answers tell."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.backends.base import Answers, Backend, Probabilities
from edge.errors import Stage
from edge.golden_record import Expected, Fault, Record, batches

Matrix = npt.NDArray[np.bool_]

CLEARLY = 3
"""Answers are a fault's where they are this many times as near to its signature as to what is right, and as to one
answer for all pictures: what does not depend on the picture is no sign of any fault."""

STAGES = {fault: Stage.COLOUR_ORDER if fault is Fault.CHANNELS else Stage.NORMALIZATION for fault in Fault}

WORDS = {
    Fault.CHANNELS: "red and blue changed places before the network",
    Fault.REVERSED: "mean and std of red and blue changed places",
    Fault.SWAPPED: "mean and std changed places",
    Fault.UNIT: "levels went in as 0 to 1, without mean and std",
    Fault.CENTRED: "levels went in as -1 to 1, with mean and std 0.5",
    Fault.UNSCALED: "mean and std for levels 0 to 1 met levels 0 to 255",
    Fault.RAW: "levels went in as 0 to 255, without mean and std",
}

ANEW = "export the run again"


@dataclass(frozen=True)
class Finding:
    """What broke."""

    stage: Stage
    words: str
    """What speaks for it, and how to mend it."""


def diagnose(record: Record, got: Answers, backend: Backend, labels: Sequence[str]) -> Finding:
    """Find out why `got`, numbers of the right shape, are not what was recorded of the photos.

    The engine is asked a few times more. Raises BackendError where it gives no answer.
    """
    return (
        _of_other_channels(record, backend)
        or _of_other_labels(record, got, labels)
        or _by_signature(record, got, backend)
        or Finding(
            Stage.ENGINE,
            "the engine does not compute here what it computed at export, in no way that is known: "
            f"take another --backend or --precision, or {ANEW}",
        )
    )


def _of_other_channels(record: Record, backend: Backend) -> Finding | None:
    """Try whether the graph answers right to RGB."""
    made = backend.infer(np.ascontiguousarray(record.tensors[..., ::-1]))
    if not _meets(made, record.expected):
        return None
    return Finding(
        Stage.COLOUR_ORDER,
        f"once red and blue change places in its input it answers right, so that it takes RGB, not BGR: {ANEW}",
    )


def _meets(made: Answers, expected: Expected) -> bool:
    right = expected.answers
    if not np.abs(made.probabilities - right.probabilities).max() <= expected.tolerance:
        return False
    if made.strangeness is None or right.strangeness is None:
        return True
    return bool(np.abs(made.strangeness - right.strangeness).max() <= expected.strangeness_tolerance)


def _of_other_labels(record: Record, got: Answers, labels: Sequence[str]) -> Finding | None:
    """Try whether one order of the columns, the same for all photos, makes all answers right."""
    wanted, tolerance = record.expected.answers.probabilities, record.expected.tolerance
    order = match(_near(wanted, got.probabilities, tolerance))
    moved = [] if order is None else [column for column, label in enumerate(order) if column != label]
    if order is None or not moved:
        return None
    first = moved[0]
    return Finding(
        Stage.LABELS,
        f"all answers are right once {len(moved)} of the {len(labels)} classes change places, so that it answers "
        f"in another order: {labels[order[first]]!r} stands where the manifest has {labels[first]!r}; {ANEW}",
    )


def _near(wanted: Probabilities, got: Probabilities, tolerance: float) -> Matrix:
    """Say which column of `got` can be which class: bool [classes, columns]."""
    near = np.ones((wanted.shape[1], got.shape[1]), dtype=np.bool_)
    for right, row in zip(wanted, got, strict=True):  # row by row: all at once would take classes squared of each
        near &= np.abs(right[:, None] - row[None, :]) <= tolerance
    return near


def match(near: Matrix) -> list[int] | None:
    """Give each column one class that it can be, and each class one column; its own wherever that can be.

    `near`: bool [classes, columns], square. Returns the class of each column, or None where there is no such
    choice. By augmenting paths (Kuhn 1955).
    """
    own = near.diagonal()
    column_of = [place if own[place] else None for place in range(len(near))]
    class_of = list(column_of)
    for start in np.flatnonzero(~own).tolist():
        came_from: dict[int, int] = {}  # column to the class that asks for it
        waiting, free = deque([start]), None
        while waiting and free is None:
            asking = waiting.popleft()
            for column in np.flatnonzero(near[asking]).tolist():
                if column in came_from:
                    continue
                came_from[column] = asking
                holder = class_of[column]
                if holder is None:
                    free = column
                    break
                waiting.append(holder)
        if free is None:
            return None
        place: int | None = free
        while place is not None:  # every class on the way takes the column it asked for, and leaves its own
            asking = came_from[place]
            class_of[place] = asking
            place, column_of[asking] = column_of[asking], place
    return [int(one) for one in class_of if one is not None]


def _by_signature(record: Record, got: Answers, backend: Backend) -> Finding | None:
    """Try whether the answers are those of a known fault."""
    if Fault.NONE not in record.signatures:
        return None
    dark = [backend.infer(batch).probabilities for batch in batches(record.tensors)[1:]]
    made = np.stack([got.probabilities, *dark])
    off = {fault: _distance(made, signature) for fault, signature in record.signatures.items()}
    right, alike = off.pop(Fault.NONE), _distance(made, made.mean(axis=(0, 1)))
    fault = min(off, key=lambda one: off[one], default=None)
    if fault is None or not off[fault] < min(right, alike) / CLEARLY:
        return None
    return Finding(
        STAGES[fault],
        f"it answers as if {WORDS[fault]} ({off[fault]:.2g} from that on average, {right:.2g} from what is "
        f"right): {ANEW}",
    )


def _distance(made: Probabilities, other: Probabilities) -> float:
    distance = float(np.abs(made - other).mean())
    return distance if np.isfinite(distance) else np.inf  # so that a signature of no numbers is never the least
