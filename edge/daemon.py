"""The camera daemon: what a run is made of, opened in order and closed in reverse."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from edge import bundle as bundles
from edge import web
from edge.backends import DEFAULT, Options
from edge.board import Board, served
from edge.drift_file import DriftFile
from edge.drift_onlooker import DriftOnlooker
from edge.episodes import Episodes
from edge.event import Reporter
from edge.intake import IntakeSettings, taken_in
from edge.keep import Keeper, KeepSettings
from edge.lookout import Lookout
from edge.loop import MAX_AGE, Loop
from edge.manifest import Precision
from edge.model import Model
from edge.onlooker import Onlooker
from edge.outlets import OutletSettings, opened
from edge.serving import Serving
from edge.show import Window
from edge.sources import Source
from edge.steady import hold_little, settle
from edge.supervise import Orders, Watchdog
from edge.swap import Swap, files
from edge.triggered import Triggered
from edge.triggers import TriggerSettings, open_trigger
from edge.web import WebSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """One run of the daemon."""

    bundle: Path
    intake: IntakeSettings
    precision: Precision | None = None
    """None: the bundle's recommended one."""
    backend: str = "auto"
    options: Options = DEFAULT
    outlets: OutletSettings = field(default_factory=OutletSettings)
    """Where decisions go."""
    trigger: TriggerSettings = field(default_factory=TriggerSettings)
    bin_id: str = "bin"
    """Letters, digits, dot, dash and underscore: it becomes part of addresses."""
    max_frames: int | None = None
    max_frame_age: float = MAX_AGE
    """Seconds, beyond which nothing is decided on a camera's frame."""
    web: WebSettings | None = None
    """None: there is no page."""
    supervisor: Orders | None = None
    """Who wants to hear how it goes; None: nobody."""
    keep: KeepSettings | None = None
    """None: no picture is kept."""
    state: Path | None = None
    """Folder for what a camera's bin learns; None: a restart forgets it."""
    show: bool = False
    allow_failed_parity: bool = False
    """Whether an artifact whose verdict is FAIL may run."""


@contextmanager
def started(settings: RunSettings, stop: threading.Event, again: threading.Event | None = None) -> Iterator[Loop]:
    """Load and prove the bundle, warm the engine, open source and sinks, and give the loop that is ready to run.

    `again`: set by whoever wants the bundle looked at anew. Raises BundleError, GoldenError, BackendError,
    SourceError, SinkError, GpioError, UsageError.
    """
    hold_little()
    cv2.setNumThreads(1)  # frames are small: OpenCV's threads would only fight with the engine's
    board, reporter = Board(settings.bin_id), Reporter(settings.bin_id)
    with ExitStack() as stack:
        if settings.web:  # first of all: it tells that the bin starts
            log.info("the page is at %s", stack.enter_context(web.opened(settings.web, board)))
        lies = files(settings.bundle)  # before it is loaded: another may come while this one is proven
        real = Path(os.path.realpath(settings.bundle))  # what a link names now, to the end
        bundle = bundles.load(real if real.is_dir() else settings.bundle)
        serving = Serving(
            bundle, settings.backend, settings.precision, settings.options, settings.allow_failed_parity
        )
        model = Model(bundle, stack.enter_context(serving.open()))
        outlets = stack.enter_context(opened(settings.outlets, settings.bin_id))
        trigger = open_trigger(settings.trigger, settings.outlets.mqtt, settings.bin_id)
        if trigger is not None:
            stack.enter_context(trigger)
        source = stack.enter_context(taken_in(settings.intake, stop))
        window = stack.enter_context(Window(source.live, stop)) if settings.show else None

        def refused(why: str) -> None:
            log.error("the bundle at %s is refused, and the one that serves goes on: %s", settings.bundle, why)
            board.refused(why)
            outlets.ledger.post(reporter.refused(loop.model.bundle, why))

        onlookers = _onlookers(settings, source, board, reporter, lambda: loop.model)
        for onlooker in onlookers:
            stack.callback(onlooker.close)
        watchdog = Watchdog(settings.supervisor, board.snapshot)
        swap = Swap(settings.bundle, lies, serving, model, again or threading.Event(), refused)
        loop = Loop(
            source=source,
            model=model,
            reporter=reporter,
            sinks=outlets.sinks,
            ledger=outlets.ledger,
            actors=outlets.flaps,
            stop=stop,
            max_frames=settings.max_frames,
            max_age=settings.max_frame_age,
            view=window,
            board=board,
            outgoing=outlets.vitals,
            onlookers=onlookers,
            trigger=trigger,
            episodes=Triggered(empty=model.empty) if trigger else Episodes(empty=model.empty),
            successor=swap.poll,
            beat=watchdog.beat,
        )
        stack.callback(loop.close)
        stack.enter_context(swap)
        board.serves(served(bundle.manifest, model.info))
        settle()
        stack.enter_context(watchdog)
        yield loop


def _onlookers(
    settings: RunSettings, source: Source, board: Board, reporter: Reporter, model: Callable[[], Model]
) -> list[Onlooker]:
    name, state = settings.bin_id, settings.state if source.live else None  # files play as often as one likes
    drift = DriftFile(state / f"drift-{name}.npz") if state else None
    onlookers: list[Onlooker] = [DriftOnlooker(model, board, reporter, drift)]
    if settings.keep:
        onlookers.append(Keeper(settings.keep))
    if source.live:  # a drawn film that stands still is no broken camera
        learned = state / f"camera-{name}.json" if state else None
        onlookers.append(Lookout(board, name, settings.intake.source, learned))
    return onlookers
