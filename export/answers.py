"""What PyTorch and the exported graphs say of a role's photos."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from edge.appearance import Appearance, appearance
from edge.backends import Answers
from edge.backends.base import join
from edge.preprocess import InputSpec, Pixels, preprocess
from edge.progress import Progress
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
    looks: Appearance
    """How they look, float32 [photos, 4], a photo a row."""
    tensors: Mapping[int, Pixels]
    """Place of a photo to what was answered, uint8 [height, width, 3] BGR, of those that were to be kept."""


def answer(
    photos: Photos,
    spec: InputSpec,
    answerers: Mapping[str, Answerer],
    keep: Collection[int] = (),
    progress: Progress | None = None,
) -> Answered:
    """Let every answerer see the same tensors, and keep those of the photos in the places `keep`.

    One photo at a time, as the bin does: thresholds are the scores of single photos, and in a batch these come
    out otherwise in the last digits.
    """
    truth: list[int] = []
    looks: list[Appearance] = []
    said: dict[str, list[Answers]] = {name: [] for name in answerers}
    tensors: dict[int, Pixels] = {}
    for place, photo in enumerate(photos):
        if progress:
            progress(place, len(photos))
        tensor = preprocess(photo.data, spec)
        truth.append(photo.target)
        looks.append(appearance(tensor))
        for name, infer in answerers.items():
            said[name].append(infer(tensor[None]))
        if place in keep:
            tensors[place] = tensor
    answers = {name: join(parts) for name, parts in said.items()}
    return Answered(np.array(truth, dtype=np.int64), answers, np.stack(looks), tensors)


def by_torch(module: Answering) -> Answerer:
    """Return an answerer that asks the module itself."""

    def infer(batch: Pixels) -> Answers:
        with torch.inference_mode():
            return Answers(*(output.numpy() for output in module(torch.from_numpy(batch))))

    return infer
