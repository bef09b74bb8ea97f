"""What the loop gets to see: a source, and what its frames go through on their way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge.framing import Framing
from edge.sources import Clock, Source, open_source
from edge.sources.device import CameraSettings
from edge.sources.recording import Recorded, Recorder
from edge.sources.wrapper import Framed, Paced

AS_IT_IS = Framing()


@dataclass(frozen=True)
class IntakeSettings:
    """Where frames come from and what is made of them."""

    source: str = field(repr=False)
    """As in edge.sources.open_source; may hold credentials."""
    camera: CameraSettings = field(default_factory=CameraSettings)
    """What a camera is asked for."""
    framing: Framing = AS_IT_IS
    record: Path | None = None
    """Keep the frames here as the source gives them, before they are turned or cut."""
    realtime: bool = False
    """Give the frames of a file in their own time, not as fast as they are read."""


@contextmanager
def taken_in(settings: IntakeSettings, stop: threading.Event, clock: Clock = time.monotonic) -> Iterator[Source]:
    """Open the source. Raises SourceError, SinkError (for the recording), UsageError."""
    with ExitStack() as stack:
        source = stack.enter_context(open_source(settings.source, settings.camera, clock))
        if settings.record:
            source = Recorded(source, stack.enter_context(closing(Recorder(settings.record))))
        if settings.framing != AS_IT_IS:
            source = Framed(source, settings.framing)
        if settings.realtime and not source.live:
            source = Paced(source, clock, stop.wait)
        yield source
