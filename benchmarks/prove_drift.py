"""The proof of drift: what is planted is found within 500 deposits, and 20 runs without any flag nothing.

A quarter of the photos never reach the training: deposits are drawn from it, and answered by the exported bundle
as the bin would. Without TrashNet the photos are drawn by the project.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.record import DATA, WEIGHTS, WORK, Row, keep
from edge.appearance import appearance
from edge.backends import Backend, open_backend
from edge.bundle import Bundle, load
from edge.decision import Reason
from edge.drift import MOST_OWN, WINDOW, Against, DriftWatch, Memory, Rows, row_of
from edge.episodes import Outcome
from edge.images import list_photos
from edge.model import Model
from edge.preprocess import Pixels, decode, fit
from edge.waste import write_dataset

FOLDER = WORK / "drift"
PHOTOS, HELD, MADE, RUN = FOLDER / "photos", FOLDER / "held", FOLDER / "made", FOLDER / "run"
QUIET_RUNS, QUIET_DEPOSITS, PLANTED_RUNS, SOON = 20, 5000, 20, 500
POINTS = 0.2
CASTS = (1.05, 1.1, 1.2)
"""Red times this, blue divided by it."""
MUST_SEE = 1.1
"""From this cast on it must be found."""

Mix = npt.NDArray[np.float64]
"""float64 [classes]."""


def prove_drift() -> bool:
    """Train on three quarters of the photos, and throw in the last."""
    with open_backend(_bundle(), "onnxruntime") as backend:
        return _prove(load(RUN / "bundle"), backend)


def _prove(bundle: Bundle, backend: Backend) -> bool:
    model, files = Model(bundle, backend), sorted(HELD.glob("*/*"))
    labels = bundle.manifest.labels
    truth = np.array([labels.index(file.parent.name) for file in files])
    mix = np.bincount(truth, minlength=len(labels)) / len(truth)
    plain = _rows(model, files, 1.0)
    false = sum(_quiet(model, plain, truth, mix, seed) for seed in range(QUIET_RUNS))
    quiet = f"{QUIET_RUNS} runs of {QUIET_DEPOSITS:,} deposits without drift: those that changed by themselves"
    rows: list[Row] = [(quiet, str(false), "0")]
    held = false == 0
    for number, label in enumerate(labels):
        others = np.arange(len(labels)) != number
        mixed = np.where(others, mix * (1 - POINTS / mix[others].sum()), mix + POINTS)
        row, good = _planted(model, plain, plain, truth, (mix, mixed), f"20 points more {label}")
        rows.append((*row, f"all, within {SOON}"))
        held &= good
    for cast in CASTS:
        seen = _rows(model, files, cast)
        what = f"a cast of {cast - 1:.0%}: red times {cast:g}, blue divided by it"
        row, good = _planted(model, plain, seen, truth, (mix, mix), what)
        rows.append((*row, f"all, within {SOON}" if cast >= MUST_SEE else ""))
        held &= good or cast < MUST_SEE
    what = "TrashNet" if DATA.is_file() else "made photos"
    known = 0 if model.photos is None else len(model.photos)
    keep("drift", f"{len(files)} photos of {what} that the run never saw, {known} in its reference", rows)
    return held


def _bundle() -> Bundle:
    """Deal the photos, train, and export; without runs/proof/drift all begins anew."""
    if not (RUN / "bundle").is_dir():
        shutil.rmtree(FOLDER, ignore_errors=True)
        if not DATA.is_file():
            write_dataset(MADE, 300, 0, 128)
        photos = [*list_photos(DATA if DATA.is_file() else MADE, WORK / "cache").photos]
        random.Random(0).shuffle(photos)
        for number, photo in enumerate(photos):
            file = (HELD if number % 4 == 0 else PHOTOS) / photo.label / photo.path.name
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(photo.path, file)
        real = ("--weights", str(WEIGHTS), "--epochs", "6")
        made = ("--weights", "none", "--model", "resnet18", "--img-size", "96", "--epochs", "8", "--lr", "0.002")
        _command("edge-train", str(PHOTOS), *(real if DATA.is_file() else made), "-o", str(RUN))
        _command("edge-export", str(RUN))
    return load(RUN / "bundle")


def _command(name: str, *arguments: str) -> None:
    done = subprocess.run([str(Path(sys.executable).parent / name), *arguments], check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{name} ended with {done.returncode}")


def _rows(model: Model, files: Sequence[Path], cast: float) -> Rows:
    """Answer the photos as a camera of this cast shows them."""
    return np.concatenate([_row(model, decode(file.read_bytes()), cast) for file in files])


def _row(model: Model, photo: Pixels, cast: float) -> Rows:
    picture = np.clip(photo * np.array([1 / cast, 1.0, cast]), 0, 255).astype(np.uint8)
    seen = model.answer(picture, lambda: 0.0).seen
    choice = model.decide(Outcome(seen.probabilities, 1, seen.strangeness))
    manifest = model.bundle.manifest
    index = len(manifest.labels) if choice.reason is Reason.STRANGER else choice.index
    return row_of(index, choice.confidence, appearance(fit(picture, manifest.input)))


def _drawn(rng: np.random.Generator, rows: Rows, truth: npt.NDArray[np.int64], mix: Mix, count: int) -> Rows:
    """Throw in `count` things of this mix."""
    share = mix[truth] / np.bincount(truth, minlength=len(mix))[truth]
    return rows[rng.choice(len(rows), count, p=share / share.sum())]


def _first(watch: DriftWatch, rows: Rows, against: Against | None = None) -> int | None:
    """Return after how many deposits the first change was said, of what is compared with `against`."""
    for number in range(len(rows)):
        if watch.add(rows[number : number + 1]) and (
            against is None or any(one.against is against for one in watch.drift.drifted)
        ):
            return number + 1
    return None


def _quiet(model: Model, rows: Rows, truth: npt.NDArray[np.int64], mix: Mix, seed: int) -> bool:
    rng = np.random.default_rng([seed, 1])
    return _first(DriftWatch(model.photos), _drawn(rng, rows, truth, mix, QUIET_DEPOSITS)) is not None


def _planted(
    model: Model, before: Rows, after: Rows, truth: npt.NDArray[np.int64], mixes: tuple[Mix, Mix], what: str
) -> tuple[tuple[str, str], bool]:
    """Plant it at a bin that has settled, again and again."""
    found = []
    for seed in range(PLANTED_RUNS):
        rng = np.random.default_rng([seed, 2])
        own, window = (_drawn(rng, before, truth, mixes[0], count) for count in (MOST_OWN, WINDOW))
        watch = DriftWatch(model.photos, Memory(own, window))
        found.append(_first(watch, _drawn(rng, after, truth, mixes[1], SOON), Against.ITSELF))
    at = [one for one in found if one is not None]
    told = f"{len(at)} of {len(found)}" + (
        f", after {np.median(at):.0f} deposits, at most {max(at)}" if at else ""
    )
    return (f"{what}: found, after how many (median)", told), len(at) == len(found)
