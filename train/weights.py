"""Where training starts from: torchvision's weights, a file, an earlier run, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor

from edge.errors import WeightsError, nearest
from train.backbone import HEADS, Classifier, make_classifier
from train.checkpoint import BEST, FORMAT, read_tensors

State = Mapping[str, Tensor]


def load_weights(classifier: Classifier, model: str, weights: str) -> str:
    """Fill `classifier`, in place, from `weights`, and say in words what was taken.

    `weights`: none, imagenet (torchvision's DEFAULT), a torchvision enum name, a file with a state dict or a
    checkpoint of ours, or a run folder. A head of another size is left as it was drawn.
    Raises WeightsError: can't be fetched, read, or fitted.
    """
    if weights == "none":
        return "none"
    path = Path(weights)
    if weights != "imagenet" and path.exists():
        return _fill(classifier, model, _from_file(path), str(path))
    entry = _enum_entry(model, weights)
    return _fill(classifier, model, _fetch(entry, model), f"torchvision {entry}")


def _enum_entry(model: str, weights: str) -> Any:
    enum = torchvision.models.get_model_weights(model)
    name = "DEFAULT" if weights.lower() == "imagenet" else weights.rpartition(".")[2]
    if name not in enum.__members__:
        known = ["imagenet", "none", *enum.__members__]
        raise WeightsError(
            f"weights {weights!r} are neither a file, a run folder nor known for {model}; "
            f"nearest: {nearest(weights, known)}"
        )
    return enum[name]


def _fetch(entry: Any, model: str) -> State:
    try:
        state: State = entry.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the digest of what came is wrong
        raise WeightsError(
            f"ImageNet weights of {model} can't be fetched ({error}): fetch {entry.url} on a machine with a "
            "network and name the file with --weights FILE, or train from nothing with --weights none"
        ) from error
    return state


def _from_file(path: Path) -> State:
    """Read a state dict. Only tensors and plain data are loaded: a file with code in it is refused."""
    file = path / BEST if path.is_dir() else path
    loaded = read_tensors(file, WeightsError)
    if isinstance(loaded, dict):
        for key in ("state_dict", "model", "weights"):
            if isinstance(loaded.get(key), dict) and (key != "weights" or loaded.get("format") == FORMAT):
                loaded = loaded[key]
                break
    if not isinstance(loaded, dict) or not any(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"weights {file} holds no state dict; expected layer names to tensors")
    return {key.removeprefix("module."): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _fill(classifier: Classifier, model: str, state: State, source: str) -> str:
    """Load all that fits, the head only where its size is ours; refuse another architecture."""
    target = classifier.backbone.state_dict()
    head = f"{HEADS[model]}."
    wrong = _misfits({key: value for key, value in target.items() if not key.startswith(head)}, state)
    if wrong:
        raise WeightsError(
            f"{source} does not fit {model}: {len(wrong)} of {len(target)} tensors are missing or of another "
            f"shape (first: {wrong[0]}); {_guess(state)}"
        )
    fitting = {key: value for key, value in state.items() if key in target and value.shape == target[key].shape}
    classifier.backbone.load_state_dict({**target, **fitting})
    kept = all(key in fitting for key in target if key.startswith(head))
    return source if kept else f"{source} (new head)"


def _misfits(target: State, state: State) -> list[str]:
    return [
        key
        for key, value in target.items()
        if not key.endswith("num_batches_tracked") and (key not in state or state[key].shape != value.shape)
    ]


def _guess(state: State) -> str:
    """Say which backbone the weights are of, if one of ours: nothing missing, and nothing left over."""
    for name, head in HEADS.items():
        with torch.device("meta"):
            target = make_classifier(name, 2).backbone.state_dict()
        body = {key: value for key, value in target.items() if not key.startswith(f"{head}.")}
        if not _misfits(body, state) and set(state) <= set(target):
            return f"they are of {name}: use --model {name}"
    return f"they are of none of {', '.join(HEADS)}"
