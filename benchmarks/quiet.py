"""A process that others do not disturb, where the system lets it: one core, ahead of all that is not real time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

REST = 0.1
"""Share of its time that it must rest: Linux takes the core away from real time for a twentieth of each second."""


@contextmanager
def one_core() -> Iterator[str]:
    """Take the last core for this process, and say in words what it got."""
    cores, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    cv2.setNumThreads(1)  # as the daemon sets it
    os.sched_setaffinity(0, {max(cores)})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        how = "ahead of all else"
    except PermissionError:
        how = "beside whatever else ran"
    try:
        yield f"on one core, {how}, load {os.getloadavg()[0]:.0f}"
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, cores)
        cv2.setNumThreads(threads)
