"""The golden self-test: from encoded image to probability, on this device, against what was answered at export."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.backends.base import Answers, Backend
from edge.bundle import Bundle
from edge.decision import rule_of
from edge.errors import GoldenError, ImageError
from edge.manifest import Precision
from edge.preprocess import InputSpec, Pixels, preprocess

GOLDEN = "golden.npz"

Floats = npt.NDArray[np.floating[Any]]

TENSOR_TOLERANCE = 3
"""Levels (0 to 255) by which a pixel may differ: JPEG decoders of other builds round otherwise by 1 or 2."""

TOLERANCE = {Precision.FP32: 1e-3, Precision.FP16: 2e-2, Precision.INT8: 5e-2}
"""Largest difference of a probability that another device may show and still be the same model."""

STRANGENESS_TOLERANCE = {Precision.FP32: 0.02, Precision.FP16: 0.2, Precision.INT8: 0.5}
"""The same of strangeness, over its spread from the 5th to the 95th percentile of the photos that judge: it has no
scale of its own, and lies about as far from rounding in the features as a probability at its steepest."""


@dataclass(frozen=True)
class SelfTest:
    """A self-test that passed."""

    images: int
    max_difference: float
    """Largest absolute difference of any probability from what was answered at export."""


@dataclass(frozen=True)
class Expected:
    """What an artifact answered when it was made."""

    answers: Answers
    """Of all images."""
    tolerance: float
    """Largest difference of a probability."""
    strangeness_tolerance: float = 0.0
    """Largest difference of strangeness, in its own unit."""


def pack(images: Sequence[bytes], spec: InputSpec, expected: Mapping[str, Expected]) -> bytes:
    """Return golden.npz: the encoded images, their tensors, and each file's answers with their tolerance."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        f"image_{number}": np.frombuffer(data, dtype=np.uint8) for number, data in enumerate(images)
    }
    arrays["tensors"] = np.stack([preprocess(data, spec) for data in images])
    for file, answer in expected.items():
        arrays[f"expected_{file}"] = answer.answers.probabilities.astype(np.float32)
        arrays[f"tolerance_{file}"] = np.float32(answer.tolerance).reshape(())
        if answer.answers.strangeness is not None:
            arrays[f"strangeness_{file}"] = answer.answers.strangeness.astype(np.float32)
            arrays[f"strangeness_tolerance_{file}"] = np.float32(answer.strangeness_tolerance).reshape(())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def self_test(bundle: Bundle, backend: Backend) -> SelfTest:
    """Decode, fit and classify the golden images as this device does, and compare with the bundle's record.

    Raises GoldenError naming the stage that broke: preprocessing, or the engine.
    """
    record = _record(bundle, backend.info.file)
    own = _preprocess_all(record.images, bundle.manifest.input)
    _check_tensors(own, record.tensors)
    # The record's own tensors: a rounding that preprocessing is allowed would move an unsure answer by far
    # more than another engine is.
    got, expected = backend.infer(record.tensors), record.expected
    largest = _difference(
        backend, "probability", got.probabilities, expected.answers.probabilities, expected.tolerance
    )
    if expected.answers.strangeness is not None:
        strange = np.empty(0, dtype=np.float32) if got.strangeness is None else got.strangeness
        _difference(backend, "strangeness", strange, expected.answers.strangeness, expected.strangeness_tolerance)
    return SelfTest(len(record.images), largest)


def _difference(backend: Backend, what: str, got: Floats, expected: Floats, tolerance: float) -> float:
    """Return the largest absolute difference. Raises GoldenError where it is above the tolerance."""
    where = f"self-test failed in the engine ({backend.info.provider})"
    if got.shape != expected.shape or not np.isfinite(got).all():
        raise GoldenError(
            f"{where}: as {what} it answered {list(got.shape)} with {np.count_nonzero(~np.isfinite(got))} values "
            f"that are no numbers; expected {list(expected.shape)}"
        )
    largest = float(np.abs(got - expected).max())
    if not largest <= tolerance:  # so that a record that is no number fails too
        raise GoldenError(
            f"{where}: a {what} of {backend.info.file} is off by {largest:.4g}, allowed {tolerance:.4g}; "
            "the device does not answer as the export did"
        )
    return largest


@dataclass(frozen=True)
class _Record:
    """golden.npz, as far as one artifact needs it."""

    images: tuple[bytes, ...]
    tensors: Pixels
    """uint8 [images, height, width, 3]."""
    expected: Expected


def _record(bundle: Bundle, file: str) -> _Record:
    """Read what was recorded for the artifact `file`. Raises GoldenError where that can't be its record."""
    data = bundle.read(GOLDEN)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as golden:
            tensors: Pixels = golden["tensors"]
            images = tuple(golden[f"image_{number}"].tobytes() for number in range(len(tensors)))
            expected = _expected(golden, file, bundle)
    except KeyError as error:
        raise GoldenError(f"{GOLDEN} lacks {error}; export the run again") from error
    except Exception as error:  # numpy raises nearly anything on broken data
        raise GoldenError(f"{GOLDEN} can't be read ({error}); export the run again") from error
    shape = (len(images), len(bundle.manifest.labels))
    held = expected.answers.probabilities.shape
    if not images or held != shape:
        raise GoldenError(
            f"{GOLDEN} holds answers of shape {list(held)} for {len(images)} images and "
            f"{shape[1]} labels; expected at least one image and {list(shape)}; export the run again"
        )
    return _Record(images, tensors, expected)


def _expected(golden: Mapping[str, Any], file: str, bundle: Bundle) -> Expected:
    """Read the answers of the artifact `file`; raises KeyError where they are missing.

    Strangeness is missing where the graph does not answer it, or where nothing is rejected by it.
    """
    probabilities, tolerance = golden[f"expected_{file}"], float(golden[f"tolerance_{file}"])
    if f"strangeness_{file}" not in golden and rule_of(bundle.manifest, file).stranger_threshold is None:
        return Expected(Answers(probabilities), tolerance)
    answers = Answers(probabilities, golden[f"strangeness_{file}"])
    return Expected(answers, tolerance, float(golden[f"strangeness_tolerance_{file}"]))


def _preprocess_all(images: Sequence[bytes], spec: InputSpec) -> Pixels:
    try:
        return np.stack([preprocess(data, spec) for data in images])
    except ImageError as error:
        raise GoldenError(f"self-test failed in decoding: {error}") from error


def _check_tensors(own: Pixels, tensors: Pixels) -> None:
    if own.shape != tensors.shape:
        raise GoldenError(
            f"self-test failed in preprocessing: tensors are {list(own.shape)}, expected {list(tensors.shape)}"
        )
    off = int(np.abs(own.astype(np.int16) - tensors.astype(np.int16)).max())
    if off > TENSOR_TOLERANCE:
        raise GoldenError(
            f"self-test failed in preprocessing: a pixel is off by {off} levels, allowed {TENSOR_TOLERANCE}; "
            "decoding or resizing on this device is not what it was at export"
        )
