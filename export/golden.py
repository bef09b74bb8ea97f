"""What the golden self-test compares with: photos that show much, and the answers of every artifact to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import functional_call

from edge import golden
from edge.backends import Backend, Probabilities
from edge.golden import Fault, batches
from edge.parity import spread
from edge.preprocess import Pixels, preprocess
from export.answers import Answered
from export.graph import Answering
from export.photos import Photos, spread_out
from train.backbone import Classifier
from train.checkpoint import About

UNSURE = 4
"""Photos that the model is least sure of: a sure answer hides a shift."""
CLASSES = 12
"""Classes that have a photo of their own, at most: the self-test decodes them all at every start."""


def make_golden(
    photos: Photos, test: Answered, reference: str, module: Answering, about: About, backends: Sequence[Backend]
) -> bytes:
    """Return golden.npz for the artifacts that `backends` run.

    `test`: what was answered to all of `photos`; `reference`: the name in it of what `module` answered itself.
    Raises DataError where a photo has gone, BackendError.
    """
    answers = test.by_name[reference]
    images = [photos[index].data for index in choose(answers.probabilities, test.truth)]
    tensors = np.stack([preprocess(data, about.input) for data in images])
    unit = 0.0 if answers.strangeness is None else spread(answers.strangeness)
    expected = {
        backend.info.file: golden.Expected(
            backend.infer(tensors),
            golden.TOLERANCE[backend.info.precision],
            golden.STRANGENESS_TOLERANCE[backend.info.precision] * unit,
        )
        for backend in backends
    }
    signatures = {fault: sign(module, fault, tensors) for fault in Fault}
    return golden.pack(images, about.input, expected, signatures)


def choose(probabilities: Probabilities, truth: npt.NDArray[np.int64]) -> list[int]:
    """Choose the photos that the model is least sure of, and of each class the one in which it shows best.

    Two classes that change places are found only where an answer tells them apart. Of more than CLASSES classes
    these are spread out evenly. Returns places in ascending order.
    """
    chosen = set(np.argsort(probabilities.max(axis=1))[:UNSURE].tolist())
    held = np.unique(truth)
    for place in spread_out(CLASSES, len(held)):
        own = np.flatnonzero(truth == held[place])
        chosen.add(int(own[probabilities[own, held[place]].argmax()]))
    return sorted(chosen)


def sign(module: Answering, fault: Fault, tensors: Pixels) -> Probabilities:
    """Return what the graph would answer to the `batches` of `tensors` if it had the fault.

    float32 [3, photos, classes].
    """
    changed = {f"classifier.{name}": buffer for name, buffer in _buffers(module.classifier, fault).items()}
    with torch.inference_mode():
        answers = [functional_call(module, changed, torch.from_numpy(batch))[0] for batch in batches(tensors)]
    return torch.stack(answers).numpy().astype(np.float32)


def _buffers(classifier: Classifier, fault: Fault) -> dict[str, Tensor]:
    """Return the buffers of the classifier that the fault changes: mean and scale in BGR, for levels 0 to 255."""
    if fault is Fault.NONE:
        return {}
    if fault is Fault.CHANNELS:
        return {"to_rgb": classifier.get_buffer("to_rgb").flip(0)}
    mean, std = classifier.get_buffer("mean"), 1 / classifier.get_buffer("scale")
    zero, one = torch.zeros_like(mean), torch.ones_like(std)
    mean, std = {
        Fault.REVERSED: (mean.flip(1), std.flip(1)),
        Fault.SWAPPED: (std, mean),
        Fault.UNIT: (zero, 255 * one),
        Fault.CENTRED: (127.5 * one, 127.5 * one),
        Fault.UNSCALED: (mean / 255, std / 255),
        Fault.RAW: (zero, one),
    }[fault]
    return {"mean": mean, "scale": 1 / std}
