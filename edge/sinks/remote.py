"""What every sink at the other end of a network does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.errors import SinkError
from edge.pending import Row
from edge.wake import Wake


class UnreachableError(SinkError):
    """The other end is not there, or takes nothing now: what waits is tried again."""

    def __init__(self, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.after = after
        """Seconds that the other end asked for until the next try."""


@dataclass(frozen=True)
class Taken:
    """The other end has all that was sent up to this sequence number."""

    up_to: int


@dataclass(frozen=True)
class Never:
    """The other end will not take this row, however often it is sent."""

    row: Row
    why: str


Answer = Taken | Never


class Remote(Protocol):
    """A connection that one thread owns. Methods raise UnreachableError, and then only `close` may follow."""

    name: str
    """Under which the outbox knows it."""
    place: str
    """Its address as it may be shown: no user, no password."""
    window: int
    """Most rows that are sent and unanswered."""
    patience: float | None
    """Seconds without an answer, all having arrived, after which all unanswered is sent again; None: an answer
    comes, or an error."""

    def connect(self, epoch: str, ended: Callable[[], bool]) -> None:
        """Connect, for events of this epoch. Bounded in time; gives up where it has `ended`."""

    def send(self, row: Row, *, ahead: bool = False) -> None:
        """Send a row. `ahead`: out of its turn, and no answer is expected."""

    def arrived(self) -> bool:
        """Say whether all that was sent is at the other end, answered or not."""

    def receive(self, wake: Wake, seconds: float) -> Sequence[Answer]:
        """Return the answers that came, in the order of what was sent. Waits so long at most, or for `wake`."""

    def close(self) -> None:
        """Disconnect. May be called at any time and twice."""
