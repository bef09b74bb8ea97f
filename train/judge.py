"""Trained weights over photos, in fp32, through the preprocessing of the bin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from edge.scores import Truth
from train.backbone import Classifier
from train.loaders import plain_loader
from train.photos import Pictures

Logits = npt.NDArray[np.float32]
"""float32 [images, classes]."""


def answer(
    classifier: Classifier, pictures: Pictures, device: torch.device, batch_size: int = 32, workers: int = 0
) -> tuple[Truth, Logits]:
    """Return the true labels, int64 [images], and the logits, float32 [images, classes], in order."""
    classifier = classifier.to(device).eval()
    logits = []
    with torch.inference_mode():
        for images, _ in plain_loader(pictures, batch_size, workers=workers, pin=device.type == "cuda"):
            logits.append(classifier(images.to(device, non_blocking=True)).float().cpu().numpy())
    return pictures.targets, np.concatenate(logits)
