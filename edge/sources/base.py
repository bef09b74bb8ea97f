"""What every source of frames does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from edge.preprocess import Pixels

Clock = Callable[[], float]
"""Monotonic seconds."""


@dataclass(frozen=True)
class Frame:
    """One picture and when it was taken."""

    image: Pixels
    """uint8 [height, width, 3], BGR."""
    captured: float
    """Monotonic seconds at which the pixels were there."""
    time: float
    """Seconds on the source's own clock, from its first frame: what episodes are measured in."""
    name: str = ""
    """The image's path inside a folder source, with forward slashes; empty elsewhere."""


@dataclass(frozen=True)
class Gap:
    """No new frame for now: the camera is silent, or is being opened again."""

    time: float
    """Seconds on the source's own clock: now."""
    since: float
    """Monotonic seconds at which the newest frame was captured."""
    why: str
    """What is the matter, as a clause; without credentials."""


@dataclass(frozen=True)
class Counts:
    """What a live source has done since it was opened."""

    captured: int = 0
    """Frames that the camera gave."""
    skipped: int = 0
    """Frames that nobody read, since a newer one was there."""
    reopened: int = 0
    """Times that the camera was opened again."""


class Source(Protocol):
    """An open source. Not for several threads at once."""

    @property
    def single(self) -> bool:
        """True where each frame is one deposit, false where deposits come and go across frames."""

    @property
    def live(self) -> bool:
        """True where frames come in their own time and those not read are lost."""

    @property
    def broken(self) -> int:
        """Pictures that could not be decoded and were left out, so far."""

    @property
    def counts(self) -> Counts:
        """What happened so far; all zero where the source is not live."""

    def read(self) -> Frame | Gap | None:
        """Return the next frame, None at the end. Raises SourceError where frames should come and never will.

        A live source gives the newest whole frame, never one that was given before, and a Gap where none comes
        within a fifth of a second. Its pixels may be overwritten at the next `read`: who keeps them copies them.
        """

    def close(self) -> None:
        """Release the device or file. May be called twice."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing:
    """The context manager that sources share: leaving it closes."""

    def close(self) -> None:
        """Release what is held: nothing, unless a source says otherwise."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
