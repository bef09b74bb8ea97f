"""Every precision of a bundle on every engine of this machine: how fast, how right, and which to take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from edge import golden_record, parity_photos
from edge.backends import DEFAULT, OPENERS, Backend, BackendInfo, Options, open_backend
from edge.bundle import PARITY_PHOTOS, Bundle
from edge.decision import rule_of
from edge.errors import BackendError, GoldenError
from edge.evaluate import Judge, evaluate
from edge.golden import self_test
from edge.images import list_photos
from edge.latency import Latency, Milliseconds, summarize, time_in_turns
from edge.manifest import Precision, Verdict
from edge.parity_check import judge_here
from edge.preprocess import Pixels
from edge.progress import Phase, Progress, silent

MOST_PHOTOS = 32
"""That are inferred in turn: enough that no engine sees the same one again and again."""

NO_GRAPH = "the bundle has no graph for it; export the run again"
NO_PHOTOS = "the bundle has no parity.npz to judge this backend by; export the run again"


@dataclass(frozen=True)
class BenchSettings:
    """What is asked of a bench."""

    options: Options = DEFAULT
    data: Path | None = None
    """Labelled photos to measure accuracy on; None: the bundle's parity photos."""
    cache: Path = Path()
    """Where `data` is unpacked if it is an archive."""
    rounds: int = 300
    """Timed inferences of each engine, at least 1."""
    seconds: float = 300.0
    """When timing ends at the latest, with the round that is under way."""


@dataclass(frozen=True)
class Accuracy:
    """How often an engine is right, and what that rests on."""

    share: float
    """Of the photos, 0 to 1."""
    images: int
    trained_on: int = 0
    """Photos that trained the model, known by digest, and were left out."""
    validated_on: int = 0
    """Photos among the judged ones that chose the model's epoch: they flatter it a little."""
    unreadable: int = 0


@dataclass(frozen=True)
class Judged:
    """How right one engine is with one graph."""

    verdict: Verdict
    """INCONCLUSIVE also where nothing judges this engine."""
    reason: str
    """For the verdict, one sentence."""
    accuracy: Accuracy | None = None
    """None: it was not measured."""
    agreement: float | None = None
    """Share of the parity photos with PyTorch's top-1 answer, 0 to 1; None: it was not measured."""
    as_exported: bool = False
    """Whether the verdict is the manifest's, and not this device's own."""


@dataclass(frozen=True)
class Row:
    """One graph on one engine."""

    backend: BackendInfo
    judged: Judged
    latency: Latency


@dataclass(frozen=True)
class Skipped:
    """What does not run here."""

    precision: Precision | None
    """None: no precision does on this backend."""
    backend: str
    """As in --backend."""
    reason: str
    """One sentence."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What ran, what did not, and which is to be taken."""

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    recommended: Row | None
    """None: no row passed."""
    samples: Milliseconds | None = None
    """float64 [rounds, rows]: what the latencies sum up."""

    @property
    def accuracy(self) -> Accuracy | None:
        """That of the first row that has one: all rest on the same photos."""
        return next((row.judged.accuracy for row in self.rows if row.judged.accuracy), None)


def bench(bundle: Bundle, settings: BenchSettings, phase: Phase = silent) -> Bench:
    """Open every precision on every engine, judge each here, and time them in turns in this one process.

    An engine that is missing or fails is skipped, with the reason; a graph that fails its self-test is a row whose
    verdict is FAIL. Raises BackendError where no engine serves, DataError, BundleError.
    """
    if settings.data is not None:
        list_photos(settings.data, settings.cache)  # what is wrong there is said before an engine is built
    skipped: list[Skipped] = []
    entered: list[tuple[Backend, Judged]] = []
    with ExitStack() as stack:
        stack.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(1)  # OpenCV's threads would only fight with the engines'
        for name, opener in OPENERS.items():
            fitting = [precision for precision in Precision if bundle.fits(precision, opener.runtime)]
            refused = [] if fitting else [Skipped(None, name, NO_GRAPH)]
            for precision in fitting:
                try:
                    entered.append(_enter(bundle, name, precision, settings, phase, stack))
                except BackendError as error:
                    refused.append(Skipped(precision, name, str(error)))
            skipped += merge(refused, len(fitting))
        if not entered:
            raise BackendError(f"no backend serves {bundle.folder} here: {tell(skipped)}")
        samples = _time(bundle, [backend for backend, _ in entered], settings, phase)
    rows = tuple(
        Row(backend.info, judged, summarize(column))
        for (backend, judged), column in zip(entered, samples.T, strict=True)
    )
    return Bench(rows, tuple(skipped), recommend(rows), samples)


