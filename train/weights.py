"""Where training starts from: published weights, a file, an earlier run, or nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

from edge.errors import WeightsError
from train.backbone import Classifier, make_classifier
from train.checkpoint import BEST, FORMAT, read_tensors
from train.dataset.remarks import named, number
from train.published import Found, fetch
from train.zoo import DOCUMENTED, TIMM, Weightless, has_timm

State = Mapping[str, Tensor]

HOLDERS = ("state_dict", "model", "model_state_dict")
"""Where files of other programs have their state dict, if not at the top."""
WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")
"""What DistributedDataParallel, torch.compile and others put before each name."""
TRAINING_HEADS = ("aux1.", "aux2.", "AuxLogits.")
"""Of GoogLeNet and Inception: they only help training from nothing."""
UNCOUNTED = "num_batches_tracked"
"""Of BatchNorm: missing in old files, and used by nobody."""
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
"""torchvision's own DenseNet files have names that torch no longer allows."""


def load_weights(classifier: Classifier, model: str, weights: str, labels: Sequence[str] = ()) -> str:
    """Fill `classifier`, in place, from `weights`, and say in words what was taken.

    `weights`: none, imagenet (torchvision's DEFAULT; timm's of the model's name), a torchvision enum name, a file
    with a state dict or a checkpoint of ours, or a run folder. `labels` are those of the classifier, in output
    order: from a run with other ones the head keeps what it knows of those in both. A head of another size
    without labels is left as it was drawn. Raises WeightsError: can't be fetched, read, or fitted.
    """
    if weights == "none":
        return "none"
    path = Path(weights)
    here = weights.lower() != "imagenet" and path.exists()
    found = _read(path) if here else fetch(model, weights)
    return _fill(classifier, model, found, tuple(labels))


def _read(path: Path) -> Found:
    """Read a state dict. Only tensors and plain data are loaded: a file with code in it is refused."""
    file = path / BEST if path.is_dir() else path
    loaded = _safetensors(file) if file.suffix == ".safetensors" else read_tensors(file, WeightsError)
    model, labels = "", tuple[str, ...]()
    if isinstance(loaded, dict) and loaded.get("format") == FORMAT:
        try:
            about = msgspec.convert(loaded.get("about"), _Origin)
        except msgspec.ValidationError as error:
            raise WeightsError(f"checkpoint {file} contradicts itself ({error}); train again") from error
        model, labels, loaded = about.model, about.labels, loaded.get("weights")
    elif isinstance(loaded, dict):
        loaded = next((loaded[key] for key in HOLDERS if isinstance(loaded.get(key), dict)), loaded)
    if not isinstance(loaded, dict) or not any(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"weights {file} holds no state dict; expected layer names to tensors")
    state = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
    return Found(state, str(path), model, labels)


class _Origin(msgspec.Struct):
    """What a checkpoint of ours says, as far as it matters here."""

    model: str
    labels: tuple[str, ...]


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError  # noqa: PLC0415
        from safetensors.torch import load_file  # noqa: PLC0415
    except ImportError as error:
        raise WeightsError(
            f"{file} needs safetensors, which is not installed: pip install 'binsight[timm]'"
        ) from error
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} can't be read as safetensors ({error})") from error


def _fill(classifier: Classifier, model: str, found: Found, labels: tuple[str, ...]) -> str:
    """Load all that fits, of the head what serves; refuse another architecture."""
    own = classifier.backbone.state_dict()
    state = _adapt(classifier, found.state)
    wrong, left = _misfits(own, state, classifier.head_path)
    if wrong or left:
        raise WeightsError(
            f"{found.source} does not fit {model}: {_count(wrong, len(own), left)}; {_guess(found)}"
        )
    head = _head_keys(classifier.head_path)
    body = {key: value for key, value in state.items() if key in own and key not in head}
    kept, words = _head(classifier, state, found.labels, labels)
    _check_numbers({**body, **kept}, found.source)
    classifier.load_backbone({**own, **body, **kept})
    return f"{found.source}{words}"


