"""edge-eval on a folder: all cores decode, and all infer."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.made import SPEC, mobilenet
from benchmarks.record import WORK, Row, keep
from benchmarks.scale import make_photos
from edge.evaluate import open_judge
from edge.images import list_photos
from edge.preprocess import preprocess

LEAST = 0.85
"""Of 1 / (1/D + 1/I), where D and I are decoding alone and inference alone on all cores, images a second."""
PHOTOS, ROUNDS = 400, 5


def prove_eval() -> bool:
    """Measure the three in turns, on the same photos."""
    with tempfile.TemporaryDirectory() as name:
        rates = _measure(Path(name))
    decoding, inference, both = (statistics.median(values) for values in rates.values())
    bound = 1 / (1 / decoding + 1 / inference)
    share = statistics.median(
        whole * (1 / alone + 1 / graph) for alone, graph, whole in zip(*rates.values(), strict=True)
    )
    rows: list[Row] = [
        ("decoding and fitting alone, all cores: photos a second", f"{decoding:.1f}", ""),
        ("inference alone, all cores: photos a second", f"{inference:.1f}", ""),
        ("of both, one after the other: 1 / (1/D + 1/I)", f"{bound:.1f}", ""),
        ("`edge-eval`: photos a second", f"{both:.1f}", ""),
        ("share of it, median of the rounds", f"{share:.1%}", f"at least {LEAST:.0%}"),
    ]
    what = "MobileNetV2 at 224, fp32, ONNX Runtime"
    keep("eval", f"{what}, {PHOTOS} photos, medians of {ROUNDS} rounds, load {os.getloadavg()[0]:.0f}", rows)
    return share >= LEAST


def _measure(folder: Path) -> dict[str, list[float]]:
    make_photos(folder / "photos", PHOTOS)
    paths = [photo.path for photo in list_photos(folder / "photos", WORK / "cache").photos]
    bundle = mobilenet(folder / "bundle").folder
    cores = len(os.sched_getaffinity(0))
    with open_judge(bundle, "onnxruntime") as judge, ThreadPoolExecutor(cores) as pool:
        batch = judge.backend.allocate(1)

        def decode() -> None:
            list(pool.map(lambda path: preprocess(path.read_bytes(), SPEC), paths))

        def infer() -> None:
            for _ in paths:
                judge.backend.infer(batch)

        def whole() -> None:
            list(judge.answer(paths))

        works: dict[str, Callable[[], None]] = {"decoding": decode, "inference": infer, "edge-eval": whole}
        rates: dict[str, list[float]] = {name: [] for name in works}
        for number in range(ROUNDS + 1):
            for name, work in works.items():
                begun = time.perf_counter()
                work()
                if number:  # the first fills the caches
                    rates[name].append(len(paths) / (time.perf_counter() - begun))
    return rates
