"""What the network sees in each photo: the input of its last layer."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edge.errors import TrainError
from edge.progress import Progress
from train.backbone import Classifier
from train.loaders import plain_loader
from train.photos import Pictures

Features = npt.NDArray[np.float32]
"""float32 [photos, features]."""


def extract(
    classifier: Classifier,
    pictures: Pictures,
    device: torch.device,
    *,
    bf16: bool = False,
    batch_size: int = 32,
    workers: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Return what reaches the last layer of `classifier` from each photo, in order, through the bin's own view.

    The network runs in evaluation mode, with `bf16` in half precision; what is returned is float32. It takes
    4 bytes a photo and feature: half a gigabyte for 100,000 photos and MobileNetV2. Raises TrainError where the
    network answers with what is no number.
    """
    classifier = classifier.to(device).to(memory_format=torch.channels_last).eval()
    features = np.empty((len(pictures), classifier.head.in_features), dtype=np.float32)
    done = 0
    with torch.inference_mode(), _autocast(device, bf16), _Tap(classifier.head) as tap:
        for images, _ in plain_loader(pictures, batch_size, workers=workers, pin=device.type == "cuda"):
            classifier(images.to(device, non_blocking=True))
            features[done : done + len(images)] = tap.seen.float().cpu().numpy()
            done += len(images)
            if progress:
                progress(done, len(pictures))
    if not np.isfinite(features).all():
        raise TrainError(
            "the network's features are not all numbers, expected finite ones; start from other weights"
        )
    return features


class _Tap:
    """Keeps what a layer was last given."""

    def __init__(self, layer: nn.Module) -> None:
        self.seen = torch.empty(0)
        self._layer = layer
        self._hook: RemovableHandle | None = None

    def __enter__(self) -> _Tap:
        self._hook = self._layer.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *why: object) -> None:
        if self._hook:
            self._hook.remove()

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:  # noqa: ARG002  torch's signature
        self.seen = inputs[0]


def _autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)
