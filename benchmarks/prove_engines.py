"""The proof of OpenVINO: against ONNX Runtime on this CPU, the same graphs in turn, and both judged."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.prove_export import BUNDLES, OTHERS, export_made
from benchmarks.record import Row, keep
from edge.backends import Backend, Graph, Options, open_graph
from edge.backends.base import join
from edge.bundle import Bundle, load
from edge.manifest import Verdict
from edge.parity import compare, judge
from edge.parity_photos import read

ENGINES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""By their names in --backend: the first is what the other is measured against."""
THREADS = (1, 2)
ROUNDS, FRAMES = 20, 20
"""One round more warms up. A round asks each engine of each graph for so many frames, one after the other."""

Engine = tuple[str, str]
"""File of the graph, name of the engine."""
Times = dict[Engine, list[float]]
"""Median milliseconds of a frame, of each round."""


@dataclass(frozen=True)
class Judged:
    """What parity found of an engine and the graphs of one name, over all bundles."""

    agreement: float
    """Share of the photos on which it answers as PyTorch, 0 to 1."""
    photos: int
    verdicts: tuple[Verdict, ...]
    """Of each bundle."""

    @property
    def told(self) -> str:
        """All of it in one cell."""
        counts = {one: self.verdicts.count(one) for one in Verdict if one in self.verdicts}
        verdicts = ", ".join(f"{count} {one.value}" for one, count in counts.items())
        return f"{self.agreement:.2%} of {self.photos} photos; {verdicts}"


def prove_engines() -> bool:
    """Time the first bundle's graphs on both engines, judge those of all, and name the fastest that passed."""
    loaded = [load(folder) for folder in bundles()]
    first, *_ = loaded
    files = tuple(artifact.file for artifact in first.manifest.artifacts)
    times = {threads: _time(first, files, threads) for threads in _thread_counts()}
    judged = {engine: _judge(loaded, *engine) for engine in _engines(files)}
    rows = [row for file in files for row in _rows(file, times, judged)]
    rows += [_recommend(threads, its, judged) for threads, its in times.items()]
    title = f"OpenVINO and ONNX Runtime, the same graphs in turn, medians of {ROUNDS * FRAMES} single photos"
    keep("engines", f"{title}; parity on the photos of {len(loaded)} bundles", rows)
    return not any(Verdict.FAIL in one.verdicts for one in judged.values())


def bundles() -> Sequence[Path]:
    """Return the bundles of the export's proof, or make one from photos that the project draws."""
    found = sorted(folder for folder in BUNDLES.glob("fold-*") if (folder / "manifest.json").is_file())
    if not found:
        name = next(iter(OTHERS))
        export_made(name)
        found = [BUNDLES / name]
    return found


def _thread_counts() -> list[int]:
    return [threads for threads in THREADS if threads <= len(os.sched_getaffinity(0))]


def _engines(files: Sequence[str]) -> Iterator[Engine]:
    return ((file, name) for file in files for name in ENGINES)


def _open(bundle: Bundle, file: str, name: str, threads: int = 1) -> Backend:
    """Open any graph on any engine: which suits which is the question."""
    precision = bundle.manifest.artifact_of(file).precision
    graph = Graph(file, precision, bundle.read(file), bundle.manifest.input.shape)
    return open_graph(graph, name, Options(threads=threads))


def _time(bundle: Bundle, files: Sequence[str], threads: int) -> Times:
    frame = read(bundle).tensors[0][None]
    with ExitStack() as stack:
        opened = {
            (file, name): stack.enter_context(_open(bundle, file, name, threads)) for file, name in _engines(files)
        }
        times: Times = {engine: [] for engine in opened}
        for _round in range(ROUNDS + 1):
            for engine, backend in opened.items():
                times[engine].append(_median_ms(backend, frame))
    return {engine: its[1:] for engine, its in times.items()}


def _median_ms(backend: Backend, frame: np.ndarray) -> float:
    took = []
    for _frame in range(FRAMES + 1):  # the first finds another engine's data in the caches
        begun = time.perf_counter()
        backend.infer(frame)
        took.append((time.perf_counter() - begun) * 1000)
    return median(took[1:])


def _judge(bundles: Sequence[Bundle], file: str, name: str) -> Judged:
    agreed, photos, verdicts = 0.0, 0, []
    for bundle in bundles:
        its, artifact = read(bundle), bundle.manifest.artifact_of(file)
        with _open(bundle, file, name) as backend:
            got = join([backend.infer(tensor[None]) for tensor in its.tensors])
            info = backend.info
        tolerance = artifact.parity.tolerance
        parity = compare(info, its.reference, got, its.truth, bundle.manifest.labels, tolerance)
        agreed, photos = agreed + parity.agreement * parity.images, photos + parity.images
        verdicts.append(judge(parity, artifact.precision)[0])
    judged = Judged(agreed / photos, photos, tuple(verdicts))
    sys.stderr.write(f"{file}, {name}: {judged.told}\n")
    return judged


def _rows(file: str, times: dict[int, Times], judged: dict[Engine, Judged]) -> Iterator[Row]:
    reference, other = ENGINES
    for threads, its in times.items():
        slow, fast = its[file, reference], its[file, other]
        ratio = median(one / two for one, two in zip(slow, fast, strict=True))
        told = f"{median(slow):.2f}, {median(fast):.2f}; {ratio:.2f}"
        what = f"{' and '.join(ENGINES.values())}, p50 in ms; times as fast"
        yield f"`{file}`, {_threads(threads)}: {what}", told, ""
    for name, title in ENGINES.items():
        yield f"`{file}`, {title}: agreement; verdicts", judged[file, name].told, "not FAIL"


def _recommend(threads: int, times: Times, judged: dict[Engine, Judged]) -> Row:
    """Return the fastest whose verdicts are all PASS."""
    passed = {
        engine: median(its) for engine, its in times.items() if set(judged[engine].verdicts) == {Verdict.PASS}
    }
    what = f"fastest that passed parity, {_threads(threads)}"
    if not passed:
        return what, "none", ""
    file, name = min(passed, key=lambda engine: passed[engine])
    return what, f"`{file}` on {ENGINES[name]}, {passed[file, name]:.2f} ms", ""


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
