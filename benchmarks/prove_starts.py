"""A bundle that is whole starts every time: a self-test that cries wolf would be switched off."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.record import Row
from edge.backends import open_backend
from edge.bundle import load
from edge.errors import BinsightError
from edge.golden import self_test
from edge.manifest import Precision

STARTS = 1000


@dataclass(frozen=True)
class Starts:
    """Starts of one artifact, each from the bundle on the disk."""

    count: int
    refused: tuple[str, ...]
    """What was said of each that failed."""
    median_ms: float
    """Of load, engine and self-test together."""

    def rows(self) -> list[Row]:
        """Return the figures for docs/measurements.md."""
        return [
            ("clean starts refused", f"{len(self.refused)} of {self.count}", "0"),
            ("load, engine and self-test, median ms", f"{self.median_ms:.0f}", ""),
        ]


def clean_starts(
    bundle: Path, count: int = STARTS, backend: str = "onnxruntime", precision: Precision | None = None
) -> Starts:
    """Load and verify the bundle, open the engine and run the self-test `count` times, as a bin does at its start.

    `precision` None: the recommended one. Raises nothing of ours: what is refused is counted.
    """
    refused, milliseconds = [], []
    for _ in range(count):
        begun = time.perf_counter()
        try:
            loaded = load(bundle)
            with open_backend(loaded, backend, precision) as engine:
                self_test(loaded, engine)
        except BinsightError as error:
            refused.append(str(error))
        milliseconds.append((time.perf_counter() - begun) * 1e3)
    return Starts(count, tuple(refused), median(milliseconds))
