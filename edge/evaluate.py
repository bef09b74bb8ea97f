"""A bundle over images: each answered alone, as the bin would; decoded some at a time, on all cores."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from edge import bundle as bundles
from edge.backends import DEFAULT, Answers, Backend, BackendInfo, Options, Probabilities
from edge.backends.base import check_answers
from edge.bundle import Bundle
from edge.decision import Rule, decide_all, rule_of
from edge.errors import BundleError, DataError, ImageError
from edge.images import Role, list_photos
from edge.manifest import Precision
from edge.preprocess import InputSpec, Pixels, decode, fit
from edge.proven import open_proven
from edge.scores import Scores, score

DIGESTS = "split.npz"
"""The bundle's file of the photos by role: the first bytes of each SHA-256, uint8 [photos, bytes]."""

AT_ONCE = 64
"""Images that are decoded before they are answered: at 224 they take 10 MB."""


Made = TypeVar("Made")


@dataclass(frozen=True)
class Answer:
    """One image, answered."""

    path: Path
    probabilities: Probabilities
    """float32 [classes]."""
    strangeness: float | None
    """None: the graph does not answer it."""
    latency_ms: float
    """Fitting and inference, from the decoded image to the probabilities."""


@dataclass(frozen=True)
class Unreadable:
    """An image that can't be decoded."""

    path: Path
    reason: str


@dataclass(frozen=True, eq=False)
class Fitted:
    """An image as the graph takes it."""

    path: Path
    tensor: Pixels
    """uint8 [height, width, 3], BGR."""
    milliseconds: float
    """Of fitting it."""


@dataclass(frozen=True)
class Evaluation:
    """What a bundle answered to labelled photos that did not train it."""

    scores: Scores
    trained_on: int
    """Photos that trained the model, known by digest, and were left out."""
    validated_on: int
    """Photos among the judged ones that chose the model's epoch: they flatter it a little."""
    unreadable: tuple[Unreadable, ...]
    coverage: float
    """Share of the photos whose answer is accepted by the artifact's rule, 0 to 1."""
    accepted_accuracy: float
    """Share of those whose label is right; 0 where there are none. With costs the label is the cheapest."""
    rejected_unsure: int
    rejected_stranger: int
    p50_ms: float
    p99_ms: float
    backend: BackendInfo


@dataclass(frozen=True)
class Judge:
    """An open bundle that has passed its self-test here."""

    bundle: Bundle
    backend: Backend
    rule: Rule
    """What the artifact's answers have to reach."""

    def answer(self, paths: Sequence[Path]) -> Iterator[Answer | Unreadable]:
        """Answer images in order. Raises BackendError where the engine fails, or answers no numbers.

        Some are decoded, on all cores, and then answered, with the engine on all of them: were both done at once,
        they would be as fast, and the latency of an answer would be that of a busy machine.
        """
        spec = self.bundle.manifest.input
        for read in _on_all_cores(paths, lambda file: _fitted(file, spec)):
            yield self._answer(read) if isinstance(read, Fitted) else read

    def _answer(self, read: Fitted) -> Answer:
        begun = time.perf_counter()
        made = self.backend.infer(read.tensor[None])
        milliseconds = (time.perf_counter() - begun) * 1e3
        check_answers(made, self.backend.info)
        strange = None if made.strangeness is None else float(made.strangeness[0])
        return Answer(read.path, made.probabilities[0], strange, read.milliseconds + milliseconds)


@dataclass(frozen=True)
class _File:
    """A file, read."""

    path: Path
    data: bytes | OSError
    """Or why it can't be."""


