"""The options of a training, frozen, with their defaults; docs/training.md has the evidence for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.preprocess import InputSpec, Resize

SHORT_OVER_SIZE = 256 / 224
"""Short side of the whole picture over the graph's side, for crop: ImageNet's evaluation since AlexNet."""


TRAIN_SHARE, LEAST_SHRUNK, MULTIPLE = 11 / 14, 128, 16
"""Side of what training sees over the input's, from which input on, and of what it is a multiple: 176 for 224."""


class Optimizer(str, Enum):
    """How gradients become steps."""

    ADAMW = "adamw"
    ADAM = "adam"
    SGD = "sgd"


DECAY = {Optimizer.ADAMW: 0.02, Optimizer.ADAM: 0.0, Optimizer.SGD: 5e-4}
"""Weight decay of each where none is named."""


class Amp(str, Enum):
    """Arithmetic of the forward pass in training. Validation, test and export always use fp32."""

    AUTO = "auto"
    """bf16 where the processor multiplies it natively, fp32 elsewhere."""
    BF16 = "bf16"
    FP16 = "fp16"
    """With loss scaling; on CUDA only."""
    OFF = "off"


class Imbalance(str, Enum):
    """What is done for classes with few photos."""

    NONE = "none"
    WEIGHTS = "weights"
    """Their photos count more in the loss."""
    SAMPLING = "sampling"
    """Their photos are drawn more often, those of large classes less."""


class Augmentation(str, Enum):
    """What training shows the network instead of the photo itself."""

    NONE = "none"
    """The bin's own view."""
    LIGHT = "light"
    """Random crop, mirrored left to right, light and colour: for things with an upright position, like signs."""
    FULL = "full"
    """The same, mirrored top to bottom too: waste lies any way up."""


ALL, NONE = "all", "none"
"""Of --unfreeze."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained and how, the photos aside."""

    model: str = "mobilenet_v2"
    """torchvision's name, or timm:NAME."""
    weights: str = "imagenet"
    """imagenet, none, a torchvision enum name, a file, or a run folder."""
    img_size: int = 224
    """Side of the square input, pixels."""
    train_size: int = 0
    """Side of the pictures that training sees, pixels; 0: 11/14 of img_size, or all where that is below 128."""
    resize: Resize = Resize.STRETCH
    epochs: int = 18
    """Both phases together."""
    frozen_epochs: int = 2
    """Of these, how many train the head alone. Without pretrained weights there is no such phase."""
    unfreeze: str = ALL
    """What learns in the second phase beside the head: all, the last N stages, or none."""
    batch_size: int = 32
    accumulate: int = 1
    """Batches whose gradients make one step."""
    optimizer: Optimizer = Optimizer.ADAMW
    lr: float = 1e-3
    """Peak learning rate of the head; pretrained layers get backbone_lr_share of it."""
    backbone_lr_share: float = 0.5
    """Learning rate of the last stage of the backbone over the head's."""
    stage_lr_decay: float = 1.0
    """Learning rate of each stage over that of the stage after it."""
    weight_decay: float | None = None
    """On weights of convolutions and of the head, none on biases and normalization; None: by the optimizer."""
    momentum: float = 0.9
    """Of sgd."""
    warmup: float = 0.1
    """Share of the second phase's steps over which the rate rises from zero."""
    label_smoothing: float = 0.1
    dropout: float | None = None
    """Before the head, 0 to 1; None: what the backbone was published with."""
    augment: Augmentation = Augmentation.FULL
    frozen_augment: bool = False
    """Whether the frozen phase augments too; where it does not, its features are computed once."""
    rand_augment: int = 0
    """Magnitude of RandAugment, 1 to 30; 0: off."""
    erasing: float = 0.0
    """Chance that a random rectangle of a picture is erased."""
    mixup: float = 0.0
    """Alpha of the Beta distribution that two photos are blended by; 0: off."""
    cutmix: float = 0.0
    """The same for a rectangle of one photo pasted into another; with mixup, each batch gets one of the two."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is what is validated and kept; 0: off."""
    clip: float = 0.0
    """Largest norm of the gradient; 0: not clipped."""
    imbalance: Imbalance = Imbalance.NONE
    patience: int = 8
    """Epochs without a better validation before training ends early; 0: never."""
    seed: int = 0
    amp: Amp = Amp.AUTO
    compile: bool = False
    """Whether torch.compile makes the network's code."""
    max_error: float = 0.02
    """Share of wrong answers among the accepted ones that the rejection threshold is to keep, 0 to 1."""
    costs: str = ""
    """CSV of what each mistake costs; empty: all the same."""
    stranger_rejects: float = 0.02
    """Share of the known objects that may be rejected as strangers, 0 to 1."""

    @property
    def decay(self) -> float:
        """Weight decay: decoupled for adamw; for the others added to the gradient, where less does as much."""
        return DECAY[self.optimizer] if self.weight_decay is None else self.weight_decay

    @property
    def pretrained(self) -> bool:
        """Whether training starts from somebody's weights."""
        return self.weights != "none"

    @property
    def head_epochs(self) -> int:
        """Epochs of the first phase, in which the backbone is frozen."""
        if self.unfreeze == NONE:
            return self.epochs
        return min(self.frozen_epochs, max(0, self.epochs - 1)) if self.pretrained else 0

    @property
    def input(self) -> InputSpec:
        """The graph's input that this training validates and the bin will feed."""
        short = round(self.img_size * SHORT_OVER_SIZE) if self.resize is Resize.CROP else 0
        return InputSpec(self.img_size, self.img_size, self.resize, short)

    @property
    def view_size(self) -> int:
        """Side of the pictures that training sees, pixels.

        Random crops show things larger than the bin sees them; smaller pictures make up for that, and train faster
        (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
        """
        if self.train_size or self.img_size < LEAST_SHRUNK:
            return self.train_size or self.img_size
        return round(self.img_size * TRAIN_SHARE / MULTIPLE) * MULTIPLE
