"""What came out of a training: the best weights judged, once, and what its photos tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edge.backends.base import Probabilities
from edge.images import Role
from edge.progress import Phase, silent
from edge.scores import Scores, Truth, score
from train import checkpoint
from train.backbone import Classifier
from train.calibrate import fit_temperature, softmax
from train.fit import Fitted
from train.insight.features import Features, extract
from train.insight.look import Insight, look
from train.job import Job
from train.judge import Logits
from train.rejection import choose_rejection, risk_coverage, tell, weigh
from train.report.doubt import Doubt, Strangers
from train.strangers import fit_strangers, strangeness, stranger_threshold

KNOWING = (
    "the features come from {}, which {} these labels: the number of suspect labels, and what more photos should "
    "bring, are lower estimates"
)


Strangeness = npt.NDArray[np.float32]
"""float32 [photos]; larger is stranger."""


@dataclass(frozen=True)
class Outcome:
    """All that the run folder tells of."""

    fitted: Fitted
    about: checkpoint.About
    """Of the best weights."""
    truth: Truth
    """int64 [test photos]."""
    probabilities: Probabilities
    """float32 [test photos, classes]."""
    scores: Scores
    """Of the best weights on the test photos."""
    doubt: Doubt
    insight: Insight
    features: Mapping[Role, Features]
    """What the best weights see in the photos of each role."""

    @property
    def seconds(self) -> float:
        """Wall time of the training alone."""
        return sum(row.seconds for row in self.fitted.rows)


def see(job: Job, classifier: Classifier, name: str, phase: Phase = silent) -> dict[Role, Features]:
    """Return what `classifier` sees in the photos of each role, in fp32; `name` says what is done, for people."""
    with phase(name) as report:
        rows = extract(classifier, job.all_pictures, job.device, workers=job.workers, progress=report)
    return {role: rows[numbers] for role, numbers in job.numbers.items()}


def judge(job: Job, fitted: Fitted, phase: Phase = silent) -> Outcome:
    """Judge the best weights: temperature from validation photos, scores and rejection from the test photos.

    What strangers look like is learnt from the training photos, and how strange is too strange from the
    validation photos. The checkpoint is written again with temperature and stranger score.
    """
    path = job.run / checkpoint.BEST
    loaded = checkpoint.load(path)
    classifier = loaded.classifier
    features = see(job, classifier, "judging", phase)
    truth = {role: job.pictures[role].targets for role in Role}
    logits = {role: _logits(classifier, features[role]) for role in Role}
    about = replace(loaded.about, temperature=fit_temperature(logits[Role.VAL], truth[Role.VAL]))
    layer = [parameter.detach().cpu().numpy() for parameter in (classifier.head.weight, classifier.head.bias)]
    weight, bias = layer
    strangers = fit_strangers(features[Role.TRAIN], weight, bias, features[Role.VAL])
    strange = {role: strangeness(strangers, features[role], weight, bias) for role in (Role.VAL, Role.TEST)}
    checkpoint.save(path, classifier, about, strangers)
    probabilities = softmax(logits[Role.TEST], about.temperature)
    return Outcome(
        fitted=fitted,
        about=about,
        truth=truth[Role.TEST],
        probabilities=probabilities,
        scores=score(truth[Role.TEST], probabilities, job.split.labels),
        doubt=_doubt(about, truth[Role.TEST], logits[Role.TEST], strange[Role.VAL], strange[Role.TEST]),
        insight=Insight(None, None, ()),
        features=features,
    )


def _logits(classifier: Classifier, features: Features) -> Logits:
    with torch.inference_mode():
        device = classifier.head.weight.device
        answer: Logits = classifier.head(torch.from_numpy(features).to(device)).float().cpu().numpy()
    return answer


def _doubt(
    about: checkpoint.About,
    truth: Truth,
    logits: Logits,
    known: Strangeness,
    judged: Strangeness,
) -> Doubt:
    """Say when an answer is rejected: for people, and as the export will find it for the fp32 graph.

    logits float32 [test photos, classes]; strangeness float32 [validation photos] and [test photos].
    """
    limit = stranger_threshold(known, about.stranger_rejects)
    probabilities = softmax(logits, about.temperature)
    answers, scores, losses = weigh(truth, probabilities, about.pricing)
    rejection = choose_rejection(truth, probabilities, judged <= limit, about.max_error, about.pricing)
    return Doubt(
        truth=truth,
        probabilities=probabilities,
        before=softmax(logits, 1.0),
        answers=answers,
        scores=scores,
        rejection=rejection,
        told=tell(rejection),
        curve=risk_coverage(scores, losses),
        # So few validation photos that none can be called stranger than the rest: no threshold.
        strangers=Strangers(known, judged, limit) if limit < math.inf else None,
    )


def look_closer(job: Job, outcome: Outcome, before: Mapping[Role, Features] | None) -> Outcome:
    """Add what the photos' features tell: suspect labels, and what more photos should bring.

    `before`: what the network saw as it came, with weights that had not seen these labels; None where it came with
    none.
    """
    features = before or outcome.features
    rows = np.concatenate([features[role] for role in Role])
    learning = np.arange(len(rows)) < len(rows) - len(job.pictures[Role.TEST])
    classes = len(job.split.labels)
    insight = look(
        rows, job.targets, job.groups, learning, classes, job.recipe.seed, _caveats(job, before is None)
    )
    return replace(outcome, insight=insight)


def _caveats(job: Job, own: bool) -> tuple[str, ...]:
    """Say whose features they are, where that network knew the labels, or may have known them."""
    if own:
        return (KNOWING.format("this run's own network", "saw"),)
    weights = Path(job.recipe.weights)
    if weights.is_dir() or weights.name in (checkpoint.BEST.name, checkpoint.LAST.name):
        return (KNOWING.format(weights, "may have seen"),)
    return ()
