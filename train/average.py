"""The moving average of the weights: what is validated and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from train.backbone import Classifier


def make_average(classifier: Classifier, decay: float) -> AveragedModel:
    """Return an average of `classifier`, weights and BatchNorm statistics alike, that starts as it is now.

    After n updates the decay is at most (1 + n) / (10 + n), so that the first steps do not linger: the rule of
    TensorFlow's ExponentialMovingAverage. `.module` is the averaged classifier.
    """
    average = AveragedModel(classifier, multi_avg_fn=_blend(decay), use_buffers=True)
    average.requires_grad_(False)
    return average


def _blend(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def blend(average: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        kept = min(decay, (1 + int(updates)) / (10 + int(updates)))
        for mean, new in zip(average, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(new, 1 - kept)
            else:  # a count of batches has no mean
                mean.copy_(new)

    return blend
