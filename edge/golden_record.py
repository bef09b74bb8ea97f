"""golden.npz: what preprocessing and every artifact made of some photos at export; how it is packed and read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from edge.backends.base import Answers, Probabilities
from edge.bundle import Bundle
from edge.decision import rule_of
from edge.errors import GoldenError
from edge.preprocess import InputSpec, Pixels, decode, fit

GOLDEN = "golden.npz"

GRID = 16
"""Of each decoded image GRID x GRID pixels are kept."""

SHADES = (1, 64, 128)
"""What levels are divided by for the batches of a signature. An engine whose normalization is lost is sure of one
class wherever it is bright, and so are engines that are broken otherwise: at 0 to 3, and at 0 to 1, it is not."""

EXIF_TURN = 6
"""The orientation of a phone held upright: shown turned by 90 degrees."""


class Fault(str, Enum):
    """How a graph is known to go wrong. What it would answer then is its signature."""

    NONE = "none"
    """Nothing is wrong: what the signatures of faults are compared with."""
    CHANNELS = "channels"
    """Red and blue change places before the network."""
    REVERSED = "reversed"
    """Mean and std of red and blue change places, the channels do not."""
    SWAPPED = "swapped"
    """Mean in the place of std, std in the place of mean."""
    UNIT = "unit"
    """No mean and no std: levels 0 to 1."""
    CENTRED = "centred"
    """Mean and std 0.5, whatever the network was trained with: levels -1 to 1."""
    UNSCALED = "unscaled"
    """Mean and std for levels 0 to 1, on levels 0 to 255."""
    RAW = "raw"
    """No mean and no std: levels 0 to 255."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What preprocessing made of one encoded image, step by step."""

    size: tuple[int, int]
    """Height and width when decoded, in pixels."""
    samples: Pixels
    """Of the decoded image: uint8 [GRID, GRID, 3] BGR."""
    tensor: Pixels
    """uint8 [spec.height, spec.width, 3] BGR, where all is well."""


@dataclass(frozen=True)
class Expected:
    """What an artifact answered when it was made."""

    answers: Answers
    """Of all photos."""
    tolerance: float
    """Largest difference of a probability."""
    strangeness_tolerance: float = 0.0
    """Largest difference of strangeness, in its own unit."""


@dataclass(frozen=True, eq=False)
class Record:
    """golden.npz, as far as one artifact needs it."""

    images: tuple[bytes, ...]
    """Encoded: the photos, and after them the probe."""
    seen: tuple[Seen, ...]
    """Of each of `images`."""
    expected: Expected
    """Of the photos alone."""
    signatures: Mapping[Fault, Probabilities]
    """Fault to float32 [3, photos, classes], the answers to `batches`; empty: none were recorded."""

    @property
    def tensors(self) -> Pixels:
        """What the engine is asked of: uint8 [photos, height, width, 3] BGR."""
        return np.stack([one.tensor for one in self.seen[:-1]])


def see(data: bytes, spec: InputSpec) -> Seen:
    """Decode an image and fit it to the graph, and keep what each step gave.

    Raises ImageError where it can't be decoded, or is no uint8 [height, width, 3] then.
    """
    picture = decode(data)
    tensor = fit(picture, spec)
    height, width = picture.shape[:2]
    steps = 2 * np.arange(GRID) + 1  # the middles of GRID equal parts
    rows, columns = steps * height // (2 * GRID), steps * width // (2 * GRID)
    return Seen((height, width), picture[np.ix_(rows, columns)], tensor)


