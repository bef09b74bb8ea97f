"""Small trained graphs for tests of int8."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import torch

from edge.preprocess import InputSpec, Pixels, Resize
from export.graph import to_onnx
from train.backbone import Classifier, make_classifier

SIDE, CLASSES, STEPS = 64, 4, 60


@cache
def classifier(name: str = "mobilenet_v2") -> Classifier:
    """Return a network that tells the tints of `photos` most of the time, after a few seconds of training."""
    torch.manual_seed(0)
    made = make_classifier(name, CLASSES, img_size=SIDE, dropout=0.0).train()
    optimizer = torch.optim.Adam(made.parameters(), lr=2e-3)
    for step in range(STEPS):
        loss = torch.nn.functional.cross_entropy(made(torch.from_numpy(photos(24, seed=100 + step))), targets(24))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for step in range(20):
            made(torch.from_numpy(photos(24, seed=300 + step)))  # BatchNorm's statistics lag behind the weights
    return made.eval()


@cache
def graph(name: str = "mobilenet_v2") -> onnx.ModelProto:
    """Return the float graph of `classifier`."""
    return to_onnx(classifier(name), 1.0, InputSpec(SIDE, SIDE, Resize.STRETCH))


def photos(count: int, seed: int = 0) -> Pixels:
    """Return uint8 [count, 64, 64, 3]: noisy patches, each picture with a faint tint and a contrast of its own."""
    rng = np.random.default_rng(seed)
    tints = np.array(((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50)))[targets(count).numpy()]
    patches = (
        60 + rng.uniform(0, 130, (count, 8, 8, 3)) * rng.uniform(0.3, 1, (count, 1, 1, 1)) + tints[:, None, None]
    )
    return np.repeat(np.repeat(patches, SIDE // 8, axis=1), SIDE // 8, axis=2).clip(0, 255).astype(np.uint8)


def targets(count: int) -> torch.Tensor:
    """Return the tints of `photos`, int64 [count]."""
    return torch.arange(count) % CLASSES
