"""drift.npz: what a bundle's graphs made of photos that had no part in training, for a bin to be compared with."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from edge.bundle import Bundle
from edge.drift import WATCHED, Rows
from edge.errors import BundleError

DRIFT = "drift.npz"
MOST = 2000
"""Photos: 20 kB a graph."""


def pack(rows: Mapping[str, Rows]) -> bytes:
    """Return drift.npz of each graph's rows, by the graph's file: float32 [photos, 6], see edge.drift."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{f"rows_{file}": its for file, its in rows.items()})
    return buffer.getvalue()


def read(bundle: Bundle) -> Mapping[str, Rows]:
    """Return each graph's rows; empty where the bundle is older than these. Raises BundleError on broken ones."""
    if DRIFT not in bundle.contents:
        return {}
    try:
        with np.load(io.BytesIO(bundle.read(DRIFT)), allow_pickle=False) as file:
            found: dict[str, Rows] = {one.file: file[f"rows_{one.file}"] for one in bundle.manifest.artifacts}
    except Exception as error:  # numpy raises nearly anything on broken data
        raise BundleError(f"{DRIFT} can't be read ({error}); export the run again") from error
    for name, rows in found.items():
        if not fits(rows, len(bundle.manifest.labels)):
            raise BundleError(
                f"{DRIFT} holds for {name} what is {rows.dtype} {list(rows.shape)}; expected float32 "
                f"[photos, {len(WATCHED)}], all numbers, of the bundle's classes: export the run again"
            )
    return found


def fits(rows: Rows, labels: int) -> bool:
    """Whether these can be rows of a bundle with so many labels."""
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != len(WATCHED):
        return False
    classes = rows[:, 0]
    return bool(np.isfinite(rows).all() and np.isin(classes, np.arange(labels + 1)).all())
