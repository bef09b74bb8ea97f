"""The proof of training: five folds of TrashNet by default settings, no photo judged by a model that saw it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.record import DATA, WEIGHTS, WORK, Row, keep
from edge.images import Role, list_photos
from edge.intervals import wilson
from edge.scores import calibration_error
from train.dataset.prepare import Division, prepare
from train.dataset.split import Split, SplitFile, write_split

FOLDS, SEED = 5, 0
VALIDATION = 8
"""One part in so many of what does not judge validates."""
FOLDER = WORK / "folds"
CACHE = WORK / "cache"
LEAST_ACCURACY, MOST_MINUTES, MOST_CALIBRATION_ERROR = 0.925, 12.0, 0.03

Indices = npt.NDArray[np.int64]


def prove_folds(folds: int = FOLDS) -> bool:
    """Train and judge the first `folds` of five by the command, then pool what was answered.

    A fold that was stopped goes on, and one that is done is only judged again; without runs/proof/folds all begin.
    Passes only where all five are there.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    metrics = []
    for number, split in enumerate(_splits()):
        if number < folds:
            write_split(FOLDER / f"fold-{number}.json", split)
            metrics.append(_train(number))
    return _write(metrics)


def _splits() -> Iterator[Split]:
    """Deal the photos into folds by class; copies of one picture stay together."""
    prepared = prepare(DATA, CACHE, SEED, Division())
    files = np.array([one for role in Role for one in prepared.split.roles[role]], dtype=object)
    labels = np.array([one.label for one in files])
    for rest, judges in _deal(labels, prepared.groups, FOLDS):
        learn, validate = next(_deal(labels[rest], prepared.groups[rest], VALIDATION))
        roles = {Role.TRAIN: rest[learn], Role.VAL: rest[validate], Role.TEST: judges}
        yield replace(prepared.split, roles={role: _files(files, its) for role, its in roles.items()}, notes=())


def _deal(labels: npt.NDArray[np.str_], groups: Indices, parts: int) -> Iterator[tuple[Indices, Indices]]:
    yield from StratifiedGroupKFold(parts, shuffle=True, random_state=SEED).split(labels, labels, groups)


def _files(files: npt.NDArray[np.object_], chosen: Indices) -> tuple[SplitFile, ...]:
    return tuple(sorted(files[chosen], key=lambda one: one.file))


def _train(number: int) -> dict[str, float]:
    run, split = FOLDER / f"fold-{number}", FOLDER / f"fold-{number}.json"
    begun = (run / "args.yaml").exists()
    how = ["--resume"] if begun else ["--weights", str(WEIGHTS), "--split", str(split)]
    command = [str(Path(sys.executable).parent / "edge-train"), str(DATA), *how, "-o", str(run), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"edge-train ended with {done.returncode}")
    result = json.loads(done.stdout)
    return {"accuracy": result["test"]["accuracy"], "minutes": result["seconds"] / 60}


def _write(metrics: list[dict[str, float]]) -> bool:
    truth, probabilities, accepted = _pool()
    answers = probabilities.argmax(axis=1)
    right = int((answers == truth).sum())
    mean = float(np.mean([one["accuracy"] for one in metrics]))
    low, high = wilson(right, len(truth))
    slowest = max(one["minutes"] for one in metrics)
    error = calibration_error(truth, probabilities)
    wrong = int((accepted & (answers != truth)).sum())
    rows: list[Row] = [
        ("mean accuracy of the folds", f"{mean:.2%}", f"at least {LEAST_ACCURACY:.1%}"),
        ("each fold", ", ".join(f"{one['accuracy']:.2%}" for one in metrics), ""),
        ("95 % interval, pooled", f"{low:.2%} to {high:.2%}, {len(truth)} photos", ""),
        *_with_all_photos(right, len(metrics)),
        ("calibration error after scaling, pooled", f"{error:.2%}", f"at most {MOST_CALIBRATION_ERROR:.0%}"),
        ("accepted by the folds' thresholds", f"{accepted.mean():.1%}", ""),
        (
            "wrong among the accepted, on the photos that set the thresholds",
            f"{wrong / max(1, accepted.sum()):.2%}",
            "",
        ),
        ("minutes of training, the slowest fold", f"{slowest:.1f}", f"at most {MOST_MINUTES:.0f}"),
    ]
    what = "`edge-train trashnet.zip --weights mobilenet_v2_imagenet.pth --split FOLD`, default settings, one seed"
    keep("train", f"{what}; {len(metrics)} of {FOLDS} folds", rows)
    return (
        len(metrics) == FOLDS
        and mean >= LEAST_ACCURACY
        and slowest <= MOST_MINUTES
        and error <= MOST_CALIBRATION_ERROR
    )


def _with_all_photos(right: int, folds: int) -> list[Row]:
    """Count the photos that were left out for their labels as wrong, where all the others have been judged."""
    if folds < FOLDS:
        return []
    listed = len(list_photos(DATA, CACHE).photos)
    return [(f"of all {listed}, those left out for their labels counted as wrong", f"{right / listed:.2%}", "")]


def _pool() -> tuple[Indices, npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return of all folds: true labels int64 [n], probabilities float32 [n, classes], accepted or not bool [n]."""
    truth, probabilities, accepted = [], [], []
    for file in sorted(FOLDER.glob("fold-*/predictions.csv")):
        labels = (file.parent / "labels.txt").read_text().splitlines()
        with file.open(newline="") as text:
            for row in csv.DictReader(text):
                truth.append(labels.index(row["label"]))
                probabilities.append([float(row[f"p_{label}"]) for label in labels])
                accepted.append(row["decision"] == "accepted")
    return np.array(truth), np.array(probabilities, dtype=np.float32), np.array(accepted)
