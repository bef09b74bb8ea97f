"""What the benchmarks share: a bundle, what is told beside a figure, and figures that another process measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Protocol

import cv2
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.made import mobilenet
from edge.backends import BackendInfo
from edge.bundle import Bundle
from edge.manifest import Precision
from edge.surroundings import key_of

NO_GRAPH = BackendInfo("none", "", Precision.FP32, "none", 1, ())


class About(Protocol):
    """Puts beside a figure what it depends on."""

    def __call__(self, info: BackendInfo = NO_GRAPH, bundle: Bundle | None = None, **more: object) -> None: ...


@pytest.fixture(autouse=True)
def about(benchmark: BenchmarkFixture) -> About:
    """Give every benchmark its extra_info; who runs a graph calls this again with what runs it."""

    def tell(info: BackendInfo = NO_GRAPH, bundle: Bundle | None = None, **more: object) -> None:
        its = asdict(key_of(info)) | {"provider": info.provider}
        if not info.file:
            its["precision"] = "none"
        benchmark.extra_info.update(its, bundle=bundle.manifest.version if bundle else "", **more)

    tell()
    return tell


class Clock:
    """Stands still but for what it is told went by, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def __str__(self) -> str:
        return "measured elsewhere"  # what the JSON has for a timer

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


Kept = Callable[[Iterable[float]], None]
"""Takes seconds, as another process or a clock inside a longer piece of work measured them."""


@pytest.fixture
def kept(benchmark: BenchmarkFixture) -> Kept:
    """Make a benchmark of times that were measured elsewhere: one round each."""
    clock = Clock()
    benchmark._timer = clock

    def keep(seconds: Iterable[float]) -> None:
        values = list(seconds)
        assert values
        assert min(values) >= 0
        each = iter(values)
        benchmark.pedantic(lambda: clock.pass_by(next(each)), rounds=len(values))

    return keep


@pytest.fixture(autouse=True)
def one_thread_for_opencv() -> Iterator[None]:
    """As the daemon sets it."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return mobilenet(tmp_path_factory.mktemp("bench") / "bundle")
