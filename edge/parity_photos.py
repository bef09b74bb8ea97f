"""parity.npz: the photos that judge parity and what PyTorch answered them, so that a device can judge itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge.backends.base import Answers
from edge.bundle import PARITY_PHOTOS, Bundle
from edge.errors import BundleError, ImageError
from edge.preprocess import Pixels, decode
from edge.scores import Truth

MOST = 400
"""Photos: 15 MB at 224 x 224. Where no answer differs, 268 show that less than a point of accuracy is lost."""

QUALITY, METHOD = 20, 3
"""Of lossless WebP, where both are effort: photos of 224 x 224 take 38 kB and 13 ms each, as PNG at its best
53 kB and 68 ms, and raw 151 kB."""


class Tensors(Sequence[Pixels]):
    """Preprocessed photos, each uint8 [height, width, 3] BGR, and decoded when it is asked for."""

    def __init__(self, encoded: Sequence[bytes], shape: tuple[int, int, int]) -> None:
        self._encoded = encoded
        self._shape = shape

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> Pixels:  # type: ignore[override]
        """Return one photo. Raises BundleError where it is broken or of another shape."""
        data = self._encoded[index]
        height, width, _ = self._shape
        try:
            tensor = decode(data, max_pixels=height * width)
        except ImageError as error:
            raise _broken(f"photo_{index} can't be decoded: {error}") from error
        if tensor.shape != self._shape:
            raise _broken(f"photo_{index} is {list(tensor.shape)}, expected {list(self._shape)}")
        return tensor


@dataclass(frozen=True, eq=False)
class ParityPhotos:
    """Photos as a graph sees them, what they show, and what PyTorch said of them."""

    tensors: Sequence[Pixels]
    """Each uint8 [height, width, 3] BGR."""
    truth: Truth
    """int64 [photos]."""
    reference: Answers
    """PyTorch's, of all photos."""


def pack(photos: ParityPhotos) -> bytes:
    """Return parity.npz, with each photo as lossless WebP."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        f"photo_{number}": np.frombuffer(_encode(tensor), dtype=np.uint8)
        for number, tensor in enumerate(photos.tensors)
    }
    arrays["truth"] = photos.truth
    arrays["probabilities"] = photos.reference.probabilities.astype(np.float32)
    if photos.reference.strangeness is not None:
        arrays["strangeness"] = photos.reference.strangeness.astype(np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read(bundle: Bundle) -> ParityPhotos:
    """Return the bundle's parity photos, at least one.

    Raises BundleError where there are none, or where they can't be those of this bundle; of a photo itself, when
    it is decoded.
    """
    data = bundle.read(PARITY_PHOTOS)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            truth: Truth = file["truth"]
            encoded = tuple(file[f"photo_{number}"].tobytes() for number in range(len(truth)))
            answers = Answers(file["probabilities"], file.get("strangeness"))
    except Exception as error:  # numpy raises nearly anything on broken data
        raise _broken(f"it can't be read ({type(error).__name__}: {error})") from error
    _check(truth, answers, len(bundle.manifest.labels))
    return ParityPhotos(Tensors(encoded, bundle.manifest.input.shape), truth, answers)


def _check(truth: Truth, answers: Answers, classes: int) -> None:
    """Raise BundleError unless there is a photo, each is of a class, and has answers that are numbers."""
    if (
        truth.dtype != np.int64
        or truth.ndim != 1
        or not len(truth)
        or not 0 <= truth.min() <= truth.max() < classes
    ):
        raise _broken(
            f"truth is {truth.dtype} {list(truth.shape)}; expected int64 [1 or more], 0 to {classes - 1}"
        )
    expected = {"probabilities": (len(truth), classes), "strangeness": (len(truth),)}
    for name, shape in expected.items():
        array = getattr(answers, name)
        if array is None:
            continue
        if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
            raise _broken(
                f"{name} is {array.dtype} {list(array.shape)}; expected float32 {list(shape)}, all numbers"
            )


def _encode(tensor: Pixels) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(tensor[:, :, ::-1]))
    picture.save(buffer, "WEBP", lossless=True, quality=QUALITY, method=METHOD)
    return buffer.getvalue()


def _broken(what: str) -> BundleError:
    return BundleError(f"{PARITY_PHOTOS} is broken: {what}; export the run again")