def _count(wrong: list[str], tensors: int, left: list[str]) -> str:
    parts = []
    if wrong:
        parts.append(f"{len(wrong)} of {tensors} tensors are missing or of another shape (first: {wrong[0]})")
    if left:
        parts.append(f"{number(len(left), 'tensor')} too many (first: {left[0]})")
    return ", ".join(parts)


def _adapt(classifier: Classifier, state: State) -> State:
    """Give the weights the names and, where they depend on the picture's size, the shapes that are ours."""
    net = classifier.backbone
    own = net.state_dict()
    state = {OLD_DENSENET.sub(r"\1", _unwrap(key, own)): value for key, value in state.items()}
    weight = f"{classifier.head_path}.weight"
    if weight in state and state[weight].ndim == 4:  # SqueezeNet's head, as published
        state[weight] = state[weight].flatten(1)
    if not _misfits(own, state, classifier.head_path)[0]:
        return state
    try:
        if isinstance(net, VisionTransformer):
            return dict(interpolate_embeddings(net.image_size, net.patch_size, state))
        # timm's models have a function of this name beside them, which knows their older and foreign names.
        adapt = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
        return dict(adapt(dict(state), net)) if adapt else state
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):  # of another network
        return state


def _unwrap(key: str, own: State) -> str:
    while key not in own and key.startswith(WRAPPERS):
        key = key.partition(".")[2]
    return key


def _misfits(own: State, state: State, head_path: str) -> tuple[list[str], list[str]]:
    """Return the names that `state` lacks or has in another shape, and those that it has and should not.

    The head is left out of both, whatever stands in its place.
    """
    head = _head_keys(head_path)
    wrong = [
        key
        for key, value in own.items()
        if key not in head
        and not key.endswith(UNCOUNTED)
        and (key not in state or state[key].shape != value.shape)
    ]
    ignored = (f"{head_path}.", f"{head_path.partition('.')[0]}.", *TRAINING_HEADS)
    left = [key for key in state if key not in own and not key.endswith(UNCOUNTED) and not key.startswith(ignored)]
    return wrong, left


def _head_keys(head_path: str) -> tuple[str, str]:
    return f"{head_path}.weight", f"{head_path}.bias"


def _head(
    classifier: Classifier, state: State, theirs: tuple[str, ...], ours: tuple[str, ...]
) -> tuple[dict[str, Tensor], str]:
    """Return the head's weights, as far as they serve, and what is to be said of it."""
    own, keys = classifier.head, _head_keys(classifier.head_path)
    given = state.get(keys[0])
    if given is None or given.shape[1:] != own.weight.shape[1:]:
        return {}, " (new head)"
    bias = state.get(keys[1], torch.zeros(len(given)))  # some networks' heads have none
    if theirs and ours and theirs != ours:
        rows = {row: theirs.index(label) for row, label in enumerate(ours) if label in theirs}
        if not rows:
            return {}, " (new head)"
        weight, biases = own.weight.detach().clone(), own.bias.detach().clone()
        weight[list(rows)], biases[list(rows)] = given[list(rows.values())], bias[list(rows.values())]
        new = [label for label in ours if label not in theirs]
        kept = f"head kept for {named(ours[row] for row in rows)}"
        return dict(zip(keys, (weight, biases), strict=True)), f" ({kept}{f'; new for {named(new)}' * any(new)})"
    if given.shape != own.weight.shape:
        return {}, " (new head)"
    return dict(zip(keys, (given, bias), strict=True)), ""


def _check_numbers(state: State, source: str) -> None:
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{source} has values that are no numbers (first in {key}), expected finite ones")


def _guess(found: Found) -> str:
    """Say which backbone the weights are of, if it is known or one of the documented ones."""
    for name in [found.model] if found.model else DOCUMENTED:
        if found.model or _is_of(name, found.state):
            return f"they are of {name}: use --model {name}"
    return f"they are of none of {', '.join(DOCUMENTED)}"


def _is_of(name: str, state: State) -> bool:
    if name.startswith(TIMM) and not has_timm():
        return False
    with Weightless():
        other = make_classifier(name, 2)
    return not any(_misfits(other.backbone.state_dict(), _adapt(other, state), other.head_path))
