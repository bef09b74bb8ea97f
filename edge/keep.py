"""Keeps deposits that teach: those that were rejected, those that were close, and some that chance chose."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import msgspec

from edge.decision import Decision
from edge.event import Deposit, Draft
from edge.kept import Why
from edge.onlooker import Onlooker
from edge.preprocess import Pixels
from edge.shelf import Shelf
from edge.sources import Clock

log = logging.getLogger(__name__)

QUALITY = 95
"""Of the JPEGs, 0 to 100: what a network is to learn from must not be blurred by the way here."""
WAITING = 4
"""Pictures that wait for the disk; more are let go. 25 MB at 1080p."""
RETRY_S = 60.0
"""From a disk that took nothing to the next try, in seconds."""
PATIENCE_S = 10.0
"""For what waits to be written at the end, in seconds."""


@dataclass(frozen=True)
class KeepSettings:
    """What is kept, and where."""

    folder: Path
    quota: int = 500 << 20
    """Bytes."""
    random: float = 0.01
    """Share of all deposits, 0 to 1."""
    margin: float = 0.1
    """What was accepted is kept where the label's probability is ahead of the next by less."""


@dataclass(frozen=True, kw_only=True)
class KeptEvent(Draft[Deposit]):
    """The event of a kept deposit, before it had a number, with one more extension."""

    kept: Why


def why(made: Draft[Deposit], settings: KeepSettings) -> Why | None:
    """Say why the deposit is to be kept; None: it is not.

    Chance comes first, so that what it chose is a fair sample of all. It is drawn from the event's id.
    """
    if _draw(made.id) < settings.random:
        return Why.RANDOM
    if made.data.decision is Decision.REJECTED:
        return Why.REJECTED
    first, second = sorted((*made.data.probabilities.values(), 0.0), reverse=True)[:2]
    return Why.LOW_MARGIN if first - second < settings.margin else None


class Keeper(Onlooker):
    """Writes in a thread of its own: the bin waits for no disk, and goes on where it is full. An Onlooker."""

    def __init__(self, settings: KeepSettings, clock: Clock = time.monotonic) -> None:
        """Open the folder. Raises UsageError."""
        self._settings, self._clock = settings, clock
        self._shelf = Shelf(settings.folder, settings.quota, clock)
        self._waiting: queue.Queue[tuple[Draft[Deposit], Why, Pixels] | None] = queue.Queue(WAITING)
        self._missed = 0
        self._failed: float | None = None
        """When the disk last took nothing; None: it takes what comes."""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def decided(self, made: Draft[Deposit], picture: Pixels) -> Sequence[Draft[Any]]:
        """Keep the deposit where it teaches."""
        self.take(made, picture)
        return ()

    def take(self, made: Draft[Deposit], image: Pixels) -> None:
        """Keep the deposit where it teaches and there is room. Returns at once; the image is copied."""
        reason = why(made, self._settings)
        if reason is None:
            return
        if self._waiting.full() or self._is_waiting_for_the_disk():
            self._missed += 1
            return
        self._waiting.put_nowait((made, reason, image.copy()))

    def close(self) -> None:
        """Write what waits, within bounds."""
        try:
            self._waiting.put(None, timeout=PATIENCE_S)
        except queue.Full:  # a disk that does not answer
            return
        self._thread.join(PATIENCE_S)
        if not self._thread.is_alive():
            self._shelf.close()
        if self._missed:
            log.warning("%d deposits were not kept in %s: no room", self._missed, self._settings.folder)

    def _is_waiting_for_the_disk(self) -> bool:
        failed = self._failed
        return failed is not None and self._clock() - failed < RETRY_S

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self._write(*item)
            except (OSError, cv2.error) as error:
                self._fail(error)
            else:
                self._succeed()

    def _write(self, made: Draft[Deposit], reason: Why, image: Pixels) -> None:
        _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        values = {field.name: getattr(made, field.name) for field in fields(Draft)}
        event = msgspec.json.format(msgspec.json.encode(KeptEvent(**values, kept=reason))) + b"\n"
        self._shelf.add(reason, made.data.label, made.id, data.tobytes(), event)

    def _fail(self, error: Exception) -> None:
        self._missed += 1
        if self._failed is None:
            text = (error.strerror if isinstance(error, OSError) else None) or str(error)
            log.error(
                "deposits can't be kept in %s: %s; the bin goes on, and tries again every %g s",
                self._settings.folder,
                text,
                RETRY_S,
            )
        self._failed = self._clock()

    def _succeed(self) -> None:
        if self._failed is not None:
            log.warning("deposits are kept in %s again; %d were missed", self._settings.folder, self._missed)
            self._failed, self._missed = None, 0


def _draw(id_: str) -> float:
    """Return a number from 0 up to 1 that is the same whenever and wherever the id is."""
    return int.from_bytes(hashlib.sha256(id_.encode()).digest()[:7], "big") / (1 << 56)
