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


class Source(Protocol):
    """An open source. Not for several threads at once."""

    single: bool
    """True where each frame is one deposit, false where deposits come and go across frames."""
    live: bool
    """True where frames come in their own time and those not read are lost."""
    broken: int
    """Pictures that could not be decoded and were left out, so far."""

    def read(self) -> Frame | None:
        """Return the next frame, None at the end. Raises SourceError where frames should come and don't."""

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
