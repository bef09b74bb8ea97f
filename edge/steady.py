"""Steady time: what would let one frame take longer than the others is done before the first."""

from __future__ import annotations

import ctypes
import gc
import sys

SWITCH_S = 0.0005
"""How long a thread that computes in Python may keep another one waiting, in seconds. Python's own 5 ms are felt
where somebody looks at the page or a bundle is being loaded while a frame is at work."""

M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""
MAPPED = 2**20
"""From so many bytes on, a block is the system's again as soon as it is freed. The buffers of each frame are
smaller: to get those anew from the system would cost time in every frame."""


def settle() -> None:
    """Call it once, when all is loaded and warm.

    What is there then stays to the end, and garbage collection never looks at it again.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()


def hold_little() -> None:
    """Let glibc map what is big apart from the rest. Call it before anything big is loaded.

    Of itself it comes to keep blocks of up to 32 MiB among the others once such a one was freed (mallopt(3)), and
    what a bundle leaves that gave way to another is then full of holes. Other C libraries have no such call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED)


def give_back() -> None:
    """Return to the system what was freed: glibc keeps it, and each of the first swaps would add to that."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)
