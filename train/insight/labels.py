"""Labels that look wrong, before anything is trained: by the features of a network that somebody else trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge.errors import TrainError
from edge.progress import Phase, silent
from train.backbone import check_model, make_classifier
from train.dataset.findings import Finding, Kind
from train.dataset.survey import Survey
from train.dataset.twins import tie
from train.device import choose_device, use_bf16
from train.insight.features import extract
from train.insight.probe import compress
from train.insight.suspects import Suspects, find_suspects
from train.loaders import auto_workers
from train.photos import LabelledFile, open_pictures
from train.recipe import Recipe
from train.weights import load_weights


def with_suspects(
    survey: Survey, model: str, weights: str, device: str, cache: Path, phase: Phase = silent
) -> Survey:
    """Return the survey with one finding more: the photos whose label looks wrong, the most suspect first.

    `weights`, as edge-train takes them, should not have seen these labels. `cache` keeps the decoded photos.
    Raises UsageError, WeightsError, and TrainError where the photos are too few.
    """
    check_model(model)
    if weights == "none":
        raise TrainError("weights none know nothing of photos; name imagenet, a file or a run with --weights")
    examined = survey.examined
    files = [
        LabelledFile(sample.photo.path, examined.labels.index(sample.photo.label), sample.digest)
        for sample in examined.samples
    ]
    classifier = make_classifier(model, len(examined.labels))
    load_weights(classifier, model, weights)
    recipe, place = Recipe(model=model), choose_device(device)
    with phase("decoding the photos") as progress:
        pictures = open_pictures(files, recipe, cache, training=False, progress=progress)
    with phase("looking at the labels") as progress:
        features = extract(
            classifier,
            pictures,
            place,
            bf16=use_bf16(recipe.amp, place),
            workers=auto_workers(place.type == "cuda"),
            progress=progress,
        )
    groups = tie(len(files), [group.members for group in survey.twins]).numbers()
    found = find_suspects(compress(features), pictures.targets, groups, len(examined.labels), 0)
    findings = [*survey.findings, *_finding(survey, found)]
    order = list(Kind)
    return replace(survey, findings=tuple(sorted(findings, key=lambda finding: order.index(finding.kind))))


def _finding(survey: Survey, found: Suspects) -> list[Finding]:
    if not found.flagged:
        return []
    samples, labels = survey.examined.samples, survey.examined.labels
    first = found.at(0)
    name, label = samples[first.index].photo.name, labels[first.suggested]
    detail = (
        f"{found.flagged} of {len(samples)} photos look mislabelled to a probe that agrees with "
        f"{found.agreement:.0%} of the labels; {name} most, as {label}"
    )
    files = tuple(samples[int(index)].photo.name for index in found.order[: found.flagged])
    return [Finding(Kind.SUSPECT_LABEL, files, detail)]
