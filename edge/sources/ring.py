"""A ring of frames in memory that two processes share: one writes, one reads, and neither waits for the other.

Who owns a slot is told by a record lock of the kernel on the byte of the file that has the slot's number: the
writer locks the slot that it fills, the reader the one that it looks at. Such a lock is taken without waiting, is
freed by the kernel whenever its process dies, and orders the memory: what was written before an unlock is seen
after the next lock, on aarch64 too, since both pass through the same spinlock. All that describes a slot is read
and written under its lock; the one word outside names the newest slot, and is believed only once the slot itself,
locked, agrees.

Record locks belong to a process: reader and writer must be two. And closing any descriptor of the memory would
free the locks of the process that closes it: nobody but this module opens or closes one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.errors import SourceError
from edge.preprocess import Pixels

LARGEST = (7680, 4320)
"""Width and height of the largest frame, in pixels: what is not needed costs no memory."""

SLOTS = 4
"""One is looked at, one is newest, one is written, and one more while the reader changes from one to the next. The
writer takes the lowest free one, so that the last hardly ever costs memory."""

SLOT_BYTES = LARGEST[0] * LARGEST[1] * 3
HEAD_BYTES = 4096
TOTAL_BYTES = HEAD_BYTES + SLOTS * SLOT_BYTES

LAYOUT = 2
"""Another number for another order of the words: a daemon may be older than the files that its child runs."""

_LAYOUT, _NEWEST, _BEAT, _READY = 0, 1, 2, 3
"""Words of the head: the layout; the newest frame's number times 256 plus its slot; when it was written; when the
writer was there."""

_NUMBER, _CAPTURED, _HEIGHT, _WIDTH = 0, 1, 2, 3
"""Words of a slot. Times are in nanoseconds, so that each word is one store."""

_FIRST_SLOT, _SLOT_WORDS = 8, 4

TRIES = 16
"""That the newest slot may slip away from the reader, in one `take`."""


@dataclass(frozen=True)
class Held:
    """A frame in the ring."""

    image: Pixels
    """uint8 [height, width, 3], BGR, read-only; it stays as it is until another is taken."""
    captured: float
    """CLOCK_MONOTONIC seconds."""
    number: int
    """From 1; each frame that was written has the next."""


class Ring:
    """The memory, and the bell that the writer rings after each frame."""

    def __init__(self, memory: int, bell: int) -> None:
        self.memory = memory
        """Descriptor, to be inherited."""
        self.bell = bell
        """Descriptor, to be inherited; readable when there is something to read."""
        self._map = mmap.mmap(memory, TOTAL_BYTES)
        self.head: npt.NDArray[np.int64] = np.frombuffer(self._map, np.int64, HEAD_BYTES // 8)

    @classmethod
    def make(cls) -> Ring:
        """Make an empty one, that nobody can shrink under its reader."""
        memory = os.memfd_create("binsight-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(memory, TOTAL_BYTES)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            ring = cls(memory, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        except BaseException:
            os.close(memory)
            raise
        ring.head[_LAYOUT] = LAYOUT
        return ring

    def slot(self, slot: int) -> npt.NDArray[np.int64]:
        """Return the words of a slot."""
        begin = _FIRST_SLOT + slot * _SLOT_WORDS
        return self.head[begin : begin + _SLOT_WORDS]

    def pixels(self, slot: int, height: int, width: int) -> Pixels:
        """Return the pixels of a slot, without a copy."""
        begin = HEAD_BYTES + slot * SLOT_BYTES
        return np.frombuffer(self._map, np.uint8, height * width * 3, begin).reshape(height, width, 3)

    def newest(self) -> tuple[int, int]:
        """Return number and slot of the newest frame; number 0 where there is none."""
        number, slot = divmod(int(self.head[_NEWEST]), 256)
        return number, slot

    def lock(self, slot: int) -> bool:
        """Take a slot for this process. False where the other has it."""
        try:
            fcntl.lockf(self.memory, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:  # EAGAIN, EACCES: the other has it; ENOLCK: no memory for a lock, which is no better
            return False
        return True

    def unlock(self, slot: int) -> None:
        """Let the other have it."""
        fcntl.lockf(self.memory, fcntl.LOCK_UN, 1, slot)

    def close(self) -> None:
        """Close the descriptors; the memory goes with the last picture of it. May be called twice."""
        if self.memory >= 0:
            os.close(self.memory)
            os.close(self.bell)
            self.memory = self.bell = -1
            del self.head, self._map


class Writer:
    """The end of the process that has the camera. Never waits."""

    def __init__(self, ring: Ring) -> None:
        """Raise SourceError where the ring is another version's."""
        if ring.head[_LAYOUT] != LAYOUT:
            raise SourceError("binsight was changed while it runs: start edge-run again")
        self._ring = ring
        ring.head[_READY] = time.monotonic_ns()

    def write(self, image: Pixels, captured: float) -> bool:
        """Offer a copy of uint8 [height, width, 3]. False where it was dropped: no slot is free.

        Raises SourceError where it is no such picture, or too large.
        """
        _check(image)
        number, newest = self._ring.newest()
        number += 1
        slot = self._free(newest if number > 1 else -1)
        if slot < 0:
            return False
        try:
            words = self._ring.slot(slot)
            words[_NUMBER] = 0
            words[_CAPTURED] = round(captured * 1e9)
            words[_HEIGHT], words[_WIDTH] = image.shape[:2]
            np.copyto(self._ring.pixels(slot, *image.shape[:2]), image)
            words[_NUMBER] = number
        finally:
            self._ring.unlock(slot)
        self._ring.head[_NEWEST] = number * 256 + slot
        self.beat()
        return True

    def beat(self) -> None:
        """Give a sign of life."""
        self._ring.head[_BEAT] = time.monotonic_ns()
        with suppress(BlockingIOError):
            os.eventfd_write(self._ring.bell, 1)

    def _free(self, newest: int) -> int:
        return next((slot for slot in range(SLOTS) if slot != newest and self._ring.lock(slot)), -1)


