"""Trained weights over photos, in fp32, through the preprocessing of the bin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from edge.preprocess import InputSpec
from edge.scores import Truth
from train.backbone import Classifier
from train.photos import LabelledFile, plain_loader

Logits = npt.NDArray[np.float32]
"""float32 [images, classes]."""


def answer(
    classifier: Classifier,
    files: Sequence[LabelledFile],
    spec: InputSpec,
    device: torch.device,
    batch_size: int = 32,
    workers: int = 0,
) -> tuple[Truth, Logits]:
    """Return the true labels, int64 [images], and the logits, float32 [images, classes], in order."""
    classifier = classifier.to(device).eval()
    logits, truth = [], []
    with torch.inference_mode():
        for images, targets in plain_loader(files, spec, batch_size, workers):
            logits.append(classifier(images.to(device)).float().cpu().numpy())
            truth.append(targets.numpy())
    return np.concatenate(truth), np.concatenate(logits)
