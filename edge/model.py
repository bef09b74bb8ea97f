"""A bundle at work: pictures in, answers out."""

from __future__ import annotations

from dataclasses import dataclass

from edge.backends import Backend, BackendInfo
from edge.backends.base import check_answers
from edge.bundle import Bundle
from edge.decision import Choice, decide, rule_of
from edge.drift import Rows
from edge.drift_record import read
from edge.episodes import Outcome, Seen
from edge.preprocess import Pixels, fit
from edge.sources.base import Clock

EMPTY = "empty"
"""Label of photos in which nothing lies, where a data set has them."""


@dataclass(frozen=True)
class Answered:
    """What was said of one picture, and how long it took."""

    seen: Seen
    preprocess: float
    """Milliseconds to fit the picture to the graph."""
    infer: float
    """Milliseconds of the graph."""


class Model:
    """One bundle on one engine, with the thresholds of the artifact that answers. Not for several threads."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        """Take an open engine of the bundle. Raises BundleError where the bundle's own reference is broken."""
        self.bundle = bundle
        self.backend = backend
        self._rule = rule_of(bundle.manifest, backend.info.file)
        self.photos: Rows | None = read(bundle).get(backend.info.file)
        """What drift is measured against; None: the bundle has none."""
        self._batch = backend.allocate(1)
        """What the engine reads from: uint8 [1, height, width, 3]."""

    @property
    def empty(self) -> int | None:
        """Index of the class that says that nothing is there; None where the network knows no such class."""
        labels = self.bundle.manifest.labels
        return labels.index(EMPTY) if EMPTY in labels else None

    @property
    def info(self) -> BackendInfo:
        """What answers."""
        return self.backend.info

    def answer(self, image: Pixels, clock: Clock) -> Answered:
        """Answer a BGR uint8 [height, width, 3] picture of any size. Raises BackendError, ImageError."""
        begun = clock()
        self._batch[0] = fit(image, self.bundle.manifest.input)
        fitted = clock()
        answers = self.backend.infer(self._batch)
        answered = clock()
        check_answers(answers, self.backend.info)
        strange = answers.strangeness
        return Answered(
            seen=Seen(answers.probabilities[0], None if strange is None else float(strange[0])),
            preprocess=(fitted - begun) * 1e3,
            infer=(answered - fitted) * 1e3,
        )

    def decide(self, outcome: Outcome) -> Choice:
        """Accept or reject what a deposit's frames said together."""
        return decide(outcome.probabilities, outcome.strangeness, self._rule)

    def close(self) -> None:
        """Close the engine."""
        self.backend.close()