class Reader:
    """The end of the process that wants the pictures. Never waits."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._slot = -1
        self.number = 0
        """Of the frame that was taken last."""

    @property
    def newest(self) -> int:
        """The number of the newest frame."""
        return self._ring.newest()[0]

    @property
    def beat(self) -> float:
        """The writer's last sign of life, CLOCK_MONOTONIC seconds; 0 where there was none."""
        return float(self._ring.head[_BEAT]) / 1e9

    @property
    def ready(self) -> float:
        """When a writer came last, CLOCK_MONOTONIC seconds; 0 where there was none."""
        return float(self._ring.head[_READY]) / 1e9

    def take(self) -> Held | None:
        """Return the newest frame, None where it was taken already. What was taken before may then change."""
        for _ in range(TRIES):
            number, slot = self._ring.newest()
            if number <= self.number:
                return None
            if not self._ring.lock(slot):
                continue
            words = self._ring.slot(slot)
            if words[_NUMBER] == number:
                return self._hold(slot, number)
            self._ring.unlock(slot)
        return None

    def hush(self) -> None:
        """Silence the bell. Take after this, and no frame is missed."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._ring.bell)

    def _hold(self, slot: int, number: int) -> Held:
        if self._slot >= 0:
            self._ring.unlock(self._slot)
        self._slot, self.number = slot, number
        _, captured, height, width = map(int, self._ring.slot(slot))
        image = self._ring.pixels(slot, height, width)
        image.flags.writeable = False
        return Held(image, captured / 1e9, number)


def _check(image: Pixels) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise SourceError(f"the camera gave {image.dtype} {list(image.shape)}; expected uint8 [height, width, 3]")
    if image.nbytes > SLOT_BYTES:
        height, width = image.shape[:2]
        raise SourceError(
            f"the camera gave a frame of {width} x {height} pixels; expected at most as many as "
            f"{LARGEST[0]} x {LARGEST[1]} has: ask it for a smaller --size"
        )
