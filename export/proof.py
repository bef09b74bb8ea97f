"""What parity is held to, and the photos that travel with the bundle so that a device can judge itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge import parity_photos
from edge.backends import Answers
from edge.manifest import Precision
from edge.parity import TOLERANCE
from edge.parity_photos import MOST, ParityPhotos
from export.answers import Answered
from export.photos import Photos, spread_out


@dataclass(frozen=True)
class Gate:
    """What an artifact has to keep."""

    tolerance: float | None = None
    """Share of the photos, 0 to 1, by which a graph of less than fp32 may be less often right; None: the
    precision's own."""
    allow_failed: bool = False
    """Whether an artifact that fails may be exported all the same, marked so."""

    def tolerance_of(self, precision: Precision) -> float:
        """Return the share of the photos by which `precision` may be less often right."""
        asked = None if precision is Precision.FP32 else self.tolerance
        return TOLERANCE[precision] if asked is None else asked


def places(photos: Photos) -> list[int]:
    """Choose the photos that travel, up to 400, evenly: they lie in order of class."""
    return spread_out(MOST, len(photos))


def pack_photos(test: Answered, reference: str) -> bytes:
    """Return parity.npz of the photos whose tensors were kept, with the answers of `reference` to them."""
    kept = np.array(list(test.tensors), dtype=np.int64)
    said = test.by_name[reference]
    strangeness = None if said.strangeness is None else said.strangeness[kept]
    answers = Answers(said.probabilities[kept], strangeness)
    return parity_photos.pack(ParityPhotos(tuple(test.tensors.values()), test.truth[kept], answers))