def recommend(rows: Iterable[Row]) -> Row | None:
    """Return the row with the least median of those that passed; None: none did."""
    passed = (row for row in rows if row.judged.verdict is Verdict.PASS)
    return min(passed, key=lambda row: row.latency.p50_ms, default=None)


def merge(refused: Sequence[Skipped], tried: int) -> list[Skipped]:
    """Say once what is true of a backend as a whole: that all `tried` precisions were refused for one reason."""
    if tried == len(refused) and len({one.reason for one in refused}) == 1:
        return [replace(refused[0], precision=None)]
    return list(refused)


def tell(skipped: Iterable[Skipped]) -> str:
    """Return what does not run here as one line."""
    return "; ".join(f"{name_of(one.precision, one.backend)}: {one.reason}" for one in skipped)


def name_of(precision: Precision | None, backend: str) -> str:
    """Return what a row is called."""
    return f"{precision.value} on {backend}" if precision else backend


def _enter(
    bundle: Bundle, name: str, precision: Precision, settings: BenchSettings, phase: Phase, stack: ExitStack
) -> tuple[Backend, Judged]:
    """Open and judge one engine; `stack` closes it. Raises BackendError where it can't serve."""
    with ExitStack() as own:
        backend = own.enter_context(open_backend(bundle, name, precision, settings.options))
        judged = _judge(bundle, backend, settings, phase)
        stack.push(own.pop_all())
        return backend, judged


def _judge(bundle: Bundle, backend: Backend, settings: BenchSettings, phase: Phase) -> Judged:
    what = name_of(backend.info.precision, backend.info.name)
    try:
        with phase(f"judging {what}") as progress:
            judged = _judge_parity(bundle, backend, settings.options, progress)
    except GoldenError as error:
        return Judged(Verdict.FAIL, str(error))
    if settings.data is None:
        return judged
    try:
        with phase(f"evaluating {what}") as progress:
            return replace(judged, accuracy=_measure(bundle, backend, settings.data, settings.cache, progress))
    except BackendError as error:  # one of those photos got no answer
        return replace(judged, verdict=Verdict.FAIL, reason=str(error), accuracy=None)


def _judge_parity(bundle: Bundle, backend: Backend, options: Options, progress: Progress) -> Judged:
    """Judge by the parity photos or, without them, by what was found when the bundle was made."""
    if PARITY_PHOTOS in bundle.contents:
        checked = judge_here(bundle, backend, options, progress)
        its = checked.parity
        return Judged(checked.verdict, checked.reason, Accuracy(its.accuracy, its.images), its.agreement)
    self_test(bundle, backend)
    artifact = bundle.manifest.artifact_of(backend.info.file)
    its = artifact.parity
    if its.backend != backend.info.name:
        return Judged(Verdict.INCONCLUSIVE, NO_PHOTOS)
    accuracy = Accuracy(its.accuracy, its.images)
    return Judged(artifact.verdict, artifact.reason, accuracy, its.agreement, as_exported=True)


def _measure(bundle: Bundle, backend: Backend, data: Path, cache: Path, progress: Progress) -> Accuracy:
    judge = Judge(bundle, backend, rule_of(bundle.manifest, backend.info.file))
    found = evaluate(judge, data, cache, progress)
    return Accuracy(
        found.scores.accuracy, found.scores.images, found.trained_on, found.validated_on, len(found.unreadable)
    )


def _time(bundle: Bundle, engines: list[Backend], settings: BenchSettings, phase: Phase) -> Milliseconds:
    photos = _photos(bundle, engines[0].info.file)
    with phase("timing") as progress:
        return time_in_turns(engines, photos, settings.rounds, settings.seconds, progress)


def _photos(bundle: Bundle, file: str) -> Sequence[Pixels]:
    """Return real photos, each uint8 [height, width, 3] BGR: those of the self-test where there are no others."""
    if PARITY_PHOTOS not in bundle.contents:
        return list(golden_record.read(bundle, file).tensors)
    tensors = parity_photos.read(bundle).tensors
    step = -(-len(tensors) // MOST_PHOTOS)  # all over: they may lie class by class
    return [tensors[index] for index in range(0, len(tensors), step)]
