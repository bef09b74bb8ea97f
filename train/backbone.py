"""Networks: a backbone with a head for our labels, behind the graph's own input.

The module that training validates is the module that export traces: uint8 NHWC BGR in, logits out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from edge.errors import UsageError
from train.stages import Stage, split_stages
from train.zoo import TIMM_DROPOUT, Normalization, build, published_normalization
from train.zoo import check_model as check_model  # noqa: PLC0414  where its callers look for it


class Head(nn.Linear):
    """The last layer: features float32 [n, in_features] to logits [n, out_features], with dropout in training.

    It has a bias, zero at first where the backbone's own layer has none.
    """

    def __init__(self, linear: nn.Linear, dropout: float) -> None:
        """Take over the weights of `linear`; `dropout` is the share of the features set to zero, 0 to 1."""
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight = linear.weight
        bias = cast("nn.Parameter | None", linear.bias)
        self.bias = nn.Parameter(torch.zeros(linear.out_features)) if bias is None else bias
        self.dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        """Answer with logits."""
        return super().forward(nn.functional.dropout(features, self.dropout, self.training))


class Classifier(nn.Module):
    """A backbone that takes what the bin has: uint8 [n, height, width, 3] BGR to logits float32 [n, classes]."""

    def __init__(
        self, backbone: nn.Module, head_path: str, normalization: Normalization, dropout: float | None = None
    ) -> None:
        """Put a Head at `head_path` of `backbone`; `dropout` None: the backbone's own, just before that layer."""
        super().__init__()
        self.backbone = backbone
        self.head_path = head_path
        self.normalization = normalization
        self._open_stages: int | None = None
        published = _take_dropout(backbone, head_path)
        linear = cast(nn.Linear, backbone.get_submodule(head_path))
        backbone.set_submodule(head_path, Head(linear, published if dropout is None else dropout))
        # In BGR order and in levels 0..255, so that one subtraction and one product do it all.
        mean = torch.tensor(normalization.mean[::-1]) * 255
        std = torch.tensor(normalization.std[::-1]) * 255
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
    def head(self) -> Head:
        """The last layer: features to logits."""
        return cast(Head, self.backbone.get_submodule(self.head_path))

    def body_parameters(self) -> Iterator[nn.Parameter]:
        """All parameters but the head's."""
        head = {id(parameter) for parameter in self.head.parameters()}
        return (parameter for parameter in self.backbone.parameters() if id(parameter) not in head)

    def stages(self) -> tuple[Stage, ...]:
        """Return the backbone without the head, from stem to last block; each parameter is in one stage."""
        return split_stages(self.backbone, self.head)

    def freeze(self, open_stages: int | None) -> None:
        """Let the head and the last `open_stages` stages learn, and nothing else; None: everything learns.

        What is frozen keeps its weights and BatchNorm statistics, bit for bit, and drops nothing out, also after
        later calls of train(). Raises UsageError below 0; more than there are stages means all of them.
        """
        if open_stages is not None and open_stages < 0:
            raise UsageError(f"{open_stages} stages can't learn, expected 0 or more")
        self._open_stages = open_stages
        self.requires_grad_(True)
        for parameter in () if open_stages is None else self._frozen_parameters(open_stages):
            parameter.requires_grad_(False)
            parameter.grad = None  # or an optimizer would take a last step on it
        self.train()

    def train(self, mode: bool = True) -> Classifier:
        """Set training or evaluation mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        if mode and self._open_stages is not None:
            self.backbone.eval()
            self.head.train()
            for stage in self._split(self._open_stages)[1]:
                for module in stage:
                    module.train()
        return self

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Load all weights of the backbone and its head, as backbone.state_dict() has given them.

        Raises RuntimeError where one is missing, unknown or of another shape.
        """
        # The versions of its layers too, which a copy of a state dict loses: without them MNASNet becomes
        # another network, and torchvision's transformers rename their weights.
        marked = OrderedDict(state)
        marked._metadata = self.backbone.state_dict()._metadata  # type: ignore[attr-defined]
        self.backbone.load_state_dict(marked)

    def _split(self, open_stages: int) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
        stages = self.stages()
        first = max(0, len(stages) - open_stages)
        return stages[:first], stages[first:]

    def _frozen_parameters(self, open_stages: int) -> Iterator[nn.Parameter]:
        for stage in self._split(open_stages)[0]:
            for module in stage:
                yield from module.parameters()


def make_classifier(
    name: str,
    classes: int,
    *,
    img_size: int = 224,
    dropout: float | None = None,
    normalization: Normalization | None = None,
) -> Classifier:
    """Return the backbone `name` for squares of `img_size` pixels, with random weights and a head for `classes`.

    `dropout` before the head, 0 to 1, and `normalization` are the published ones where they are None.
    Raises UsageError on an unknown name, a size that can't be built, or a head that is no linear layer.
    """
    net = build(name, classes, img_size)
    if dropout is None:
        dropout = TIMM_DROPOUT.get(name)
    return Classifier(net, find_head(net, name, classes), normalization or published_normalization(name), dropout)


def find_head(net: nn.Module, name: str, classes: int) -> str:
    """Return the path of the layer that makes the logits: the one that timm names, else the last linear one.

    Raises UsageError where it is no linear layer with `classes` outputs.
    """
    theirs = getattr(net, "get_classifier", None)
    linear: list[tuple[str, nn.Linear]] = [
        (path, module) for path, module in net.named_modules() if isinstance(module, nn.Linear)
    ]
    heads = [(path, module) for path, module in linear if module is theirs()] if theirs else linear[-1:]
    if not heads or heads[0][1].out_features != classes:
        raise UsageError(f"the head of model {name!r} is not one linear layer, as needed; choose another --model")
    return heads[0][0]


def _take_dropout(net: nn.Module, head_path: str) -> float:
    """Switch a Dropout just before the head off, and return its rate, for the head to have."""
    head = net.get_submodule(head_path)
    layers = [module for module in net.modules() if not any(module.children())]
    before = next((one for one, other in pairwise(layers) if other is head), None)
    if not isinstance(before, nn.Dropout):
        return 0.0
    rate, before.p = before.p, 0.0
    return rate
