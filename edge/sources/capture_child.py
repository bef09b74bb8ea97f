"""The process that reads a camera: a driver may hang for ever, and a process can be ended.

It hears what to do as one line on stdin, where nobody else can read the camera's password. It says why it ends as
one line of JSON on what was stdout; whatever libraries print goes to stderr, which never blocks.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import cv2
import msgspec

from edge.errors import SourceError
from edge.sources.device import Address, CameraSettings, Device, Shot
from edge.sources.patience import READ_S
from edge.sources.ring import Ring, Writer

DEVICES: dict[str, str] = {
    "v4l2": "edge.sources.v4l2:open_v4l2",
    "rtsp": "edge.sources.rtsp:open_rtsp",
    "csi": "edge.sources.csi:open_csi",
}
"""Kind of camera to what opens it: imported when it is wanted, by this process alone."""

OLDEST_S = 1.0
"""A picture that was taken longer ago is no new one."""

PAUSE_S = 0.005
"""Seconds to wait after a picture that was no new one: some drivers give those without end."""

LOOK_S = 0.1
"""Seconds between two looks of the watchdog."""

_LOOK = "look at its cable, power and network"

PR_SET_PDEATHSIG = 1
FAILED = 2
MOST_TEXT = 2000


@dataclass(frozen=True)
class Task:
    """What is to be read, and where to."""

    kind: str
    """In DEVICES."""
    address: Address
    settings: CameraSettings
    memory: int
    """Descriptor of the ring."""
    bell: int
    """Descriptor of its bell."""
    opening: float
    """Seconds until the first picture, at most."""
    parent: int
    """Process that wants it: nothing is read for one that has gone."""


@dataclass(frozen=True)
class Farewell:
    """Why this process ends."""

    error: str


def main() -> None:
    """Read the camera that the line on stdin names, until stdin ends, the camera does, or the parent."""
    said = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(2, False)
    for signum in (signal.SIGINT, signal.SIGTERM):  # they end the parent, which ends us
        signal.signal(signum, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    line = sys.stdin.buffer.readline()
    # Not sys.exit: what a library does at the end may hang as well as its reading.
    os._exit(_run(line, said) if line else 0)


def encode(task: Task) -> bytes:
    """Return the line for `main`."""
    return msgspec.json.encode(task) + b"\n"


def _run(line: bytes, said: int) -> int:
    task = msgspec.json.decode(line, type=Task)
    if os.getppid() != task.parent:
        return FAILED
    watchdog = Watchdog(lambda text: _say(said, text))
    try:
        carry(task, watchdog)
    except SourceError as error:
        _say(said, str(error))
        return FAILED
    except Exception as error:  # noqa: BLE001  the last seam: the parent says it and tries again
        _say(said, f"fault in reading camera {task.address.shown}: {type(error).__name__}: {error}")
        return FAILED
    return 0


def carry(task: Task, watchdog: Watchdog) -> None:
    """Carry pictures from the camera into the ring until stdin ends. Raises SourceError."""
    cv2.setNumThreads(1)
    name = f"camera {task.address.shown}"
    watchdog.expect(task.opening, f"{name} gave no picture within {task.opening:g} s of being opened: {_LOOK}")
    writer = Writer(Ring(task.memory, task.bell))
    device = opener(task.kind)(task.address, task.settings)
    novelty = Novelty()
    while not _asked_to_end():
        shot = device.read()
        now = time.monotonic()
        lacks = novelty.lacks(shot, now)
        if lacks:
            watchdog.because(f"{name} gave no new picture for {READ_S:g} s: {lacks}")
            time.sleep(PAUSE_S)
            continue
        writer.write(shot.image, min(shot.captured, now))
        watchdog.expect(READ_S, f"{name} gave no picture for {READ_S:g} s: {_LOOK}")
    device.close()


def opener(kind: str) -> Callable[[Address, CameraSettings], Device]:
    """Return what opens cameras of this kind. Raises SourceError where there is nothing."""
    module, _, name = DEVICES[kind].partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise SourceError(f"{kind} cameras can't be read: the module {error.name} is missing") from error
    return cast("Callable[[Address, CameraSettings], Device]", found)


class Novelty:
    """Tells a new picture from one that a driver gives again, or gives late."""

    def __init__(self) -> None:
        self._stamp: float | None = None

    def lacks(self, shot: Shot, now: float) -> str:
        """Say why this is no new picture; empty where it is one."""
        if shot.stamp is not None:
            if self._stamp is not None and shot.stamp <= self._stamp:
                return "the clock of its stream stands still; start the camera again"
            self._stamp = shot.stamp
        if now - shot.captured > OLDEST_S:
            return f"its pictures come {now - shot.captured:.1f} s late; lower its rate or its size"
        return ""


class Watchdog:
    """Ends this process where what is expected does not come: the thread that waits for it can't."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._expected: tuple[float, str] = (float("inf"), "")
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def expect(self, within: float, otherwise: str) -> None:
        """Expect the next call within so many seconds; without it the process ends, saying `otherwise`."""
        self._expected = (time.monotonic() + within, otherwise)

    def because(self, otherwise: str) -> None:
        """Say something else at the end; the time goes on."""
        self._expected = (self._expected[0], otherwise)

    def _watch(self) -> None:
        while True:
            due, otherwise = self._expected
            rest = due - time.monotonic()
            if rest <= 0:
                self._say(otherwise)
                os._exit(FAILED)
            time.sleep(min(rest, LOOK_S))


def _asked_to_end() -> bool:
    return bool(select.select([0], [], [], 0)[0])


def _say(said: int, text: str) -> None:
    with suppress(OSError):  # nobody listens any more: all the more reason to end
        os.write(said, msgspec.json.encode(Farewell(" ".join(text.split())[:MOST_TEXT])) + b"\n")
