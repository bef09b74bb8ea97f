"""What a bin knows of its own past deposits, on the disk: a restart does not forget it."""

from __future__ import annotations

import io
import logging
import threading
from pathlib import Path

import numpy as np

from edge.drift import MOST_OWN, WATCHED, WINDOW, Against, Memory
from edge.drift_record import fits
from edge.files import replace_bytes

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
"""Of a file that is read: a whole one takes 60 kB."""


class DriftFile:
    """One file, written by a thread of its own; where it can't be, the bin goes on without."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: threading.Thread | None = None
        self._failed = False

    def read(self, key: str, labels: int) -> Memory | None:
        """Return what was written with this `key`; None: nothing, or nothing that can be read.

        `labels`: how many the bundle has.
        """
        try:
            if self._path.stat().st_size > MOST_BYTES:
                raise ValueError("it is too large")
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as file:
                if str(file["key"]) != key:
                    return None
                own, window, flags = file["own"], file["window"], file["flagged"]
            if not (fits(own, labels) and fits(window, labels) and len(own) <= MOST_OWN and len(window) <= WINDOW):
                raise ValueError("it holds no deposits of this bundle")
            flagged = {(of, Against(against)) for of, against in flags.reshape(-1, 2).tolist() if of in WATCHED}
            return Memory(own, window, frozenset(flagged))
        except FileNotFoundError:
            return None
        except Exception as error:  # numpy raises nearly anything on broken data
            log.debug("%s was not taken", self._path, exc_info=True)
            log.warning("%s can't be read (%s): the bin learns its deposits anew", self._path, error)
            return None

    def write(self, key: str, memory: Memory) -> None:
        """Begin to write. Where the disk is still at the last one, this one is left out."""
        if self._thread and self._thread.is_alive():
            return
        self._thread = threading.Thread(target=self._write, args=(key, memory), name="drift", daemon=True)
        self._thread.start()

    def finish(self, key: str, memory: Memory, patience_s: float = 5.0) -> None:
        """Write a last time, and wait so long for the disk."""
        if self._thread:
            self._thread.join(patience_s)
        self.write(key, memory)
        if self._thread:
            self._thread.join(patience_s)

    def _write(self, key: str, memory: Memory) -> None:
        buffer = io.BytesIO()
        flagged = [[of, against.value] for of, against in sorted(memory.flagged)]
        np.savez_compressed(
            buffer,
            allow_pickle=False,
            key=np.array(key),
            own=memory.own,
            window=memory.window,
            flagged=np.array(flagged, dtype=np.str_),
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(self._path, buffer.getvalue())
        except OSError as error:
            if not self._failed:
                log.warning("%s can't be written (%s): a restart forgets it", self._path, error.strerror or error)
            self._failed = True
        else:
            self._failed = False
