"""The backbones that there are: torchvision's by name, and with the extra [timm] timm's as timm:NAME."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from edge.errors import UsageError

DOCUMENTED = (
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "resnet18",
    "resnet34",
    "resnet50",
    "efficientnet_v2_s",
    "timm:tf_efficientnetv2_b0",
)
"""Those whose size, speed and accuracy docs/training.md names. All others work, too."""

TIMM = "timm:"
SMALLEST, LARGEST = 32, 1024
"""Sides of the input that are looked at, pixels; larger ones are taken where the backbone takes them."""
PATCHES = (14, 16)
"""Steps between the sizes that are tried where one is refused: the patches that nets cut their input into."""

TIMM_DROPOUT = {"timm:tf_efficientnetv2_b0": 0.2}
"""What timm's weights were trained with before the head, where timm itself leaves it out (Tan and Le, 2021:
google/automl, effnetv2_configs.py)."""


@dataclass(frozen=True)
class Normalization:
    """What is subtracted from and divided by, for each of R, G and B, scaled to 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Listed:
    """A backbone that there is."""

    name: str
    parameters: int | None
    """Of the whole ImageNet network, head and all; None: not published."""
    accuracy: float | None
    """Top-1 of its default weights on ImageNet's validation photos, 0 to 1; None: not published."""

    def __str__(self) -> str:
        """One line: the name, and what is known."""
        size = f"{self.parameters / 1e6:.1f} M parameters" if self.parameters else ""
        accuracy = f"{self.accuracy:.1%} on ImageNet" if self.accuracy else ""
        return f"{self.name:<24} {size:>20} {accuracy:>20}".rstrip()


