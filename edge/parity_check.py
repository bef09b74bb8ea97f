"""A device's own verdict: the bundle's parity photos, answered by one engine of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from edge import parity_photos, verdicts
from edge.backends import DEFAULT, Answers, Backend, BackendInfo, Options, open_backend
from edge.backends.base import join
from edge.bundle import Bundle
from edge.golden import self_test
from edge.manifest import Parity, Precision, Verdict
from edge.parity import compare, judge
from edge.parity_photos import ParityPhotos
from edge.progress import Progress
from edge.verdicts import Finding


@dataclass(frozen=True)
class Checked:
    """An artifact as it answers here."""

    parity: Parity
    """Against PyTorch's answers, which came with the bundle."""
    verdict: Verdict
    """Of this backend on this device, and of no other."""
    reason: str
    """For the verdict, one sentence."""
    backend: BackendInfo


def check_parity(
    bundle: Bundle,
    backend: str = "auto",
    precision: Precision | None = None,
    options: Options = DEFAULT,
    progress: Progress | None = None,
) -> Checked:
    """Open an artifact as open_backend does, also where its verdict is FAIL, and judge it as `judge_here` does."""
    photos = parity_photos.read(bundle)  # before an engine is opened, which may take minutes
    with open_backend(bundle, backend, precision, options) as engine:
        return _judge(bundle, engine, photos, options, progress)


def judge_here(
    bundle: Bundle, backend: Backend, options: Options = DEFAULT, progress: Progress | None = None
) -> Checked:
    """Run the self-test of an open engine, then judge the bundle's parity photos, one at a time, as the bin does.

    The artifact is held to the tolerance that the export held it to. The verdict is kept in `options.cache`, but
    for the engine of which the manifest speaks. `progress` is told (done, total). Raises BundleError, where there
    are no photos too, GoldenError, BackendError.
    """
    return _judge(bundle, backend, parity_photos.read(bundle), options, progress)


def _judge(
    bundle: Bundle, backend: Backend, photos: ParityPhotos, options: Options, progress: Progress | None
) -> Checked:
    self_test(bundle, backend)
    got = _answer(backend, photos, progress)
    info, manifest = backend.info, bundle.manifest
    exported = manifest.artifact_of(info.file).parity
    parity = compare(info, photos.reference, got, photos.truth, manifest.labels, exported.tolerance)
    verdict, reason = judge(parity, info.precision)
    if info.name != exported.backend:
        verdicts.keep(options.cache, bundle, Finding(manifest.version, info, verdict, reason))
    return Checked(parity, verdict, reason, info)


def _answer(engine: Backend, photos: ParityPhotos, progress: Progress | None) -> Answers:
    parts = []
    for done, tensor in enumerate(photos.tensors, start=1):
        parts.append(engine.infer(tensor[None]))
        if progress:
            progress(done, len(photos.tensors))
    return join(parts)
