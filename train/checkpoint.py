"""Checkpoints: weights with all that is needed to use them, loadable with torch.load(weights_only=True)."""

from __future__ import annotations

import io
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from edge.errors import BinsightError, ExportError, ImageError, UsageError
from edge.files import replace_bytes
from edge.preprocess import InputSpec
from train.backbone import Classifier, make_classifier

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


def save(path: Path, classifier: Classifier, about: About) -> None:
    """Write a checkpoint whole or not at all. Raises OSError (a full disk); what was there before stays."""
    content = {
        "format": FORMAT,
        "about": msgspec.to_builtins(asdict(about)),
        "weights": {key: value.detach().cpu() for key, value in classifier.backbone.state_dict().items()},
    }
    buffer = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError
    torch.save(content, buffer)
    replace_bytes(path, buffer.getvalue())


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


def load(path: Path) -> tuple[Classifier, About]:
    """Return the classifier, on the CPU and in evaluation mode, and what the checkpoint says of it.

    Raises ExportError: missing, no checkpoint of ours, with code in it, or contradicting itself.
    """
    content = read_tensors(path, ExportError)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ExportError(f"{path} is no checkpoint of binsight ({FORMAT}); name a run of edge-train")
    try:
        about = msgspec.convert(content["about"], About)
        classifier = make_classifier(about.model, len(about.labels))
        classifier.backbone.load_state_dict(content["weights"])
    except (KeyError, TypeError, msgspec.ValidationError, RuntimeError, ImageError, UsageError) as error:
        raise ExportError(f"checkpoint {path} contradicts itself ({error}); train again") from error
    return classifier.eval(), about
