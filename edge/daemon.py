"""The camera daemon: what a run is made of, opened in order and closed in reverse."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge import bundle as bundles
from edge.backends import Backend, open_backend
from edge.event import Reporter
from edge.golden import self_test
from edge.loop import Loop
from edge.manifest import Precision
from edge.parity import check_verdict
from edge.preprocess import InputSpec
from edge.show import Window
from edge.sinks import open_sink
from edge.sources import open_source

log = logging.getLogger(__name__)

WARM_UP = 3
"""Inferences before the first frame: an engine plans and allocates in its first ones."""


@dataclass(frozen=True)
class RunSettings:
    """One run of the daemon."""

    bundle: Path
    source: str
    """As in edge.sources.open_source."""
    precision: Precision | None = None
    """None: the bundle's recommended one."""
    backend: str = "auto"
    threads: int = 0
    """Of one inference on the CPU; 0: the engine chooses."""
    events: tuple[str, ...] = ()
    """Sinks, as in edge.sinks.open_sink."""
    bin_id: str = "bin"
    """Letters, digits, dot, dash and underscore: it becomes part of addresses."""
    max_frames: int | None = None
    show: bool = False
    allow_failed_parity: bool = False
    """Whether an artifact whose verdict is FAIL may run."""


@contextmanager
def started(settings: RunSettings, stop: threading.Event) -> Iterator[Loop]:
    """Load and prove the bundle, warm the engine, open source and sinks, and give the loop that is ready to run.

    Raises BundleError, GoldenError, BackendError, SourceError, SinkError, UsageError.
    """
    cv2.setNumThreads(1)  # frames are small: OpenCV's threads would only fight with the engine's
    bundle = bundles.load(settings.bundle)
    with ExitStack() as stack:
        backend = stack.enter_context(open_backend(bundle, settings.backend, settings.precision, settings.threads))
        check_verdict(bundle.manifest.artifact_of(backend.info.file), settings.allow_failed_parity)
        tested = self_test(bundle, backend)
        log.debug("self-test: %d images, largest difference %.2g", tested.images, tested.max_difference)
        _warm_up(backend, bundle.manifest.input)
        sinks = [stack.enter_context(open_sink(target)) for target in settings.events]
        source = stack.enter_context(open_source(settings.source))
        window = stack.enter_context(Window(source.live, stop)) if settings.show else None
        yield Loop(
            source=source,
            backend=backend,
            spec=bundle.manifest.input,
            reporter=Reporter(bundle, backend.info, settings.bin_id),
            sinks=sinks,
            stop=stop,
            max_frames=settings.max_frames,
            view=window,
        )


def _warm_up(backend: Backend, spec: InputSpec) -> None:
    blank = np.zeros((1, *spec.shape), dtype=np.uint8)
    for _ in range(WARM_UP):
        backend.infer(blank)
