"""The golden self-test: from encoded image to probability, on this device, against what was answered at export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.diagnosis import diagnose
from edge.errors import GoldenError, ImageError, Stage
from edge.golden_record import GOLDEN, Expected, Fault, Record, Seen, batches, pack, read, see
from edge.manifest import Precision
from edge.preprocess import InputSpec, Pixels

__all__ = [
    "GOLDEN",
    "STRANGENESS_TOLERANCE",
    "TENSOR_TOLERANCE",
    "TOLERANCE",
    "Expected",
    "Fault",
    "SelfTest",
    "batches",
    "pack",
    "self_test",
]

Floats = npt.NDArray[np.floating[Any]]

TENSOR_TOLERANCE = 3
"""Levels (0 to 255) by which a pixel may differ: JPEG decoders of other builds round otherwise by 1 or 2."""

TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 2e-2, Precision.INT8: 0.1}
"""Largest difference of a probability that another device may show and still be the same model. Int8 engines round
between layers each in their own way: OpenVINO's answers lie up to 0.054 from ONNX Runtime's (measured)."""

STRANGENESS_TOLERANCE = {Precision.FP32: 0.02, Precision.FP16: 0.2, Precision.INT8: 0.5}
"""The same of strangeness, over its spread from the 5th to the 95th percentile of the photos that judge: it has no
scale of its own, and lies about as far from rounding in the features as a probability at its steepest."""

REPAIR = "reinstall binsight with its Pillow, numpy and OpenCV on this device"


@dataclass(frozen=True)
class SelfTest:
    """A self-test that passed."""

    images: int
    max_difference: float
    """Largest absolute difference of any probability from what was answered at export."""


def self_test(bundle: Bundle, backend: Backend) -> SelfTest:
    """Decode, fit and classify the golden images as this device does, and compare with the bundle's record.

    Raises GoldenError whose `stage` is what broke, and BackendError where the engine gives no answer.
    """
    record = read(bundle, backend.info.file)
    spec = bundle.manifest.input
    own = [_see(record, number, spec) for number in range(len(record.images))]
    _check_decoding(own, record)
    _check_fitting(own, record, spec)
    return SelfTest(len(record.images) - 1, _check_answers(bundle, record, backend))


def _name(record: Record, number: int) -> str:
    """Return the image's name in golden.npz."""
    return "the probe" if number == len(record.images) - 1 else f"image_{number}"


def _see(record: Record, number: int, spec: InputSpec) -> Seen:
    try:
        return see(record.images[number], spec)
    except ImageError as error:
        raise GoldenError(
            f"{_name(record, number)} of {GOLDEN} can't be decoded here: {error}; {REPAIR}", Stage.DECODE
        ) from error


def _check_decoding(own: Sequence[Seen], record: Record) -> None:
    """Compare size and samples of the decoded images. Raises GoldenError."""
    for number, (here, there) in enumerate(zip(own, record.seen, strict=True)):
        if here.size != there.size:
            raise GoldenError(
                f"{_name(record, number)} of {GOLDEN} is {here.size[1]} x {here.size[0]} pixels here, "
                f"{there.size[1]} x {there.size[0]} at export; images must be decoded whole and turned "
                f"as their EXIF says: {REPAIR}",
                Stage.DECODE,
            )
    samples = [one.samples for one in own], [one.samples for one in record.seen]
    _check_levels("decoded pixel", *samples, Stage.DECODE, record)


def _check_fitting(own: Sequence[Seen], record: Record, spec: InputSpec) -> None:
    """Compare what became of images that were decoded right. Raises GoldenError."""
    for number, one in enumerate(own):
        if one.tensor.shape != spec.shape:
            raise GoldenError(
                f"{_name(record, number)} of {GOLDEN} became {list(one.tensor.shape)}, "
                f"expected {list(spec.shape)}; {REPAIR}",
                Stage.RESIZE,
            )
    tensors = [one.tensor for one in own], [one.tensor for one in record.seen]
    _check_levels("resized pixel", *tensors, Stage.RESIZE, record)


def _check_levels(
    what: str, own: Sequence[Pixels], recorded: Sequence[Pixels], stage: Stage, record: Record
) -> None:
    """Compare levels, image by image. Raises GoldenError, of colour order where red for blue mends all of it."""
    off = [_off(here, there) for here, there in zip(own, recorded, strict=True)]
    worst = int(np.argmax(off))
    if off[worst] <= TENSOR_TOLERANCE:
        return
    found = (
        f"a {what} of {_name(record, worst)} in {GOLDEN} is off by {off[worst]} levels, allowed {TENSOR_TOLERANCE}"
    )
    turned = max(_off(here[..., ::-1], there) for here, there in zip(own, recorded, strict=True))
    if turned <= TENSOR_TOLERANCE:
        raise GoldenError(
            f"{found}, and by {turned} once red and blue change places: {stage.value} gives RGB here, "
            f"expected BGR; {REPAIR}",
            Stage.COLOUR_ORDER,
        )
    raise GoldenError(f"{found}; {REPAIR}", stage)


def _off(own: Pixels, recorded: Pixels) -> int:
    return int(np.abs(own.astype(np.int16) - recorded.astype(np.int16)).max())


def _check_answers(bundle: Bundle, record: Record, backend: Backend) -> float:
    """Return the largest difference of a probability. Raises GoldenError where an answer is off."""
    # The record's own tensors: a rounding that preprocessing is allowed would move an unsure answer by far
    # more than another engine is.
    got, expected = backend.infer(record.tensors), record.expected
    where = f"{backend.info.file} on {backend.info.provider}"
    probability = _difference(where, "probability", got.probabilities, expected.answers.probabilities)
    differences = [("probability", probability, expected.tolerance)]
    if expected.answers.strangeness is not None:
        strange = np.empty(0, dtype=np.float32) if got.strangeness is None else got.strangeness
        off = _difference(where, "strangeness", strange, expected.answers.strangeness)
        differences.append(("strangeness", off, expected.strangeness_tolerance))
    for what, off, allowed in differences:
        if not off <= allowed:  # so that a record that is no number fails too
            finding = diagnose(record, got, backend, bundle.manifest.labels)
            raise GoldenError(
                f"a {what} of {where} is off by {off:.4g}, allowed {allowed:.4g}; {finding.words}", finding.stage
            )
    return probability


def _difference(where: str, what: str, got: Floats, expected: Floats) -> float:
    """Return the largest absolute difference. Raises GoldenError where `got` can't be compared."""
    odd = np.count_nonzero(~np.isfinite(got))
    if got.shape != expected.shape or odd:
        raise GoldenError(
            f"{where} answered {list(got.shape)} as {what}, {odd} of them no numbers; expected "
            f"{list(expected.shape)}: take another --backend or --precision, or export the run again",
            Stage.ENGINE,
        )
    return float(np.abs(got - expected).max())
