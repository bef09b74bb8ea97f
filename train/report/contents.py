"""What the page of a run tells, put together from its parts."""

from __future__ import annotations

from edge.images import Role
from train.balance import class_shares
from train.dataset.split import ROLE_DUTIES
from train.device import device_name
from train.insight.curve import LearningCurve
from train.insight.mistakes import confident_mistakes
from train.insight.suspects import Suspects
from train.insight.words import tell_doubling
from train.job import Job
from train.outcome import Outcome
from train.report.doubt_part import doubt_part
from train.report.page import BalancePart, CurvePart, Gallery, Page, RoleLine, Shot, SuspectPart
from train.report.templates import TIED
from train.report.views import draw_view

RESULTS, PREDICTIONS, CURVE = "results.png", "predictions.png", "learning_curve.png"
MATRICES = {"confusion_matrix.png": False, "confusion_matrix_normalized.png": True}
"""File, and whether it shows shares of each true class."""
CAPTIONS = {
    RESULTS: "Curves",
    "confusion_matrix.png": "Confusion matrix",
    "confusion_matrix_normalized.png": "Confusion matrix, by true class",
    PREDICTIONS: "Photos that judged, and what was answered",
}
SHOTS = 24
"""Photos of a gallery, at most."""


def make_page(job: Job, outcome: Outcome) -> Page:
    """Put the page together. Pictures are read from the run folder and from the photos. Raises OSError."""
    fitted, about = outcome.fitted, outcome.about
    return Page(
        title=job.run.name,
        command=job.command,
        facts=_facts(job, outcome),
        scores=outcome.scores,
        best_epoch=about.epoch,
        findings=job.findings,
        rows=fitted.rows,
        figures=tuple((caption, job.run / file) for file, caption in CAPTIONS.items()),
        roles=tuple(RoleLine(role.value, len(job.files[role]), ROLE_DUTIES[role]) for role in Role),
        balance=_balance(job),
        mistakes=_mistakes(job, outcome),
        suspects=_suspects(job, outcome.insight.suspects),
        curve=_curve(job, outcome.insight.curve),
        doubt=doubt_part(outcome.doubt, job.split.labels, job.run) if outcome.doubt else None,
        notes=outcome.insight.notes,
    )


def _facts(job: Job, outcome: Outcome) -> tuple[tuple[str, str], ...]:
    about = outcome.about
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
    return tuple(facts.items())


def _balance(job: Job) -> BalancePart:
    imbalance, targets = job.recipe.imbalance, [file.target for file in job.files[Role.TRAIN]]
    return BalancePart(imbalance, class_shares(targets, job.split.labels, imbalance))


def _mistakes(job: Job, outcome: Outcome) -> Gallery:
    labels, before = job.split.labels, len(job.photos) - len(job.files[Role.TEST])
    found = confident_mistakes(outcome.truth, outcome.probabilities)
    shots = [
        _shot(job, before + one.index, _sure(labels[one.answer], one.confidence), f"labelled {labels[one.truth]}")
        for one in found[:SHOTS]
    ]
    return Gallery(tuple(shots), len(found), outcome.scores.images)


def _suspects(job: Job, suspects: Suspects | None) -> SuspectPart | None:
    if not suspects:
        return None
    labels, shots = job.split.labels, []
    for rank in range(min(SHOTS, suspects.flagged)):
        its = suspects.at(rank)
        facts = f"rather {_sure(labels[its.suggested], its.better)}"
        shots.append(_shot(job, its.index, f"labelled {labels[its.label]}", facts))
    return SuspectPart(Gallery(tuple(shots), suspects.flagged, len(suspects.order)), suspects.agreement)


def _curve(job: Job, curve: LearningCurve | None) -> CurvePart | None:
    if not curve:
        return None
    labels = job.split.labels
    classes = tuple(zip(labels, curve.classes, strict=True))
    return CurvePart(tell_doubling(curve, labels), job.run / CURVE, curve.sizes[-1], classes)


def _shot(job: Job, index: int, tag: str, facts: str) -> Shot:
    name, role = job.names[index]
    return Shot(name, role.value, tag, facts, draw_view(job.photos[index].path, job.recipe.input))


def _sure(label: str, confidence: float) -> str:
    return f"{label}, {100 * confidence:.0f}{TIED}%"
