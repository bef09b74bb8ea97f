"""A whole training: from a folder of photos to a run folder with weights, figures and a report."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import torch
import yaml

from edge.errors import TrainError
from edge.files import is_taken, replace_bytes
from edge.images import Role
from edge.progress import Phase, silent
from edge.scores import Scores
from train import checkpoint
from train.backbone import Classifier, check_model, make_classifier
from train.dataset.prepare import Division, prepare
from train.dataset.split import SPLIT_FILE, Split, write_split
from train.device import library_versions
from train.fit import Fitted, fit
from train.insight.look import Insight
from train.job import Job
from train.outcome import judge, look_closer
from train.photos import LabelledFile, auto_workers
from train.recipe import Recipe
from train.report.data_page import write_report
from train.results import write_metrics, write_results
from train.weights import load_weights

ARGS, LABELS, DATA_REPORT = "args.yaml", "labels.txt", "data"


@dataclass(frozen=True)
class Trained:
    """A run that came to its end."""

    run: Path
    best_epoch: int
    seconds: float
    """Training alone, without examining the photos and judging."""
    scores: Scores
    """Of the best weights on the test photos."""
    labels: tuple[str, ...]
    """In output order."""
    insight: Insight
    """Suspect labels, and what more photos should bring."""


def train(
    data: Path,
    run: Path,
    recipe: Recipe,
    device: torch.device,
    cache: Path,
    *,
    division: Division = Division(),  # noqa: B008  frozen
    workers: int | None = None,
    command: str = "",
    phase: Phase = silent,
    say: Callable[[str], object] = lambda line: None,  # noqa: ARG005
) -> Trained:
    """Train on `data` (a folder or .zip of class folders) and write the run folder `run`.

    `cache` is where zips are unpacked; `division` says how the photos get their roles; `workers` load photos
    (None: chosen by the machine); `command` is kept in the report; `phase` opens the progress of each long
    piece of work but training; `say` gets one sentence for everything that was found and decided about the
    data. Raises BinsightError: data, weights or options that can't serve, a run folder that exists. The best
    weights so far stay in `run` whatever happens.
    """
    _check_new(run)
    check_model(recipe.model)
    prepared = prepare(data, cache, recipe.seed, division, phase)
    split, root = prepared.split, prepared.survey.examined.root
    for line in prepared.findings:
        say(line)
    torch.manual_seed(recipe.seed)
    classifier = make_classifier(recipe.model, len(split.labels))
    source = load_weights(classifier, recipe.model, recipe.weights)
    # What has not seen the labels can judge them.
    before = copy.deepcopy(classifier) if recipe.pretrained else None
    workers = auto_workers(device.type == "cuda") if workers is None else workers
    files = {role: _labelled(split, role, root) for role in Role}
    job = Job(run, recipe, device, workers, command, files, prepared.groups, split, prepared.findings)
    _begin(job, data)
    write_report(run / DATA_REPORT, prepared.survey, split.data, command)
    fitted = _fit(job, classifier, source)
    outcome = judge(job, fitted)
    write_metrics(job, outcome)
    with phase("looking at the labels") as report:
        outcome = look_closer(job, outcome, before, report)
    write_results(job, outcome)
    return Trained(run, outcome.about.epoch, outcome.seconds, outcome.scores, split.labels, outcome.insight)


def _check_new(run: Path) -> None:
    if is_taken(run):
        raise TrainError(f"{run} exists; name another folder with -o, or remove it")


def _labelled(split: Split, role: Role, root: Path) -> tuple[LabelledFile, ...]:
    return tuple(LabelledFile(root / one.file, split.labels.index(one.label)) for one in split.roles[role])


def _begin(job: Job, data: Path) -> None:
    """Write all that is known before the first step, so that a run that stops can still be used."""
    _check_new(job.run)  # again: the photos took a while, and somebody may have been faster
    (job.run / checkpoint.BEST).parent.mkdir(parents=True)
    arguments = {
        **msgspec.to_builtins(asdict(job.recipe)),
        "data": str(data.absolute()),
        "device": str(job.device),
        "workers": job.workers,
        "group_by": job.split.grouped_by,
        "command": job.command,
        "versions": library_versions(),
    }
    replace_bytes(job.run / ARGS, yaml.safe_dump(arguments, sort_keys=False).encode())
    replace_bytes(job.run / LABELS, "".join(f"{label}\n" for label in job.split.labels).encode())
    write_split(job.run / SPLIT_FILE, job.split)


def _fit(job: Job, classifier: Classifier, source: str) -> Fitted:
    """Train the classifier, in place; `source` says where its weights came from."""
    recipe = job.recipe
    about = checkpoint.About(
        recipe.model, job.split.labels, recipe.input, 0, 0.0, recipe.seed, source, 1.0, library_versions()
    )
    return fit(
        classifier,
        job.files[Role.TRAIN],
        job.files[Role.VAL],
        recipe,
        job.run,
        lambda epoch, accuracy: replace(about, epoch=epoch, val_accuracy=accuracy),
        job.device,
        job.workers,
    )
