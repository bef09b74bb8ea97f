"""A device's own verdict: the bundle's parity photos, answered by one engine of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge import parity_photos
from edge.backends import Answers, Backend, BackendInfo, open_backend
from edge.backends.base import join
from edge.bundle import Bundle
from edge.golden import self_test
from edge.manifest import Parity, Precision, Verdict
from edge.parity import compare, judge
from edge.parity_photos import ParityPhotos


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
    threads: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Checked:
    """Run the self-test, then judge the bundle's parity photos, one at a time, as the bin does.

    The artifact is opened as by open_backend, also where its verdict is FAIL, and held to the tolerance that the
    export held it to. `progress` is told (done, total). Raises BundleError, GoldenError, BackendError, UsageError.
    """
    photos = parity_photos.read(bundle)
    with open_backend(bundle, backend, precision, threads) as engine:
        self_test(bundle, engine)
        got = _answer(engine, photos, progress)
        info = engine.info
    manifest = bundle.manifest
    tolerance = manifest.artifact_of(info.file).parity.tolerance
    parity = compare(info, photos.reference, got, photos.truth, manifest.labels, tolerance)
    verdict, reason = judge(parity, info.precision)
    return Checked(parity, verdict, reason, info)


def _answer(engine: Backend, photos: ParityPhotos, progress: Callable[[int, int], object] | None) -> Answers:
    parts = []
    for done, tensor in enumerate(photos.tensors, start=1):
        parts.append(engine.infer(tensor[None]))
        if progress:
            progress(done, len(photos.tensors))
    return join(parts)
