"""What came out of a training: the best weights judged, once, and what its photos tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.backends.base import Probabilities
from edge.images import Role
from edge.progress import Progress
from edge.scores import Scores, Truth, score
from train import checkpoint
from train.backbone import Classifier
from train.calibrate import fit_temperature, softmax
from train.device import use_bf16
from train.fit import Fitted
from train.insight.features import extract
from train.insight.look import Insight, look
from train.job import Job
from train.judge import answer

KNOWING = (
    "the features come from {}, which {} these labels: the number of suspect labels, and what more photos should "
    "bring, are lower estimates"
)


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
    insight: Insight

    @property
    def seconds(self) -> float:
        """Wall time of the training alone."""
        return sum(row.seconds for row in self.fitted.rows)


def judge(job: Job, fitted: Fitted) -> Outcome:
    """Fit the temperature on validation photos, and judge the best weights on the test photos."""
    path = job.run / checkpoint.BEST
    classifier, about = checkpoint.load(path)
    spec = job.recipe.input
    truth, logits = answer(classifier, job.files[Role.VAL], spec, job.device, workers=job.workers)
    about = replace(about, temperature=fit_temperature(logits, truth))
    checkpoint.save(path, classifier, about)
    truth, logits = answer(classifier, job.files[Role.TEST], spec, job.device, workers=job.workers)
    probabilities = softmax(logits, about.temperature)
    scores = score(truth, probabilities, job.split.labels)
    return Outcome(fitted, about, truth, probabilities, scores, Insight(None, None, ()))


def look_closer(
    job: Job, outcome: Outcome, before: Classifier | None, progress: Progress | None = None
) -> Outcome:
    """Add what the photos' features tell: suspect labels, and what more photos should bring.

    `before` is the network as it came, with weights that had not seen these labels; None where there was none.
    `progress` is told (done, total) of the photos whose features are taken, which is most of the time.
    """
    network = before or checkpoint.load(job.run / checkpoint.BEST)[0]
    return replace(outcome, insight=_look(job, network, _caveats(job), progress))


def _look(job: Job, network: Classifier, caveats: tuple[str, ...], progress: Progress | None) -> Insight:
    features = extract(
        network,
        job.photos,
        job.recipe.input,
        job.device,
        bf16=use_bf16(job.recipe.amp, job.device),
        workers=job.workers,
        progress=progress,
    )
    learning = np.arange(len(features)) < len(features) - len(job.files[Role.TEST])
    return look(features, job.targets, job.groups, learning, len(job.split.labels), job.recipe.seed, caveats)


def _caveats(job: Job) -> tuple[str, ...]:
    """Say whose features they are, where that network knew the labels, or may have known them."""
    weights = Path(job.recipe.weights)
    if not job.recipe.pretrained:
        return (KNOWING.format("this run's own network", "saw"),)
    if weights.is_dir() or weights.name in (checkpoint.BEST.name, checkpoint.LAST.name):
        return (KNOWING.format(weights, "may have seen"),)
    return ()
