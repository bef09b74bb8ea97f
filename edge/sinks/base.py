"""What every sink of events does."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

from edge.event import Event


class Sink(Protocol):
    """An open place for events. Not for several threads at once."""

    def write(self, event: Event[Any]) -> None:
        """Hand the event over: after this it outlives the process. Raises SinkError where that fails."""

    def close(self) -> None:
        """Release what is held. May be called twice."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
