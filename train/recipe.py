"""The options of a training, frozen, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.preprocess import InputSpec, Resize

SHORT_OVER_SIZE = 256 / 224
"""Short side of the whole picture over the graph's side, for crop: ImageNet's evaluation since AlexNet."""


class Optimizer(str, Enum):
    """How gradients become steps."""

    ADAMW = "adamw"
    ADAM = "adam"
    SGD = "sgd"


class Amp(str, Enum):
    """Arithmetic of the forward pass in training. Validation, test and export always use fp32."""

    AUTO = "auto"
    """bf16 where the processor multiplies it natively, fp32 elsewhere."""
    BF16 = "bf16"
    OFF = "off"


class Imbalance(str, Enum):
    """What is done for classes with few photos."""

    NONE = "none"
    WEIGHTS = "weights"
    """Their photos count more in the loss."""
    SAMPLING = "sampling"
    """Their photos are drawn more often, those of large classes less."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how, the photos aside."""

    model: str = "mobilenet_v2"
    weights: str = "imagenet"
    """imagenet, none, a torchvision enum name, a file, or a run folder."""
    img_size: int = 224
    """Side of the square input, pixels."""
    resize: Resize = Resize.CROP
    epochs: int = 12
    """Both phases together."""
    frozen_epochs: int = 2
    """Of these, how many train the head alone. Without pretrained weights there is no such phase."""
    batch_size: int = 32
    optimizer: Optimizer = Optimizer.ADAMW
    lr: float = 1e-3
    """Peak learning rate of the head; pretrained layers get backbone_lr_share of it."""
    backbone_lr_share: float = 0.5
    weight_decay: float = 0.02
    """On weights of convolutions and of the head; none on biases and normalization."""
    warmup: float = 0.1
    """Share of the second phase's steps over which the rate rises from zero."""
    label_smoothing: float = 0.1
    imbalance: Imbalance = Imbalance.NONE
    patience: int = 8
    """Epochs without a better validation before training ends early; 0: never."""
    seed: int = 0
    amp: Amp = Amp.AUTO

    @property
    def pretrained(self) -> bool:
        """Whether training starts from somebody's weights."""
        return self.weights != "none"

    @property
    def head_epochs(self) -> int:
        """Epochs of the first phase, in which the backbone is frozen."""
        return min(self.frozen_epochs, max(0, self.epochs - 1)) if self.pretrained else 0

    @property
    def input(self) -> InputSpec:
        """The graph's input that this training validates and the bin will feed."""
        short = round(self.img_size * SHORT_OVER_SIZE) if self.resize is Resize.CROP else 0
        return InputSpec(self.img_size, self.img_size, self.resize, short)