def batches(tensors: Pixels) -> tuple[Pixels, ...]:
    """Return what signatures are the answers to: the tensors as they are, and nearly black."""
    return tuple(tensors // np.uint8(shade) for shade in SHADES)


def draw_probe(spec: InputSpec) -> bytes:
    """Return a PNG that shows what the photos of a data set may not.

    It is turned by EXIF, of another shape than the graph's input and at least 2.5 times as large, and has details
    of three pixels and channels that differ.
    """
    height, width = 15 * spec.width // 4, 5 * spec.height // 2  # as it is stored: lying on its side
    y, x = np.mgrid[:height, :width]
    checks = np.where((x // 3 + y // 3) % 2, 220, 40)
    rgb = np.stack([checks, 255 * y // height, 255 * x // width], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = EXIF_TURN
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def pack(
    photos: Sequence[bytes],
    spec: InputSpec,
    expected: Mapping[str, Expected],
    signatures: Mapping[Fault, Probabilities] | None = None,
) -> bytes:
    """Return golden.npz: encoded photos and the probe, what became of them, and what each file answered.

    `expected`: of the photos, by file. `signatures`: of `batches` of their tensors, float32 [3, photos, classes];
    without them a broken graph is found all the same, but not what broke in it. Raises ImageError as `see` does.
    """
    probe = draw_probe(spec)
    seen = [see(data, spec) for data in (*photos, probe)]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        **{f"image_{number}": np.frombuffer(data, dtype=np.uint8) for number, data in enumerate(photos)},
        "probe": np.frombuffer(probe, dtype=np.uint8),
        "sizes": np.array([one.size for one in seen], dtype=np.int32),
        "samples": np.stack([one.samples for one in seen]),
        "tensors": np.stack([one.tensor for one in seen[:-1]]),
        "probe_tensor": seen[-1].tensor,
        **{f"signature_{fault.value}": made.astype(np.float32) for fault, made in (signatures or {}).items()},
    }
    for file, answer in expected.items():
        arrays[f"expected_{file}"] = answer.answers.probabilities.astype(np.float32)
        arrays[f"tolerance_{file}"] = np.float32(answer.tolerance).reshape(())
        if answer.answers.strangeness is not None:
            arrays[f"strangeness_{file}"] = answer.answers.strangeness.astype(np.float32)
            arrays[f"strangeness_tolerance_{file}"] = np.float32(answer.strangeness_tolerance).reshape(())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read(bundle: Bundle, file: str) -> Record:
    """Read what was recorded for the artifact `file`. Raises GoldenError where that can't be its record."""
    data = bundle.read(GOLDEN)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as golden:
            tensors = [*golden["tensors"], golden["probe_tensor"]]
            names = [*(f"image_{number}" for number in range(len(tensors) - 1)), "probe"]
            images = tuple(golden[name].tobytes() for name in names)
            sizes = [(int(height), int(width)) for height, width in golden["sizes"]]
            seen = tuple(Seen(*one) for one in zip(sizes, golden["samples"], tensors, strict=True))
            record = Record(images, seen, _expected(golden, file, bundle), _signatures(golden))
    except KeyError as error:
        raise GoldenError(f"{GOLDEN} lacks {error}; export the run again") from error
    except Exception as error:  # numpy raises nearly anything on broken data
        raise GoldenError(f"{GOLDEN} can't be read ({error}); export the run again") from error
    _check_shapes(record, bundle)
    return record


def _expected(golden: Mapping[str, Any], file: str, bundle: Bundle) -> Expected:
    """Read the answers of the artifact `file`; raises KeyError where they are missing.

    Strangeness is missing where the graph does not answer it, or where nothing is rejected by it.
    """
    probabilities, tolerance = golden[f"expected_{file}"], float(golden[f"tolerance_{file}"])
    if f"strangeness_{file}" not in golden and rule_of(bundle.manifest, file).stranger_threshold is None:
        return Expected(Answers(probabilities), tolerance)
    answers = Answers(probabilities, golden[f"strangeness_{file}"])
    return Expected(answers, tolerance, float(golden[f"strangeness_tolerance_{file}"]))


def _signatures(golden: Mapping[str, Any]) -> dict[Fault, Probabilities]:
    return {fault: golden[f"signature_{fault.value}"] for fault in Fault if f"signature_{fault.value}" in golden}


def _check_shapes(record: Record, bundle: Bundle) -> None:
    """Refuse a record that contradicts itself or the manifest. Raises GoldenError."""
    manifest, photos = bundle.manifest, len(record.images) - 1
    answers = (photos, len(manifest.labels))
    if not photos:
        raise GoldenError(f"{GOLDEN} holds no images; expected at least one: export the run again")
    first, probe = record.seen[0], record.seen[-1]
    expected = record.expected.answers.probabilities
    checks: tuple[tuple[str, npt.NDArray[Any], tuple[int, ...]], ...] = (
        ("tensors", first.tensor, manifest.input.shape),
        ("the tensor of the probe", probe.tensor, manifest.input.shape),
        ("samples", first.samples, (GRID, GRID, 3)),
        (f"answers for {photos} images and {answers[1]} labels", expected, answers),
        *(
            (f"the signature {fault.value}", one, (len(SHADES), *answers))
            for fault, one in record.signatures.items()
        ),
    )
    for what, array, shape in checks:
        if array.shape != shape:
            raise GoldenError(
                f"{GOLDEN} holds {what} of shape {list(array.shape)}, expected {list(shape)}: export the run again"
            )
