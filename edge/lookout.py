"""The lookout: tells board and events how the camera finds itself, and keeps what it learned over a restart."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from edge.board import Board
from edge.clock import utc_now, written
from edge.event import CAMERA, CameraChange, Draft, draft
from edge.files import replace_bytes
from edge.health import OK, Health, Sharpness
from edge.motion import Sight
from edge.onlooker import Onlooker
from edge.sources import Frame, Gap

log = logging.getLogger(__name__)

LOST_S = 5.0
"""Without a frame for so long, the camera is lost; what is shorter mends itself."""

KEEP_EACH_S = 3600.0
"""From one writing of what was learned to the next, in seconds on the source's clock."""


@dataclass(frozen=True)
class Learned:
    """What was learned of one camera, as it is kept."""

    camera: str
    """Digest of its address: another camera is another lens."""
    height: int
    """Of its pictures, in pixels."""
    width: int
    sharpness: Sharpness


class Lookout(Onlooker):
    """An Onlooker of a live camera."""

    def __init__(
        self, board: Board, bin_id: str, source: str, path: Path | None, now: Callable[[], datetime] = utc_now
    ) -> None:
        """`path`: where what was learned is kept; None: nowhere. `now`: the wall clock."""
        self._board, self._bin_id, self._path, self._now = board, bin_id, path, now
        self._camera = hashlib.sha256(source.encode()).hexdigest()[:16]
        self._health: Health | None = None
        self._size = (0, 0)
        self._told: tuple[str, ...] = ()
        self._newest = self._kept_at = 0.0

    def looked(self, frame: Frame, sight: Sight) -> Sequence[Draft[Any]]:  # noqa: ARG002  the protocol's
        """Look at the frame about once a second."""
        health, self._newest = self._for(frame), frame.time
        if not health.look(frame.image, frame.time):
            return ()
        if frame.time - self._kept_at >= KEEP_EACH_S:
            self._kept_at = frame.time
            self._keep()
        return self._tell()

    def missed(self, gap: Gap) -> Sequence[Draft[Any]]:
        """No frame came."""
        if self._health is None or gap.time - self._newest < LOST_S:
            return ()
        self._health.lost()
        return self._tell(gap.why)

    def close(self) -> None:
        """Keep what was learned."""
        self._keep()

    def _for(self, frame: Frame) -> Health:
        """Return who judges pictures of this size."""
        size = frame.image.shape[:2]
        if self._health is None or size != self._size:
            self._size = size
            self._health = Health(sharpness=self._known())
        return self._health

    def _tell(self, why: str = "") -> Sequence[Draft[Any]]:
        assert self._health is not None  # noqa: S101  there was a frame
        states = tuple(state.value for state in self._health.states) or (OK,)
        if states == self._told:
            return ()
        before, self._told = self._told, states
        self._board.camera(states[0], states, written(self._now()))
        if not before and states == (OK,):  # it comes up, and all is well
            return ()
        log.log(
            logging.INFO if states == (OK,) else logging.WARNING, "the camera finds itself %s", ", ".join(states)
        )
        change = CameraChange(states[0], states, before, why or msgspec.UNSET)
        return [draft(change, CAMERA, self._bin_id, self._now)]

    def _known(self) -> Sharpness | None:
        try:
            data = self._path.read_bytes() if self._path else b""
            found = msgspec.json.decode(data, type=Learned)
        except (OSError, msgspec.DecodeError):
            return None  # it is learned anew
        same = (found.camera, found.height, found.width) == (self._camera, *self._size)
        return found.sharpness if same else None

    def _keep(self) -> None:
        sharpness = self._health.sharpness if self._health else None
        if self._path is None or sharpness is None:
            return
        data = msgspec.json.encode(Learned(self._camera, *self._size, sharpness))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(self._path, data)
        except OSError as error:
            log.warning("what was learned of the camera can't be kept in %s: %s", self._path, error.strerror)