class Weightless(TorchFunctionMode):
    """Makes layers without memory for their weights, so that the largest network is there in a moment.

    Only `torch.empty` goes to the meta device, which is what layers call: a whole network made there fails
    where its constructor computes with tensors, as torchvision's RegNet does.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.empty:
            given["device"] = "meta"
        return func(*args, **given)


def list_models() -> tuple[Listed, ...]:
    """Return every backbone, in order: the documented ones, torchvision's, and timm's where timm is installed.

    Builds no network and needs no connection.
    """
    documented = [name for name in DOCUMENTED if has_timm() or not name.startswith(TIMM)]
    rest = (name for name in _names() if name not in documented)
    return tuple(_listed(name) for name in (*documented, *rest))


def check_model(name: str) -> None:
    """Raise UsageError, with the nearest names, where there is no backbone of that name."""
    if name.startswith(TIMM) and not has_timm():
        raise UsageError(f"model {name!r} needs timm, which is not installed: pip install 'binsight[timm]'")
    if name in _torchvision_names() or (name.startswith(TIMM) and _is_timm(name)):
        return
    near = difflib.get_close_matches(name, _names(), n=3, cutoff=0.5)
    raise UsageError(
        f"unknown model {name!r}; nearest: {', '.join(near or DOCUMENTED)} (edge-train --list-models names all)"
    )


def check_size(name: str, img_size: int) -> None:
    """Raise UsageError where `name` does not take `img_size` x `img_size` pixels, with the nearest sizes it takes.

    The network itself is asked, without weights: rules of thumb would be wrong for one or the other.
    """
    check_model(name)
    if _takes(name, img_size):
        return
    near = _nearest_sizes(name, img_size)
    which = f"nearest that it takes: {', '.join(map(str, near))}" if near else "it takes none that was tried"
    raise UsageError(f"model {name!r} does not take --img-size {img_size}; {which}")


def published_normalization(name: str) -> Normalization:
    """Return what the published weights of backbone `name` were trained with."""
    if name.startswith(TIMM):
        config = timm().get_pretrained_cfg(name.removeprefix(TIMM))
        return Normalization(tuple(config.mean), tuple(config.std))
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return Normalization(tuple(transforms.mean), tuple(transforms.std))


def build(name: str, classes: int, img_size: int) -> nn.Module:
    """Return torchvision's or timm's network with random weights, made for squares of `img_size` pixels.

    It takes float32 [n, 3, img_size, img_size] and gives logits float32 [n, classes]; heads that only help
    training are left out. Raises UsageError on an unknown name, or a size that can't be built.
    """
    check_model(name)
    try:
        if name.startswith(TIMM):
            return _build_timm(name.removeprefix(TIMM), classes, img_size)
        return _build_torchvision(name, classes, img_size)
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise UsageError(f"model {name!r} can't be made for --img-size {img_size}: {error}") from error


def has_timm() -> bool:
    """Say whether timm is installed, without importing it."""
    return importlib.util.find_spec("timm") is not None


def timm() -> ModuleType:
    """Return timm, whose import takes seconds."""
    import timm as module  # noqa: PLC0415

    return module


def build_pretrained_timm(name: str) -> nn.Module:
    """Return timm's network `name` (without timm:) with its published weights and head, fetched if need be.

    Raises what timm raises.
    """
    return cast(nn.Module, timm().create_model(name, pretrained=True))


def _build_torchvision(name: str, classes: int, img_size: int) -> nn.Module:
    options: dict[str, Any] = {}
    if name.startswith("vit_"):
        options = {"image_size": img_size}
    elif name.startswith("maxvit_"):
        options = {"input_size": (img_size, img_size)}
    elif name in {"googlenet", "inception_v3"}:
        # Their weights come from TensorFlow: transform_input turns ImageNet's normalization into theirs.
        options = {"aux_logits": False, "init_weights": True, "transform_input": True}
    net = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if isinstance(net, torchvision.models.SqueezeNet):
        net.classifier = _linear_squeezenet(net.classifier)
    return cast(nn.Module, net)


def _linear_squeezenet(classifier: nn.Sequential) -> nn.Sequential:
    """Pool first, then a linear layer of the same name: what the 1x1 convolution and pooling after it compute.

    The ReLU on the logits goes: it would keep the network from saying that something is unlikely.
    """
    dropout, last = classifier[0], cast(nn.Conv2d, classifier[1])
    linear = nn.Linear(last.in_channels, last.out_channels, device=last.weight.device)
    linear.weight = nn.Parameter(last.weight.detach().flatten(1))
    linear.bias = cast(nn.Parameter, last.bias)
    return nn.Sequential(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), dropout), linear)


def _build_timm(name: str, classes: int, img_size: int) -> nn.Module:
    library = timm()
    if library.get_pretrained_cfg(name).fixed_input_size:
        try:
            return cast(nn.Module, library.create_model(name, num_classes=classes, img_size=img_size))
        except TypeError as error:
            if "img_size" not in str(error):
                raise
    return cast(nn.Module, library.create_model(name, num_classes=classes))


def _takes(name: str, img_size: int) -> bool:
    if img_size < SMALLEST:
        return False
    try:
        with Weightless():
            net = build(name, 2, img_size)
        # Two pictures in training mode, which refuses more than evaluation does: BatchNorm of one pixel.
        answer = net.to("meta").train()(torch.empty((2, 3, img_size, img_size), device="meta"))
    except (UsageError, AssertionError, RuntimeError, ValueError, IndexError, ZeroDivisionError):
        return False
    return tuple(answer.shape) == (2, 2)


def _nearest_sizes(name: str, img_size: int) -> list[int]:
    """Return the next smaller and the next larger size that `name` takes, as far as there are."""
    steps = {size for step in PATCHES for size in range(step, LARGEST + 1, step)}
    sizes = sorted({SMALLEST, *_published_sizes(name), *steps} - set(range(SMALLEST)) - {img_size})
    below = (size for size in reversed(sizes) if size < img_size)
    above = (size for size in sizes if size > img_size)
    found = (next((size for size in side if _takes(name, size)), None) for side in (below, above))
    return [size for size in found if size is not None]


def _published_sizes(name: str) -> tuple[int, ...]:
    if name.startswith(TIMM):
        return (timm().get_pretrained_cfg(name.removeprefix(TIMM)).input_size[-1],)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    return (weights.meta["min_size"][0], weights.transforms().crop_size[0])


def _listed(name: str) -> Listed:
    if name.startswith(TIMM):
        return Listed(name, None, None)
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    accuracy = meta["_metrics"].get("ImageNet-1K", {}).get("acc@1")
    return Listed(name, meta["num_params"], None if accuracy is None else accuracy / 100)


def _names() -> list[str]:
    theirs = timm().list_models() if has_timm() else []
    return [*_torchvision_names(), *(f"{TIMM}{name}" for name in theirs)]


def _torchvision_names() -> list[str]:
    # Not all that is registered: quantized networks, detectors and video networks are in modules of their own.
    return cast("list[str]", torchvision.models.list_models(module=torchvision.models))


def _is_timm(name: str) -> bool:
    """Say whether timm has the architecture and, where one is named, its weights: NAME or NAME.TAG."""
    library, bare = timm(), name.removeprefix(TIMM)
    if not library.is_model(bare):
        return False
    try:
        return library.get_pretrained_cfg(bare) is not None
    except RuntimeError:  # there is no such tag
        return False
