"""What PyTorch and the exported graphs say of a role's photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from edge.backends import Answers, Strangeness
from edge.preprocess import InputSpec, Pixels, preprocess
from edge.scores import Truth
from export.graph import Answering
from export.photos import Photos

Answerer = Callable[[Pixels], Answers]
"""From uint8 [n, height, width, 3] BGR to n answers."""


@dataclass(frozen=True)
class Answered:
    """The photos of a role, answered."""

    truth: Truth
    """int64 [photos]."""
    by_name: Mapping[str, Answers]
    """What each answerer said of all photos."""


def answer(photos: Photos, spec: InputSpec, answerers: Mapping[str, Answerer]) -> Answered:
    """Let every answerer see the same tensors.

    One photo at a time, as the bin does: thresholds are the scores of single photos, and in a batch these come
    out otherwise in the last digits.
    """
    truth: list[int] = []
    said: dict[str, list[Answers]] = {name: [] for name in answerers}
    for photo in photos:
        tensor = preprocess(photo.data, spec)[None]
        truth.append(photo.target)
        for name, infer in answerers.items():
            said[name].append(infer(tensor))
    return Answered(np.array(truth, dtype=np.int64), {name: _join(parts) for name, parts in said.items()})


def by_torch(module: Answering) -> Answerer:
    """Return an answerer that asks the module itself."""

    def infer(batch: Pixels) -> Answers:
        with torch.inference_mode():
            return Answers(*(output.numpy() for output in module(torch.from_numpy(batch))))

    return infer


def _join(parts: list[Answers]) -> Answers:
    strange: list[Strangeness] = [one.strangeness for one in parts if one.strangeness is not None]
    return Answers(
        np.concatenate([one.probabilities for one in parts]), np.concatenate(strange) if strange else None
    )
