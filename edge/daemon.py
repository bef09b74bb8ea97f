"""The camera daemon: what a run is made of, opened in order and closed in reverse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from edge import bundle as bundles
from edge.backends import DEFAULT, Options
from edge.event import Reporter
from edge.loop import Loop
from edge.manifest import Precision
from edge.outlets import OutletSettings, opened
from edge.serving import Serving
from edge.show import Window
from edge.sources import open_source


@dataclass(frozen=True)
class RunSettings:
    """One run of the daemon."""

    bundle: Path
    source: str
    """As in edge.sources.open_source."""
    precision: Precision | None = None
    """None: the bundle's recommended one."""
    backend: str = "auto"
    options: Options = DEFAULT
    outlets: OutletSettings = field(default_factory=OutletSettings)
    """Where decisions go."""
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
        serving = Serving(
            bundle, settings.backend, settings.precision, settings.options, settings.allow_failed_parity
        )
        backend = stack.enter_context(serving.open())
        maker = serving.maker(backend)
        outlets = stack.enter_context(opened(settings.outlets, settings.bin_id))
        source = stack.enter_context(open_source(settings.source))
        window = stack.enter_context(Window(source.live, stop)) if settings.show else None
        loop = Loop(
            source=source,
            backend=backend,
            spec=bundle.manifest.input,
            reporter=Reporter(bundle, backend.info, settings.bin_id),
            sinks=outlets.sinks,
            ledger=outlets.ledger,
            actors=outlets.flaps,
            stop=stop,
            max_frames=settings.max_frames,
            view=window,
            successor=stack.enter_context(maker).poll if maker else None,
        )
        stack.callback(loop.close)
        yield loop
