"""A recording: a folder with the frames of a source as JPEG, and a table of their times; made, and played back."""

from __future__ import annotations

import csv
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

import cv2

from edge.clock import utc_now, written
from edge.errors import ImageError, SinkError, SourceError
from edge.preprocess import Pixels, decode
from edge.sources.base import Clock, Closing, Counts, Frame, Source
from edge.sources.wrapper import Wrapper

log = logging.getLogger(__name__)

TABLE = "frames.csv"
"""What makes a folder a recording: a row a frame."""
COLUMNS = ("file", "time", "utc")
"""Name in the folder; seconds on the source's own clock; wall clock, RFC 3339."""
QUALITY = 95
"""Of the JPEGs, 0 to 100."""
WAITING = 8
"""Frames that wait for the disk; more are left out of the recording. 50 MB at 1080p."""
PATIENCE = 10.0
"""Seconds for what waits to be written at the end."""


class Recorder:
    """Writes frames in a thread of its own: the bin does not wait for the disk, and goes on where it is full."""

    def __init__(self, folder: Path, now: Callable[[], datetime] = utc_now) -> None:
        self._folder = folder
        self._now = now
        self._waiting: queue.Queue[tuple[Pixels, float, str] | None] = queue.Queue(WAITING)
        self._written = self._missed = 0
        self._failed = False
        self._table = _begin(folder)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def take(self, frame: Frame) -> None:
        """Keep a copy of the frame, if there is room for it."""
        if self._failed:
            return
        if self._waiting.full():
            self._missed += 1
            return
        self._waiting.put_nowait((frame.image.copy(), frame.time, written(self._now())))

    def close(self) -> None:
        """Write what waits, within bounds, and say what is missing."""
        if self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=PATIENCE)
                self._thread.join(PATIENCE)
            except queue.Full:  # a disk that does not answer
                self._missed += self._waiting.qsize()
        self._table.close()
        if self._missed:
            log.warning(
                "%s has %d frames, %d are missing: the disk was too slow",
                self._folder,
                self._written,
                self._missed,
            )

    def _run(self) -> None:
        rows = csv.writer(self._table)
        while (item := self._waiting.get()) is not None:
            if self._failed:
                continue
            try:
                self._write(rows.writerow, *item)
            except OSError as error:
                self._failed = True
                log.error("recording to %s ends: %s; the bin goes on", self._folder, error.strerror or error)

    def _write(
        self, row: Callable[[tuple[str, str, str]], object], image: Pixels, seconds: float, utc: str
    ) -> None:
        name = f"{self._written:07d}.jpg"
        _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
        (self._folder / name).write_bytes(data.tobytes())
        row((name, f"{seconds:.6f}", utc))
        self._table.flush()
        self._written += 1


def _begin(folder: Path) -> TextIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SinkError(f"--record {folder} is not empty; name a folder that is, or is not there yet")
        table = (folder / TABLE).open("w", newline="", encoding="utf-8")
        csv.writer(table).writerow(COLUMNS)
        table.flush()
    except OSError as error:
        raise SinkError(f"--record {folder} can't be written: {error.strerror or error}") from error
    return table


class Recorded(Wrapper):
    """Hands every frame to a recorder on its way."""

    def __init__(self, within: Source, recorder: Recorder) -> None:
        super().__init__(within)
        self._recorder = recorder

    def _take(self, frame: Frame) -> Frame:
        self._recorder.take(frame)
        return frame


class Recording(Closing):
    """Frames of a recording, as fast as they are read. A broken one is named and left out."""

    single = False
    live = False
    counts = Counts()

    def __init__(self, folder: Path, rows: list[tuple[str, float]], clock: Clock) -> None:
        self._folder = folder
        self._rows: Iterator[tuple[str, float]] = iter(rows)
        self._clock = clock
        self.broken = 0

    def read(self) -> Frame | None:
        """Return the next frame, None after the last."""
        for name, seconds in self._rows:
            try:
                image = decode((self._folder / name).read_bytes())
            except (ImageError, OSError) as error:
                self.broken += 1
                log.warning("%s: %s; left out", name, error)
                continue
            return Frame(image, self._clock(), seconds)
        return None

    def __enter__(self) -> Recording:
        return self


def open_recording(uri: str, clock: Clock = time.monotonic) -> Recording:
    """Open the recording in the folder `uri`. Raises SourceError where its table is none, or empty."""
    folder = Path(uri)
    try:
        text = (folder / TABLE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"recording {uri} can't be read: {getattr(error, 'strerror', None) or error}") from error
    whole = text[: text.rfind("\n") + 1]  # a kill may have cut the last line off
    rows = [_row(folder, row) for row in csv.DictReader(whole.splitlines())]
    if not rows:
        raise SourceError(f"recording {uri} has no frames: its {TABLE} is empty")
    return Recording(folder, rows, clock)


def _row(folder: Path, row: dict[str, str]) -> tuple[str, float]:
    """Return a frame's file and time."""
    name, seconds = row.get("file") or "", row.get("time") or ""
    try:
        value = float(seconds)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not name or Path(name).name != name:
        raise SourceError(
            f"{folder / TABLE} has the row {','.join(filter(None, map(str, row.values())))!r}; "
            f"expected {','.join(COLUMNS)}, with a file of that folder and seconds"
        )
    return name, value
