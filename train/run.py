"""A whole training: from a folder of photos to a run folder with weights, figures and a report."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import torch
import yaml

from edge.backends.base import Probabilities
from edge.draw import Tile, confusion_matrix, grid, save_png
from edge.errors import TrainError
from edge.files import is_taken, replace_bytes
from edge.images import Role, list_photos
from edge.preprocess import preprocess
from edge.scores import Scores, score
from train import checkpoint
from train.backbone import check_model, make_classifier
from train.calibrate import fit_temperature, softmax
from train.device import device_name, library_versions
from train.examine import Examined, examine
from train.fit import Fitted, fit
from train.judge import answer
from train.photos import LabelledFile, auto_workers
from train.recipe import Recipe
from train.report.figures import draw_results
from train.report.page import Page, write_page
from train.split import SPLIT_FILE, Split, make_split, write_split
from train.weights import load_weights

ARGS, LABELS, METRICS, REPORT = "args.yaml", "labels.txt", "metrics.json", "report.html"
GRID_TILES = 36
BROKEN_NAMED = 20
"""Broken files that the report names; the rest are counted."""


@dataclass(frozen=True)
class Trained:
    """A run that came to its end."""

    run: Path
    best_epoch: int
    seconds: float
    """Training alone, without examining the photos and judging."""
    scores: Scores
    """Of the best weights on the test photos."""


@dataclass(frozen=True)
class _Job:
    """What all the parts of one run share."""

    run: Path
    recipe: Recipe
    device: torch.device
    workers: int
    command: str
    files: dict[Role, tuple[LabelledFile, ...]]
    split: Split
    examined: Examined


def train(
    data: Path,
    run: Path,
    recipe: Recipe,
    device: torch.device,
    cache: Path,
    *,
    workers: int | None = None,
    command: str = "",
    progress: AbstractContextManager[Callable[[int, int], object]] | None = None,
    say: Callable[[str], object] = lambda line: None,  # noqa: ARG005
) -> Trained:
    """Train on `data` (a folder or .zip of class folders) and write the run folder `run`.

    `cache` is where zips are unpacked; `workers` load photos (None: chosen by the machine); `command` is
    kept in the report; `progress` gives, while the photos are examined, what is told (done, total); `say` gets one
    sentence for everything that was decided about the data. Raises BinsightError: data, weights or options
    that can't serve, a run folder that exists. The best weights so far stay in `run` whatever happens.
    """
    _check_new(run)
    check_model(recipe.model)
    listing = list_photos(data, cache)
    with progress or nullcontext() as report:
        examined = examine(listing, report)
    split = make_split(examined, data, recipe.seed)
    for line in _findings(examined, split):
        say(line)
    torch.manual_seed(recipe.seed)
    classifier = make_classifier(recipe.model, len(split.labels))
    source = load_weights(classifier, recipe.model, recipe.weights)
    workers = auto_workers(device.type == "cuda") if workers is None else workers
    files = {role: _labelled(split, role, listing.root) for role in Role}
    job = _Job(run, recipe, device, workers, command, files, split, examined)
    _begin(job, data)
    about = checkpoint.About(
        recipe.model, split.labels, recipe.input, 0, 0.0, recipe.seed, source, 1.0, library_versions()
    )
    fitted = fit(
        classifier,
        files[Role.TRAIN],
        files[Role.VAL],
        recipe,
        run,
        lambda epoch, accuracy: replace(about, epoch=epoch, val_accuracy=accuracy),
        device,
        workers,
    )
    return _judge(job, fitted)


def _check_new(run: Path) -> None:
    if is_taken(run):
        raise TrainError(f"{run} exists; name another folder with -o, or remove it")


def _labelled(split: Split, role: Role, root: Path) -> tuple[LabelledFile, ...]:
    return tuple(LabelledFile(root / one.file, split.labels.index(one.label)) for one in split.roles[role])


def _findings(examined: Examined, split: Split) -> tuple[str, ...]:
    """What was found and decided, in sentences."""
    counts = ", ".join(f"{len(split.roles[role])} {role.value}" for role in Role)
    lines = [f"{len(examined.samples)} photos in {len(split.labels)} classes: {counts}", *split.notes]
    if examined.broken:
        lines.append(f"{len(examined.broken)} photos can't be read and were left out")
    lines.extend(f"left out {one.name}: {one.reason}" for one in examined.broken[:BROKEN_NAMED])
    return tuple(lines)


def _begin(job: _Job, data: Path) -> None:
    """Write all that is known before the first step, so that a run that stops can still be used."""
    _check_new(job.run)  # again: the photos took a while, and somebody may have been faster
    (job.run / checkpoint.BEST).parent.mkdir(parents=True)
    arguments = {
        **msgspec.to_builtins(asdict(job.recipe)),
        "data": str(data.absolute()),
        "device": str(job.device),
        "workers": job.workers,
        "command": job.command,
        "versions": library_versions(),
    }
    replace_bytes(job.run / ARGS, yaml.safe_dump(arguments, sort_keys=False).encode())
    replace_bytes(job.run / LABELS, "".join(f"{label}\n" for label in job.split.labels).encode())
    write_split(job.run / SPLIT_FILE, job.split)


def _judge(job: _Job, fitted: Fitted) -> Trained:
    """Fit the temperature on validation photos, judge the best weights on the test photos, once, and report."""
    path = job.run / checkpoint.BEST
    classifier, about = checkpoint.load(path)
    spec = job.recipe.input
    truth, logits = answer(classifier, job.files[Role.VAL], spec, job.device, workers=job.workers)
    about = replace(about, temperature=fit_temperature(logits, truth))
    checkpoint.save(path, classifier, about)
    truth, logits = answer(classifier, job.files[Role.TEST], spec, job.device, workers=job.workers)
    probabilities = softmax(logits, about.temperature)
    scores = score(truth, probabilities, job.split.labels)
    trained = Trained(job.run, about.epoch, sum(row.seconds for row in fitted.rows), scores)
    _write_metrics(job, trained, about)
    _draw(job, fitted, scores, _tiles(job, probabilities))
    _write_report(job, fitted, trained, about)
    return trained


def _write_metrics(job: _Job, trained: Trained, about: checkpoint.About) -> None:
    metrics = {
        **asdict(trained.scores),
        "labels": job.split.labels,
        "best_epoch": trained.best_epoch,
        "val_accuracy": about.val_accuracy,
        "seconds": trained.seconds,
        "temperature": about.temperature,
    }
    replace_bytes(job.run / METRICS, json.dumps(metrics, indent=1, allow_nan=False).encode() + b"\n")


def _tiles(job: _Job, probabilities: Probabilities) -> list[Tile]:
    """Test photos drawn by the seed, as the network saw them, with what it said."""
    labels = job.split.labels
    count = len(probabilities)
    chosen = sorted(random.Random(job.recipe.seed).sample(range(count), min(GRID_TILES, count)))
    tiles = []
    for index in chosen:
        file = job.files[Role.TEST][index]
        said = int(probabilities[index].argmax())
        tiles.append(
            Tile(
                preprocess(file.path.read_bytes(), job.recipe.input),
                f"{labels[said]} {probabilities[index, said]:.0%}",
                f"true: {labels[file.target]}",
                said == file.target,
            )
        )
    return tiles


def _draw(job: _Job, fitted: Fitted, scores: Scores, tiles: list[Tile]) -> None:
    draw_results(fitted.rows, job.run / "results.png")
    for name, normalized in (("confusion_matrix", False), ("confusion_matrix_normalized", True)):
        save_png(job.run / f"{name}.png", confusion_matrix(scores.confusion, job.split.labels, normalized))
    save_png(job.run / "predictions.png", grid(tiles))


def _write_report(job: _Job, fitted: Fitted, trained: Trained, about: checkpoint.About) -> None:
    facts = {
        "model": about.model,
        "weights": about.weights,
        "data": job.split.data,
        "data digest": job.split.data_digest,
        "input": f"{about.input.width} x {about.input.height}, {about.input.resize.value}",
        "seed": str(about.seed),
        "temperature": f"{about.temperature:.3f}",
        "device": device_name(job.device),
        **about.versions,
    }
    figures = {
        "Curves": "results.png",
        "Confusion matrix": "confusion_matrix.png",
        "Confusion matrix, by true class": "confusion_matrix_normalized.png",
        "Photos that judged, and what was answered": "predictions.png",
    }
    page = Page(
        title=job.run.name,
        command=job.command,
        facts=tuple(facts.items()),
        scores=trained.scores,
        best_epoch=trained.best_epoch,
        findings=_findings(job.examined, job.split),
        rows=fitted.rows,
        figures=tuple((caption, job.run / file) for caption, file in figures.items()),
    )
    write_page(job.run / REPORT, page)
