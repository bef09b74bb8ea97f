"""Published weights, fetched where they are not here yet: torchvision's by enum name, timm's by the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torchvision
from torch import Tensor

from edge.errors import WeightsError, nearest
from train.zoo import TIMM, build_pretrained_timm, timm

TIMEOUT = 10
"""Seconds in which a server must answer; the hub's own client tries for a minute."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""The names of timm's weights on the hub, in the order of timm's search."""


@dataclass(frozen=True)
class Found:
    """Weights that were found, of whatever network."""

    state: Mapping[str, Tensor]
    """Layer names to tensors."""
    source: str
    """Where they come from, in words."""
    model: str = ""
    """What a checkpoint of ours says that it is of; empty: unknown."""
    labels: tuple[str, ...] = ()
    """Of its outputs, in order; empty: unknown."""


def fetch(model: str, weights: str) -> Found:
    """Return published weights of `model`: imagenet, or for torchvision an enum name, with or without its class.

    Raises WeightsError: unknown, or not to be fetched.
    """
    if model.startswith(TIMM):
        return _fetch_timm(model, weights)
    entry = _enum_entry(model, weights)
    try:
        state: Mapping[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the digest of what came is wrong
        raise _not_fetched(model, error, entry.url) from error
    return Found(state, f"torchvision {entry}")


def _enum_entry(model: str, weights: str) -> Any:
    enum = torchvision.models.get_model_weights(model)
    owner, _, entry = weights.rpartition(".")
    name = "DEFAULT" if weights.lower() == "imagenet" else entry
    if name not in enum.__members__ or owner not in {"", enum.__name__}:
        raise _unknown(model, weights, ["imagenet", "none", *enum.__members__])
    return enum[name]


def _fetch_timm(model: str, weights: str) -> Found:
    name = model.removeprefix(TIMM)
    config = timm().get_pretrained_cfg(name)
    if weights.lower() != "imagenet":
        tags = [f"{TIMM}{other}" for other in timm().list_pretrained(f"{config.architecture}.*")]
        also = f"; other weights are other models: {', '.join(tags)}" if tags else ""
        raise _unknown(model, weights, ["imagenet", "none"], also)
    if not config.has_weights:
        raise WeightsError(f"timm has no weights for {model}: name a file with --weights, or --weights none")
    url = _hub_url(config.hf_hub_id) if config.hf_hub_id else config.url
    try:
        if config.hf_hub_id:
            _knock(config.hf_hub_id, url)
        net = build_pretrained_timm(name)
    except (URLError, OSError, RuntimeError, ValueError) as error:
        raise _not_fetched(model, error, url) from error
    return Found(net.state_dict(), f"timm {name.partition('.')[0]}.{config.tag}")


def _hub_url(repository: str) -> str:
    from huggingface_hub import hf_hub_url  # noqa: PLC0415

    return str(hf_hub_url(repository, FILES[0]))


def _knock(repository: str, url: str) -> None:
    """Raise URLError where the weights are not here and no server answers at `url`."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

    if any(isinstance(try_to_load_from_cache(repository, file), str) for file in FILES):
        return
    try:
        with urlopen(Request(url, method="HEAD"), timeout=TIMEOUT):  # noqa: S310  the hub's own address
            pass
    except HTTPError:  # an answer: timm finds the file under its other name, or says what is wrong
        pass


def _unknown(model: str, weights: str, known: list[str], also: str = "") -> WeightsError:
    return WeightsError(
        f"weights {weights!r} are neither a file, a run folder nor known for {model}; "
        f"nearest: {nearest(weights, known)}{also}"
    )


def _not_fetched(model: str, error: Exception, url: str) -> WeightsError:
    why = " ".join(str(error).split())
    return WeightsError(
        f"ImageNet weights of {model} can't be fetched ({why}): fetch {url} on a machine with a "
        "network and name the file with --weights FILE, or train from nothing with --weights none"
    )
