"""What a frame costs: fitting it, the bare graph, and the whole step from frame to decision."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import SPEC, frame
from edge.backends import Backend, open_backend
from edge.backends.base import INPUT, OUTPUT
from edge.backends.onnxruntime import session_options
from edge.bundle import Bundle
from edge.event import Event, Reporter
from edge.loop import Loop
from edge.motion import SceneWatch, thumbnail
from edge.preprocess import InputSpec, Pixels, Resize, fit, preprocess
from edge.sources import Frame

SIZES = {"vga": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)}
MOST_OVER_BARE = 1.3
"""Frame to decision over the bare session.run of the same graph, 1080p, without the look for motion."""
MOST_PREPROCESSING_MS = 0.7
"""Of a 1080p frame with the crop of training."""
ROUNDS = 200


@pytest.fixture(autouse=True)
def one_thread_for_opencv() -> Iterator[None]:
    """As the daemon sets it."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture
def backend(bundle: Bundle, benchmark: BenchmarkFixture) -> Iterator[Backend]:
    with open_backend(bundle, "onnxruntime") as opened:
        benchmark.extra_info.update(
            bundle=bundle.manifest.version,
            backend=opened.info.name,
            provider=opened.info.provider,
            precision=opened.info.precision.value,
            versions=dict(opened.info.versions),
        )
        yield opened


class _Deposits:
    """A source that hands out the same picture, each a deposit of its own."""

    single, live, broken = True, False, 0

    def __init__(self, picture: Pixels) -> None:
        self._picture = picture

    def read(self) -> Frame:
        return Frame(self._picture, time.monotonic(), 0.0, "frame")

    def __enter__(self) -> _Deposits:
        return self

    def __exit__(self, *_: object) -> None:
        return


class _Nowhere:
    """A sink that forgets, so that the disk is not what is measured."""

    def write(self, event: Event) -> None:
        return

    def __enter__(self) -> _Nowhere:
        return self

    def __exit__(self, *_: object) -> None:
        return


def _loop(bundle: Bundle, backend: Backend, picture: Pixels) -> Loop:
    return Loop(
        source=_Deposits(picture),
        backend=backend,
        spec=bundle.manifest.input,
        reporter=Reporter(bundle, backend.info, "bench"),
        sinks=[_Nowhere()],
        stop=threading.Event(),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize", list(Resize))
def test_preprocessing(benchmark: BenchmarkFixture, size: str, resize: Resize) -> None:
    spec = InputSpec(224, 224, resize, 256 if resize is Resize.CROP else 0)
    picture = frame(*SIZES[size])
    result = benchmark(fit, picture, spec)
    assert result.shape == spec.shape


def test_preprocessing_from_jpeg(benchmark: BenchmarkFixture) -> None:
    data = cv2.imencode(".jpg", frame(1280, 720), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    result = benchmark(preprocess, data, SPEC)
    assert result.shape == SPEC.shape


def test_bare_inference(benchmark: BenchmarkFixture, backend: Backend) -> None:
    batch = np.zeros((1, *SPEC.shape), dtype=np.uint8)
    answer = benchmark(backend.infer, batch)
    assert answer.probabilities.shape == (1, 6)


@pytest.mark.parametrize("size", SIZES)
def test_frame_to_decision(benchmark: BenchmarkFixture, bundle: Bundle, backend: Backend, size: str) -> None:
    loop = _loop(bundle, backend, frame(*SIZES[size]))
    assert benchmark(loop.run_once)


def test_a_1080p_frame_costs_little_more_than_its_graph(
    benchmark: BenchmarkFixture, bundle: Bundle, backend: Backend
) -> None:
    """Interleaved in one process, medians: what the machine does meanwhile hits both alike."""
    import onnxruntime  # noqa: PLC0415

    model = bundle.read("model.fp32.onnx")
    session = onnxruntime.InferenceSession(model, session_options(0), providers=["CPUExecutionProvider"])
    picture = frame(*SIZES["1080p"])
    loop, batch = _loop(bundle, backend, picture), fit(picture, SPEC)[None]
    watch, seconds = SceneWatch(), itertools.count()
    times: dict[str, list[float]] = {"bare": [], "fit": [], "watch": [], "decision": []}

    def measure() -> None:
        _time(times["bare"], lambda: session.run([OUTPUT], {INPUT: batch}))
        _time(times["decision"], loop.run_once)
        _time(times["watch"], lambda: watch.look(thumbnail(picture), next(seconds) / 30))
        _time(times["fit"], lambda: fit(picture, SPEC))

    benchmark.pedantic(measure, rounds=ROUNDS, warmup_rounds=20)
    if len(times["bare"]) < ROUNDS:
        pytest.skip("benchmarks are disabled")
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["decision"] / medians["bare"]
    watched = (medians["watch"] + medians["decision"]) / medians["bare"]  # what a camera's frame costs
    benchmark.extra_info.update(
        ratio=ratio, ratio_watched=watched, **{f"{name}_ms": value for name, value in medians.items()}
    )
    assert ratio <= MOST_OVER_BARE
    assert medians["fit"] <= MOST_PREPROCESSING_MS


def _time(into: list[float], work: Any) -> None:
    begun = time.perf_counter()
    work()
    into.append((time.perf_counter() - begun) * 1e3)