def _on_all_cores(paths: Sequence[Path], work: Callable[[_File], Made]) -> Iterator[Made]:
    """Do the work on every file, some at once; the results of these come when all of them are done.

    They are read here: a signal ends the wait for a file that does not come, and no other thread's.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for at in range(0, len(paths), AT_ONCE):
            yield from list(pool.map(work, [_read(path) for path in paths[at : at + AT_ONCE]]))


def _read(path: Path) -> _File:
    try:
        return _File(path, path.read_bytes())
    except OSError as error:
        return _File(path, error)


def _fitted(file: _File, spec: InputSpec) -> Fitted | Unreadable:
    if isinstance(file.data, OSError):
        return Unreadable(file.path, str(file.data))
    try:
        frame = decode(file.data)
    except ImageError as error:
        return Unreadable(file.path, str(error))
    begun = time.perf_counter()
    tensor = fit(frame, spec)
    return Fitted(file.path, tensor, (time.perf_counter() - begun) * 1e3)


@contextmanager
def open_judge(
    folder: Path,
    backend: str = "auto",
    precision: Precision | None = None,
    options: Options = DEFAULT,
    *,
    allow_failed_parity: bool = False,
) -> Iterator[Judge]:
    """Load and verify the bundle, open an engine, run the golden self-test, and give what answers.

    Raises BundleError, GoldenError, BackendError, UsageError; an artifact whose verdict is FAIL is a BundleError
    unless `allow_failed_parity`.
    """
    bundle = bundles.load(folder)
    with open_proven(bundle, backend, precision, options, allow_failed=allow_failed_parity) as engine:
        yield Judge(bundle, engine, rule_of(bundle.manifest, engine.info.file))


def evaluate(
    judge: Judge, data: Path, cache: Path, progress: Callable[[int, int], object] | None = None
) -> Evaluation:
    """Judge the bundle on labelled photos. Those that trained it are counted and left out.

    `progress` is told (done, total). Raises DataError: no photos, classes the bundle does not know, nothing
    left to judge.
    """
    listing = list_photos(data, cache)
    labels = judge.bundle.manifest.labels
    unknown = sorted(set(listing.labels) - set(labels))
    if unknown:
        raise DataError(
            f"{data} has the classes {', '.join(unknown)}, which the bundle does not know; "
            f"it knows {', '.join(labels)}"
        )
    roles = _roles(judge.bundle)
    width = len(next(iter(roles), b""))
    digests = _on_all_cores([photo.path for photo in listing.photos], _digest)
    role_of = [roles.get(digest[:width]) for digest in digests]
    judged = [photo for photo, role in zip(listing.photos, role_of, strict=True) if role is not Role.TRAIN]
    if not judged:
        raise DataError(f"all {len(listing.photos)} photos of {data} trained this model; name photos it never saw")
    truth, answers, unreadable = [], [], []
    for done, (photo, result) in enumerate(
        zip(judged, judge.answer([photo.path for photo in judged]), strict=True), start=1
    ):
        if isinstance(result, Answer):
            truth.append(labels.index(photo.label))
            answers.append(result)
        else:
            unreadable.append(result)
        if progress:
            progress(done, len(judged))
    if not answers:
        raise DataError(f"none of the {len(judged)} photos of {data} can be read")
    return _evaluation(judge, truth, answers, tuple(unreadable), role_of)


def _evaluation(
    judge: Judge,
    truth: list[int],
    answers: list[Answer],
    unreadable: tuple[Unreadable, ...],
    roles: list[Role | None],
) -> Evaluation:
    targets = np.array(truth, dtype=np.int64)
    made = _stack(answers)
    choices = decide_all(made, judge.rule)
    accepted = choices.accepted
    right = choices.indices == targets
    p50, p99 = np.percentile([answer.latency_ms for answer in answers], (50, 99))
    return Evaluation(
        scores=score(targets, made.probabilities, judge.bundle.manifest.labels),
        trained_on=roles.count(Role.TRAIN),
        validated_on=roles.count(Role.VAL),
        unreadable=unreadable,
        coverage=float(accepted.mean()),
        accepted_accuracy=float(right[accepted].mean()) if accepted.any() else 0.0,
        rejected_unsure=int(choices.unsure.sum()),
        rejected_stranger=int(choices.strangers.sum()),
        p50_ms=float(p50),
        p99_ms=float(p99),
        backend=judge.backend.info,
    )


def _stack(answers: Sequence[Answer]) -> Answers:
    """Put single answers of one graph together."""
    strange = [one.strangeness for one in answers if one.strangeness is not None]
    return Answers(
        np.stack([one.probabilities for one in answers]),
        np.array(strange, dtype=np.float64) if strange else None,
    )


def _digest(file: _File) -> bytes:
    if isinstance(file.data, OSError):  # no photo that trained; when it is judged it is counted as unreadable
        return b""
    return hashlib.sha256(file.data).digest()


def _roles(bundle: Bundle) -> dict[bytes, Role]:
    """Return the role of every photo that the bundle remembers, by the first bytes of its SHA-256."""
    if DIGESTS not in bundle.contents:
        return {}
    try:
        with np.load(io.BytesIO(bundle.read(DIGESTS)), allow_pickle=False) as file:
            return {row.tobytes(): role for role in Role if role.value in file for row in file[role.value]}
    except Exception as error:  # numpy raises nearly anything on broken data
        raise BundleError(f"{DIGESTS} of the bundle can't be read ({error}); export the run again") from error
