"""Networks: a torchvision backbone with a head for our labels, behind the graph's own input.

The module that training validates is the module that export traces: uint8 NHWC BGR in, logits out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
import torchvision
from torch import Tensor, nn

from edge.errors import UsageError, nearest

HEADS = {
    "mobilenet_v2": "classifier.1",
    "resnet18": "fc",
    "resnet34": "fc",
    "resnet50": "fc",
}
"""Backbone, by torchvision's name, to the path of its last linear layer. A new one is one line."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of RGB scaled to 0..1: what torchvision's classification weights were trained with."""


class Classifier(nn.Module):
    """A backbone that takes what the bin has: uint8 [n, height, width, 3] BGR to logits float32 [n, classes]."""

    def __init__(self, backbone: nn.Module, head: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.head_path = head
        # In BGR order and in levels 0..255, so that one subtraction and one product do it all.
        mean = torch.tensor(IMAGENET_MEAN[::-1]) * 255
        std = torch.tensor(IMAGENET_STD[::-1]) * 255
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", (1 / std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("to_rgb", torch.tensor([2, 1, 0]), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Answer uint8 [n, height, width, 3] BGR with logits float32 [n, classes]."""
        # Cast first and copy last: the other order is not taken by TensorRT, or breaks up the pooling.
        x = image.to(torch.float32).permute(0, 3, 1, 2).contiguous()
        x = (x - self.get_buffer("mean")) * self.get_buffer("scale")
        return cast(Tensor, self.backbone(x.index_select(1, self.get_buffer("to_rgb"))))

    @property
    def head(self) -> nn.Linear:
        """The last layer: features to logits."""
        return cast(nn.Linear, self.backbone.get_submodule(self.head_path))

    def body_parameters(self) -> Iterator[nn.Parameter]:
        """All parameters but the head's."""
        head = {id(parameter) for parameter in self.head.parameters()}
        return (parameter for parameter in self.backbone.parameters() if id(parameter) not in head)

    def freeze_body(self) -> None:
        """Keep the backbone's weights and BatchNorm statistics as they are; only the head learns."""
        for parameter in self.body_parameters():
            parameter.requires_grad_(False)
        self.backbone.eval()
        self.head.train()

    def thaw_body(self) -> None:
        """Let everything learn."""
        self.requires_grad_(True)
        self.train()


class Probabilities(nn.Module):
    """What is exported: calibrated probabilities float32 [n, classes] from uint8 [n, height, width, 3] BGR."""

    def __init__(self, classifier: Classifier, temperature: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Softmax of the logits divided by the temperature (Guo et al. 2017)."""
        return torch.softmax(self.classifier(image) / self.temperature, dim=1)


def check_model(name: str) -> None:
    """Raise UsageError, with the nearest names, where there is no backbone of that name."""
    if name not in HEADS:
        raise UsageError(f"unknown model {name!r}; nearest: {nearest(name, HEADS)}")


def make_classifier(name: str, classes: int) -> Classifier:
    """Return the backbone `name` with random weights and a head for `classes` labels.

    Raises UsageError on an unknown name.
    """
    check_model(name)
    return Classifier(torchvision.models.get_model(name, weights=None, num_classes=classes), HEADS[name])
