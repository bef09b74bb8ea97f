"""The proof of the stranger score: with one class left out of training at a time, is it told from the others?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.record import DATA, WEIGHTS, WORK, Row, keep
from edge.images import Photo, Role, list_photos
from edge.preprocess import preprocess
from edge.scores import calibration_error
from train import checkpoint
from train.backbone import Classifier
from train.calibrate import softmax
from train.checkpoint import About
from train.dataset.split import SPLIT_FILE, read_split
from train.insight.features import Features
from train.strangers import fit_strangers, strangeness, stranger_threshold

FOLDER = WORK / "strangers"
BATCH = 32
REJECTS = 0.02
LEAST_GAIN = 0.03
"""AUROC over that of plain max-softmax, on the mean of the classes left out."""


@dataclass(frozen=True)
class Judged:
    """Known photos that neither trained nor chose anything, and those of the class left out."""

    plain: tuple[float, float]
    """AUROC of 1 - max-softmax, and the share of strangers accepted where 95 % of the known are."""
    score: tuple[float, float]
    """The same of the stranger score."""
    caught: float
    """Share of the strangers above the threshold."""
    lost: float
    """Share of the known test photos above it: what it costs in coverage."""
    calibration_error: float
    """Of the known test photos."""


def prove_strangers(epochs: int | None = None) -> bool:
    """edge-train on five classes of TrashNet at a time, default settings (`epochs`: other than the default)."""
    all_of = list_photos(DATA, WORK / "cache")
    judged = {label: _judge(_train(label, all_of.photos, epochs), label, all_of.photos) for label in all_of.labels}
    rows: list[Row] = []
    for label, its in judged.items():
        what = f"{its.score[0]:.3f}, {its.plain[0]:.3f}; {its.score[1]:.1%}, {its.plain[1]:.1%}"
        rows.append((f"without {label}: AUROC, max-softmax's; FPR at 95 %, max-softmax's", what, ""))
    each = [(*its.score, *its.plain, its.caught, its.lost, its.calibration_error) for its in judged.values()]
    scores = np.array(each).mean(axis=0)
    rows += [
        ("mean AUROC, max-softmax's", f"{scores[0]:.3f}, {scores[2]:.3f}", f"better by {LEAST_GAIN}"),
        ("mean FPR at 95 %, max-softmax's", f"{scores[1]:.1%}, {scores[3]:.1%}", "less"),
        (f"strangers rejected at a threshold for {REJECTS:.0%} of the known", f"{scores[4]:.1%}", ""),
        ("known test photos rejected by it", f"{scores[5]:.1%}", ""),
        ("calibration error of the known test photos, mean", f"{scores[6]:.1%}", ""),
    ]
    keep("strangers", "One class of TrashNet left out of `edge-train` at a time", rows)
    return bool(scores[0] >= scores[2] + LEAST_GAIN and scores[1] < scores[3])


def _train(left_out: str, photos: Sequence[Photo], epochs: int | None) -> Path:
    """Train on all classes but one, and return the run."""
    data, run = FOLDER / f"without-{left_out}", FOLDER / f"run-{left_out}"
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(run, ignore_errors=True)
    for photo in photos:
        if photo.label != left_out:
            file = data / photo.label / photo.path.name
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(photo.path, file)
    command = [str(Path(sys.executable).parent / "edge-train"), str(data), "--weights", str(WEIGHTS)]
    more = [] if epochs is None else ["--epochs", str(epochs)]
    done = subprocess.run([*command, *more, "-o", str(run), "--json"], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"edge-train without {left_out} ended with {done.returncode}")
    sys.stderr.write(f"without {left_out}: {json.loads(done.stdout)['test']['accuracy']:.1%}\n")
    return run


def _judge(run: Path, left_out: str, photos: Sequence[Photo]) -> Judged:
    loaded = checkpoint.load(run / checkpoint.BEST)
    classifier, about = loaded.classifier, loaded.about
    split, data = read_split(run / SPLIT_FILE), FOLDER / f"without-{left_out}"
    files = {role: [data / entry.file for entry in split.roles[role]] for role in Role}
    seen = {role: _features(classifier, about, files[role]) for role in Role}
    strange = _features(classifier, about, [photo.path for photo in photos if photo.label == left_out])
    head = classifier.head
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    score = fit_strangers(seen[Role.TRAIN], weight, bias, seen[Role.VAL])
    held, known, other = (
        strangeness(score, its, weight, bias) for its in (seen[Role.VAL], seen[Role.TEST], strange)
    )
    chances = [softmax(its @ weight.T + bias, about.temperature) for its in (seen[Role.TEST], strange)]
    truth = np.array([about.labels.index(file.parent.name) for file in files[Role.TEST]], dtype=np.int64)
    limit = stranger_threshold(held, REJECTS)
    return Judged(
        plain=_told(*(1 - its.max(axis=1) for its in chances)),
        score=_told(known, other),
        caught=float(np.mean(other > limit)),
        lost=float(np.mean(known > limit)),
        calibration_error=calibration_error(truth, chances[0]),
    )


def _features(classifier: Classifier, about: About, files: Sequence[Path]) -> Features:
    """Return what reaches the last layer, float32 [photos, features], through the bin's own view."""
    seen: list[np.ndarray] = []

    def hear(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].float().numpy())

    hook = classifier.head.register_forward_pre_hook(hear)
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            batch = [preprocess(file.read_bytes(), about.input) for file in files[start : start + BATCH]]
            classifier(torch.from_numpy(np.stack(batch)))
    hook.remove()
    return np.concatenate(seen)


def _told(known: np.ndarray, strange: np.ndarray) -> tuple[float, float]:
    """AUROC, ties counting half, and the share of strangers not above the 95 % quantile of the known."""
    above = (strange[:, None] > known[None, :]).mean() + 0.5 * (strange[:, None] == known[None, :]).mean()
    return float(above), float(np.mean(strange <= np.quantile(known, 0.95)))
