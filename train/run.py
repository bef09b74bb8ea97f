"""A whole training: from a folder of photos to a run folder with weights, figures and a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import torch
import yaml

from edge.errors import TrainError
from edge.files import is_taken, new_folder, replace_bytes
from edge.images import Role
from edge.progress import Phase, silent
from edge.scores import Scores
from train import checkpoint
from train.backbone import Classifier, make_classifier
from train.callbacks import RESULTS
from train.check import check_judged, check_recipe, check_shares, with_view
from train.costs import Costs, read_costs
from train.dataset.prepare import Division, Prepared, prepare
from train.dataset.split import SPLIT_FILE, Split, read_split, write_split
from train.device import library_versions
from train.fit import Fitted, fit
from train.insight.features import Features
from train.insight.look import Insight
from train.job import Job
from train.loaders import auto_workers
from train.outcome import Outcome, judge, look_closer, see
from train.phases import Frozen
from train.photos import LabelledFile, open_pictures
from train.processes import ALONE, Processes, device_of, first_goes_ahead, joined, wait_for_all
from train.recipe import Recipe
from train.rejection import Pricing
from train.report.data_page import write_report
from train.report.doubt import Doubt
from train.report.rows import write_csv
from train.results import write_metrics, write_results
from train.resume import ARGS, COSTS, check_same
from train.weights import load_weights
from train.zoo import check_size

LABELS, DATA_REPORT = "labels.txt", "data"


@dataclass(frozen=True)
class Trained:
    """A run that came to its end."""

    run: Path
    best_epoch: int
    """0: nothing was trained, the weights were judged as they came."""
    seconds: float
    """Training alone, without examining the photos and judging."""
    scores: Scores
    """Of the best weights on the test photos."""
    labels: tuple[str, ...]
    """In output order."""
    insight: Insight
    """Suspect labels, and what more photos should bring."""
    doubt: Doubt
    """When an answer is rejected, and what that costs."""


def train(
    data: Path,
    run: Path,
    recipe: Recipe,
    device: torch.device,
    cache: Path,
    *,
    division: Division = Division(),  # noqa: B008  frozen
    resume: bool = False,
    workers: int | None = None,
    command: str = "",
    log: tuple[str, ...] = (),
    processes: Processes = ALONE,
    phase: Phase = silent,
    say: Callable[[str], object] = lambda line: None,  # noqa: ARG005
) -> Trained | None:
    """Train on `data` (a folder or .zip of class folders) and write the run folder `run`.

    `cache` is where zips are unpacked and decoded photos kept; `division` says how the photos get their roles;
    with `resume`, a run that was stopped goes on; `workers` load photos (None: chosen by the machine); `command`
    is kept in the report; `log` names loggers beside the run folder; `processes` train together; `phase` opens
    the progress of each long piece of work but training; `say` gets one sentence for everything that was found
    and decided about the data. Returns None in all processes but the first. Raises BinsightError: data, weights
    or options that can't serve, a run folder that exists. The best weights so far stay in `run` whatever happens.
    """
    if not (resume and (run / ARGS).exists()):
        _check_new(run)
    device = device_of(processes, device)
    with joined(processes, device):
        with first_goes_ahead(processes):
            prepared = prepare(data, cache, recipe.seed, division, phase)
        costs = read_costs(Path(recipe.costs), prepared.split.labels) if recipe.costs else None
        for line in prepared.findings:
            say(line)
        classifier, source = _start(recipe, prepared.split.labels)
        check_recipe(recipe, classifier, device, processes)
        recipe = with_view(recipe, classifier)
        with first_goes_ahead(processes):
            job = _make_job(run, recipe, device, workers, command, log, processes, prepared, cache, phase, say)
        check_shares(len(job.files[Role.TRAIN]), len(job.files[Role.VAL]), processes)
        if processes.first:
            _begin(job, data, division, prepared, resume)
        wait_for_all(processes)
        if not (run / ARGS).exists():
            raise TrainError(
                f"process {processes.rank} does not see {run}: it must lie on a disk that all machines share"
            )
        before = (
            see(job, classifier, "looking at the photos", phase) if recipe.pretrained and recipe.epochs else None
        )
        about = _about(job, classifier, source, costs)
        fitted = _fit(job, classifier, about, before)
    if not processes.first:
        return None
    return _finish(job, fitted, before, phase)


def _check_new(run: Path) -> None:
    if is_taken(run):
        raise TrainError(f"{run} exists; name another folder with -o, remove it, or go on with it by --resume")


def _start(recipe: Recipe, labels: tuple[str, ...]) -> tuple[Classifier, str]:
    """Return the classifier that training starts from, and where its weights came from."""
    check_size(recipe.model, recipe.img_size)
    torch.manual_seed(recipe.seed)
    classifier = make_classifier(recipe.model, len(labels), img_size=recipe.img_size, dropout=recipe.dropout)
    drawn = classifier.head.weight.detach().clone()
    source = load_weights(classifier, recipe.model, recipe.weights, labels)
    check_judged(recipe, source, fresh=bool((classifier.head.weight == drawn).all(dim=1).any()))
    return classifier, source


def _make_job(
    run: Path,
    recipe: Recipe,
    device: torch.device,
    workers: int | None,
    command: str,
    log: tuple[str, ...],
    processes: Processes,
    prepared: Prepared,
    cache: Path,
    phase: Phase,
    say: Callable[[str], object],
) -> Job:
    split, root = prepared.split, prepared.survey.examined.root
    files = {role: _labelled(split, role, root) for role in Role}
    training = recipe.epochs > recipe.head_epochs or recipe.frozen_augment
    with phase("decoding the photos") as report:
        every = [file for role in Role for file in files[role]]
        pictures = open_pictures(every, recipe, cache, training=training, progress=report, say=say)
    return Job(
        run=run,
        recipe=recipe,
        device=device,
        workers=auto_workers(device.type == "cuda") if workers is None else workers,
        command=command,
        log=log,
        processes=processes,
        files=files,
        all_pictures=pictures,
        groups=prepared.groups,
        split=split,
        findings=prepared.findings,
    )


def _labelled(split: Split, role: Role, root: Path) -> tuple[LabelledFile, ...]:
    return tuple(
        LabelledFile(root / one.file, split.labels.index(one.label), one.sha256) for one in split.roles[role]
    )


def _begin(job: Job, data: Path, division: Division, prepared: Prepared, resume: bool) -> None:
    """Write all that is known before the first step, in one step, so that a run that stops can go on."""
    run = job.run
    if resume and (run / ARGS).exists():
        check_same(read_split(run / SPLIT_FILE), job.split, run)
        return
    _check_new(run)  # again: the photos took a while, and somebody may have been faster
    arguments = {
        **msgspec.to_builtins(asdict(job.recipe)),
        "data": str(data.absolute()),
        "device": str(job.device),
        "workers": job.workers,
        "group_by": division.group_by,
        "split": str(division.reuse.absolute()) if division.reuse else "",
        "command": job.command,
        "versions": library_versions(),
    }
    with new_folder(run) as folder:
        (folder / checkpoint.BEST).parent.mkdir()
        replace_bytes(folder / ARGS, yaml.safe_dump(arguments, sort_keys=False).encode())
        replace_bytes(folder / LABELS, "".join(f"{label}\n" for label in job.split.labels).encode())
        if job.recipe.costs:
            replace_bytes(folder / COSTS, Path(job.recipe.costs).read_bytes())
        write_split(folder / SPLIT_FILE, job.split)
        write_report(folder / DATA_REPORT, prepared.survey, job.split.data, job.command)


def _about(job: Job, classifier: Classifier, source: str, costs: Costs | None) -> checkpoint.About:
    recipe, split = job.recipe, job.split
    return checkpoint.About(
        model=recipe.model,
        labels=split.labels,
        input=recipe.input,
        epoch=0,
        val_accuracy=0.0,
        seed=recipe.seed,
        weights=source,
        temperature=1.0,
        versions=library_versions(),
        data_digest=split.data_digest,
        split_digests={role.value: split.digest(role) for role in Role},
        max_error=recipe.max_error,
        stranger_rejects=recipe.stranger_rejects,
        pricing=_pricing(costs),
        normalization=classifier.normalization,
    )


def _pricing(costs: Costs | None) -> Pricing:
    if costs is None:
        return Pricing()
    return Pricing(tuple(tuple(map(float, row)) for row in costs.matrix), costs.least_score)


def _fit(
    job: Job, classifier: Classifier, about: checkpoint.About, before: Mapping[Role, Features] | None
) -> Fitted:
    """Train the classifier, in place; with no epochs, keep it as it came."""
    if not job.recipe.epochs:
        if job.processes.first:
            for path in (checkpoint.BEST, checkpoint.LAST):
                checkpoint.save(job.run / path, classifier, about)
            write_csv(job.run / RESULTS, ())
        return Fitted(())
    frozen = None
    if before and job.recipe.head_epochs and not job.recipe.frozen_augment:
        frozen = {role: Frozen(before[role], job.pictures[role].targets) for role in (Role.TRAIN, Role.VAL)}
    return fit(
        job,
        classifier,
        lambda epoch, accuracy: replace(about, epoch=epoch, val_accuracy=accuracy),
        frozen,
    )


def _finish(job: Job, fitted: Fitted, before: Mapping[Role, Features] | None, phase: Phase) -> Trained:
    """Judge the best weights, and write down all that came out."""
    outcome: Outcome = judge(job, fitted, phase)
    write_metrics(job, outcome)
    with phase("looking at the labels"):
        outcome = look_closer(job, outcome, before)
    write_results(job, outcome)
    about = outcome.about
    return Trained(
        job.run, about.epoch, outcome.seconds, outcome.scores, job.split.labels, outcome.insight, outcome.doubt
    )
