"""What a bin waits for: a frame's decision, its event on the disk, the start, and another bundle."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.bin_at_work import Work
from benchmarks.bin_camera import FPS
from benchmarks.conftest import About, Kept
from benchmarks.made import SPEC
from benchmarks.prove_age import at_work
from benchmarks.prove_start import FIRST, MOST_MS, commands, time_of
from benchmarks.prove_swaps import swapped
from benchmarks.sized import loop_of
from benchmarks.test_preprocess import SIZES
from edge.backends import Backend, open_backend
from edge.backends.base import INPUT, OUTPUT
from edge.backends.onnxruntime import session_options
from edge.bundle import Bundle
from edge.ledger import Recorder
from edge.motion import SceneWatch, thumbnail
from edge.outbox import Outbox, OutboxSettings
from edge.preprocess import fit
from edge.steps import camera_frame

MOST_OVER_BARE = 1.3
"""Frame to decision over the bare session.run of the same graph, 1080p, without the look for motion."""
ROUNDS = 200
STARTS, SWAPS, BUSY_S = 5, 6, 40.0


@pytest.fixture
def backend(bundle: Bundle, about: About) -> Iterator[Backend]:
    with open_backend(bundle, "onnxruntime") as opened:
        about(opened.info, bundle)
        yield opened


@pytest.fixture(scope="module")
def busy(bundle: Bundle) -> Work:
    """What the whole daemon measured of itself."""
    return at_work(bundle.folder, "busy", BUSY_S)


@pytest.mark.parametrize("size", SIZES)
def test_frame_to_decision(benchmark: BenchmarkFixture, bundle: Bundle, backend: Backend, size: str) -> None:
    loop = loop_of(bundle, backend, camera_frame(*SIZES[size]))
    assert benchmark.pedantic(loop.run_once, rounds=ROUNDS, warmup_rounds=20)


def test_frame_to_event_on_disk(benchmark: BenchmarkFixture, bundle: Bundle, backend: Backend) -> None:
    loop = loop_of(bundle, backend, camera_frame(*SIZES["1080p"]))
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as name,  # /tmp may be memory
        Outbox.open(OutboxSettings(Path(name) / "outbox.db"), ["mqtt"]) as outbox,
    ):
        loop.ledger = Recorder(outbox, "bench")
        assert benchmark.pedantic(loop.run_once, rounds=ROUNDS, warmup_rounds=5)
        assert outbox.counters().depth >= 1


def test_a_1080p_frame_costs_little_more_than_its_graph(
    benchmark: BenchmarkFixture, bundle: Bundle, backend: Backend
) -> None:
    """Interleaved in one process, medians: what the machine does meanwhile hits both alike."""
    import onnxruntime  # noqa: PLC0415

    model = bundle.read("model.fp32.onnx")
    session = onnxruntime.InferenceSession(model, session_options(0), providers=["CPUExecutionProvider"])
    picture = camera_frame(*SIZES["1080p"])
    loop, batch = loop_of(bundle, backend, picture), fit(picture, SPEC)[None]
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


def test_the_daemon_decides_on_a_camera(
    kept: Kept, busy: Work, bundle: Bundle, about: About, backend: Backend
) -> None:
    """From the capture of the newest frame that was looked at to the decision."""
    cpu = busy.cpu_s / busy.seconds
    about(backend.info, bundle, fps=FPS, frames=busy.frames, seconds=busy.seconds, cpu_share=cpu)
    kept(age / 1e3 for age in busy.ages_ms)


def test_the_daemon_has_its_event_on_disk(kept: Kept, busy: Work, backend: Backend) -> None:
    """From the capture of the frame that the decision fell on."""
    kept(one / 1e3 for one in busy.disk_ms)


@pytest.mark.parametrize("what", MOST_MS)
def test_start(kept: Kept, backend: Backend, tmp_path: Path, what: str, about: About, bundle: Bundle) -> None:
    """From the start of the process: its import, its help, its first decision."""
    if what == FIRST:
        about(backend.info, bundle)
    else:
        about()
    command = commands(tmp_path)[what]
    times = [time_of(command, to_end=what != FIRST) / 1e3 for _ in range(STARTS + 1)]
    kept(times[1:])  # the first fills caches


def test_bundle_swap(kept: Kept, about: About, backend: Backend, bundle: Bundle, tmp_path: Path) -> None:
    """From the link's new target to the first answer, in a daemon that decides on every frame."""
    found = swapped(tmp_path, SWAPS)
    about(backend.info, bundle, longest_gap_ms=max(found.late_ms), frames=found.frames)
    assert len(found.took_s) == SWAPS
    assert not found.refused
    kept(found.took_s)


def _time(into: list[float], work: Callable[[], object]) -> None:
    begun = time.perf_counter()
    work()
    into.append((time.perf_counter() - begun) * 1e3)
