"""A source around a source: what each frame goes through on its way to the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge.framing import Framing, framed
from edge.sources.base import Clock, Closing, Counts, Frame, Gap, Source


class Wrapper(Closing):
    """Behaves as the source within. Closing it closes that one."""

    def __init__(self, within: Source) -> None:
        self._within = within
        self.single = within.single
        self.live = within.live

    @property
    def broken(self) -> int:
        """As the source within says."""
        return self._within.broken

    @property
    def counts(self) -> Counts:
        """As the source within says."""
        return self._within.counts

    def read(self) -> Frame | Gap | None:
        """Return what comes next, as Source.read does."""
        given = self._within.read()
        return self._take(given) if isinstance(given, Frame) else given

    def _take(self, frame: Frame) -> Frame:
        return frame

    def close(self) -> None:
        """Close the source within."""
        self._within.close()

    def __enter__(self) -> Wrapper:
        return self


class Framed(Wrapper):
    """Turns, mirrors and cuts each picture."""

    def __init__(self, within: Source, framing: Framing) -> None:
        super().__init__(within)
        self._framing = framing

    def _take(self, frame: Frame) -> Frame:
        return replace(frame, image=framed(frame.image, self._framing))


class Paced(Wrapper):
    """Gives the frames of a file in their own time. None is left out."""

    def __init__(self, within: Source, clock: Clock, wait: Callable[[float], object]) -> None:
        super().__init__(within)
        self._clock = clock
        self._wait = wait
        """Waits so many seconds, or less where the work is to end: as threading.Event.wait."""
        self._offset: float | None = None
        """The clock less the source's time, at the first frame."""

    def _take(self, frame: Frame) -> Frame:
        now = self._clock()
        if self._offset is None:
            self._offset = now - frame.time
        rest = frame.time + self._offset - now
        if rest > 0:
            self._wait(rest)
        return replace(frame, captured=self._clock())
