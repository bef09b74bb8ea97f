"""Checkpoints: weights with all that is needed to use them, loadable with torch.load(weights_only=True)."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from edge.errors import BinsightError, ExportError, ImageError, UsageError
from edge.files import replace_bytes
from edge.preprocess import InputSpec
from train.backbone import Classifier, make_classifier
from train.rejection import Pricing
from train.strangers import StrangerScore
from train.zoo import Normalization

FORMAT = "binsight.checkpoint.1"
BEST = Path("weights/best.pt")
LAST = Path("weights/last.pt")


@dataclass(frozen=True)
class About:
    """What a checkpoint says beside its weights."""

    model: str
    labels: tuple[str, ...]
    """In output order."""
    input: InputSpec
    epoch: int
    """1-based; 0 before training."""
    val_accuracy: float
    seed: int
    weights: str
    """What training started from."""
    temperature: float
    """What logits are divided by before the softmax."""
    versions: dict[str, str]
    """Library to version."""
    data_digest: str = ""
    """SHA-256 over the digests of all photos of all roles."""
    split_digests: dict[str, str] = field(default_factory=dict)
    """Role to SHA-256 over its photos' digests."""
    max_error: float = 0.02
    """Share of wrong answers among the accepted ones that a rejection threshold is to keep, 0 to 1."""
    stranger_rejects: float = 0.02
    """Share of the known objects that may be rejected as strangers, 0 to 1."""
    pricing: Pricing = field(default_factory=Pricing)
    """What mistakes cost."""
    normalization: Normalization | None = None
    """Of the pixels; None: what the model's published weights have."""


@dataclass(frozen=True)
class Loaded:
    """A checkpoint, ready for use."""

    classifier: Classifier
    """On the CPU and in evaluation mode."""
    about: About
    strangers: StrangerScore | None
    """What tells objects of no class; None where training ended before it was fitted."""


def content(classifier: Classifier, about: About, strangers: StrangerScore | None = None) -> dict[str, Any]:
    """Return what a checkpoint holds: plain data and tensors on the CPU."""
    return {
        "format": FORMAT,
        "about": msgspec.to_builtins(asdict(about)),
        "weights": _on_cpu(classifier.backbone.state_dict()),
        "strangers": None if strangers is None else _on_cpu(strangers.state_dict()),
    }


def save(path: Path, classifier: Classifier, about: About, strangers: StrangerScore | None = None) -> None:
    """Write a checkpoint whole or not at all. Raises OSError (a full disk); what was there before stays."""
    write(path, content(classifier, about, strangers))


def write(path: Path, what: Mapping[str, Any]) -> None:
    """Write plain data and tensors whole or not at all. Raises OSError; what was there before stays."""
    buffer = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError
    torch.save(dict(what), buffer)
    replace_bytes(path, buffer.getvalue())


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu() for key, value in state.items()}


def read_tensors(path: Path, error: type[BinsightError]) -> Any:
    """Load tensors and plain data from a file of torch's; code in it is refused and never run.

    Raises `error` where the file is missing, broken or holds code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of odd pickles before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as why:
        raise error(f"{path} can't be read: {why.strerror or why}") from why
    except Exception as why:  # on what is no checkpoint, unpickling raises nearly anything
        first = (str(why) or type(why).__name__).splitlines()[0]
        raise error(f"{path} is no checkpoint of plain tensors ({first})") from why


def load(path: Path) -> Loaded:
    """Return the classifier and what the checkpoint says of it.

    Raises ExportError: missing, no checkpoint of ours, with code in it, or contradicting itself.
    """
    found = read_tensors(path, ExportError)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ExportError(f"{path} is no checkpoint of binsight ({FORMAT}); name a run of edge-train")
    try:
        about = msgspec.convert(found["about"], About)
        classifier = make_classifier(
            about.model, len(about.labels), img_size=about.input.height, normalization=about.normalization
        )
        classifier.load_backbone(found["weights"])
        strangers = StrangerScore.from_state(found["strangers"]) if found.get("strangers") else None
    except (KeyError, TypeError, msgspec.ValidationError, RuntimeError, ImageError, UsageError) as error:
        raise ExportError(f"checkpoint {path} contradicts itself ({error}); train again") from error
    return Loaded(classifier.eval(), about, strangers)
