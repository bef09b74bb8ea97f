"""How the examination of a data set grows: many made photos, each of its own, in bounded memory.

`python -m benchmarks.scale survey FOLDER CACHE` measures one survey in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from edge.preprocess import Pixels, decode
from edge.waste import LABELS, draw_photo
from train.dataset.examine import on_all_cores
from train.dataset.survey import survey

WIDTH, HEIGHT = 512, 384
MODELS = 60
"""Photos drawn at full cost; each made photo blends cut-outs of two of them."""
CHUNK = 5000


@dataclass(frozen=True)
class Measured:
    """One survey."""

    photos: int
    seconds: float
    again: float
    """Seconds of a second survey, which finds everything in the cache."""
    megabytes: float
    """Peak memory beyond that of the libraries, MB of 10^6 bytes."""
    findings: int


def make_photos(folder: Path, count: int) -> None:
    """Write folder/CLASS/N.jpg, JPEGs of 512 x 384, two classes, until there are `count`; those there are kept."""
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    for label in LABELS[:2]:
        (folder / label).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for _ in pool.map(_write, chunks, repeat(folder)):
            pass


def _write(numbers: range, folder: Path) -> None:
    cv2.setNumThreads(1)
    paths = [folder / LABELS[number % 2] / f"{number:06d}.jpg" for number in numbers]
    if all(path.is_file() for path in paths):
        return
    models = [draw_photo(LABELS[seed % len(LABELS)], np.random.default_rng(seed), 320) for seed in range(MODELS)]
    for number, path in zip(numbers, paths, strict=True):
        rng = np.random.default_rng([number, 7])
        first, second = (_cut(models[rng.integers(MODELS)], rng) for _ in range(2))
        share = rng.uniform(0.3, 0.7)
        picture = cv2.addWeighted(first, share, second, 1 - share, 0)
        path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())


def _cut(model: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn, scale and mirror a model, and give its channels light of their own: uint8 [384, 512, 3]."""
    side = model.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 360), rng.uniform(1.4, 3.0))
    turn[:, 2] += np.array((WIDTH / 2 - side / 2, HEIGHT / 2 - side / 2)) + rng.uniform(-120, 120, 2)
    picture = cv2.warpAffine(model, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    return cv2.multiply(picture, (*rng.uniform(0.6, 1.2, 3).tolist(), 1.0))


def decode_rate(folder: Path, count: int = 4000) -> float:
    """Photos a second that all cores together decode, reading included."""
    paths = sorted(folder.rglob("*.jpg"))[:count]
    chunks = [paths[start : start + 8] for start in range(0, len(paths), 8)]
    begun = time.perf_counter()
    for _ in on_all_cores(lambda chunk: [decode(path.read_bytes()).shape for path in chunk], chunks):
        pass
    return len(paths) / (time.perf_counter() - begun)


def measure(folder: Path, cache: Path) -> Measured:
    """Survey a folder twice, each time in a process of its own."""
    first, second = (_survey_apart(folder, cache) for _ in range(2))
    return Measured(
        int(first["photos"]), first["seconds"], second["seconds"], first["megabytes"], int(first["findings"])
    )


def _survey_apart(folder: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scale", "survey", str(folder), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _survey_here(folder: Path, cache: Path) -> dict[str, float]:
    import sklearn.tree  # noqa: F401, PLC0415  a library's own memory does not count

    before = _peak()
    begun = time.perf_counter()
    found = survey(folder, cache)
    seconds = time.perf_counter() - begun
    return {
        "photos": found.examined.files,
        "seconds": seconds,
        "megabytes": (_peak() - before) / 1e6,
        "findings": len(found.findings),
    }


def _peak() -> int:
    """Highest resident memory of this process so far, bytes; getrusage would count the parent's too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_survey_here(Path(sys.argv[2]), Path(sys.argv[3]))))
