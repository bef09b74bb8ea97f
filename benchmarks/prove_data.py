"""The proof of the examination: how it grows with the photos, and how many wrong labels it finds."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import torch

from benchmarks.record import DATA, WEIGHTS, WORK, Row, keep
from benchmarks.scale import Measured, decode_rate, make_photos, measure
from edge.images import Listing, list_photos
from train.backbone import make_classifier
from train.device import use_bf16
from train.insight.features import extract
from train.insight.probe import compress
from train.insight.suspects import find_suspects
from train.photos import LabelledFile, open_pictures
from train.recipe import Recipe
from train.weights import load_weights

COUNTS = (10_000, 100_000)
MOST_MEGABYTES = 1024 * 1.048576
LEAST_SHARE_OF_DECODING = 0.5
MOST_GROWTH = 12.0
"""Times that ten times the photos may take: linear, and some doubt of the clock."""
SWAPPED, TOP, LEAST_FOUND, SEEDS = 0.05, 0.1, 0.6, 10


def prove_data() -> bool:
    """Survey 10,000 and 100,000 made photos, and look for swapped labels in TrashNet."""
    rows, passed = _growth()
    more, found = _swaps()
    keep("data", "`survey` on made photos of 512 x 384, and suspects in TrashNet with swapped labels", rows + more)
    return passed and found


def _growth() -> tuple[list[Row], bool]:
    rows: list[Row] = []
    measured: list[Measured] = []
    passed = True
    for count in COUNTS:
        folder, cache = WORK / f"made-{count}", WORK / f"made-{count}-cache"
        shutil.rmtree(cache, ignore_errors=True)
        sys.stderr.write(f"making {count} photos\n")
        make_photos(folder, count)
        before = decode_rate(folder)
        its = measure(folder, cache)
        decoding = max(before, decode_rate(folder))
        share = its.photos / its.seconds / decoding
        measured.append(its)
        rows += [
            (
                f"{count} photos: seconds, photos a second",
                f"{its.seconds:.1f}, {its.photos / its.seconds:.0f}",
                "",
            ),
            (
                "share of the speed at which all cores decode",
                f"{share:.2f} of {decoding:.0f}",
                "at least 0.5",
            ),
            ("memory beyond the libraries, MB", f"{its.megabytes:.0f}", "under 1024 MiB"),
            ("seconds of a second run", f"{its.again:.2f}", "at most a tenth, or 2"),
            ("findings", str(its.findings), ""),
        ]
        passed &= share >= LEAST_SHARE_OF_DECODING and its.megabytes < MOST_MEGABYTES
        passed &= its.again <= max(2.0, its.seconds / 10)
    growth = measured[1].seconds / measured[0].seconds
    rows.append(("time of ten times the photos", f"{growth:.1f} times", "linear"))
    return rows, passed and growth <= MOST_GROWTH


def _swaps() -> tuple[list[Row], bool]:
    listing = list_photos(DATA, WORK / "cache")
    truth = np.array([listing.labels.index(photo.label) for photo in listing.photos], dtype=np.int64)
    features = compress(_features(listing, truth))
    shares = [_found(features, truth, len(listing.labels), seed) for seed in range(SEEDS)]
    what = f"of {SWAPPED:.0%} swapped labels, among the top {TOP:.0%} of the suspects, mean of {SEEDS} seeds"
    rows = [
        (what, f"{np.mean(shares):.1%}", f"at least {LEAST_FOUND:.0%}"),
        ("the same, the worst seed", f"{min(shares):.1%}", f"at least {LEAST_FOUND:.0%}"),
    ]
    return rows, min(shares) >= LEAST_FOUND


def _features(listing: Listing, truth: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray:
    recipe, device = Recipe(), torch.device("cpu")
    classifier = make_classifier(recipe.model, len(listing.labels))
    load_weights(classifier, recipe.model, str(WEIGHTS))
    files = [LabelledFile(photo.path, int(label)) for photo, label in zip(listing.photos, truth, strict=True)]
    pictures = open_pictures(files, recipe, WORK / "cache", training=False)
    return extract(classifier, pictures, device, bf16=use_bf16(recipe.amp, device))


def _found(features: np.ndarray, truth: np.ndarray, classes: int, seed: int) -> float:
    """Swap some labels, each for any other, and return the share of them among the top suspects."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(truth), round(SWAPPED * len(truth)), replace=False)
    labels = truth.copy()
    labels[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    suspects = find_suspects(features, labels, np.arange(len(truth)), classes, seed)
    top = suspects.order[: round(TOP * len(truth))]
    return float(np.isin(chosen, top).mean())
