"""A daemon watched from outside while things break around it: faults, and what /metrics and /proc say."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.broker import Broker
from tests.rtsp_server import RtspServer
from tests.supervisor import Supervisor

EACH_S = 0.25
"""Between two looks at the metrics; memory is looked at every fourth time."""

SETTLED_S = 5.0
"""After a fault, in seconds: then all goes its usual way again."""

FRAMES = re.compile(r"^binsight_frames_total (\S+)$", re.MULTILINE)
SKIPPED = re.compile(r'^binsight_frames_dropped_total\{cause="skipped"\} (\S+)$', re.MULTILINE)
AGE = re.compile(r"^binsight_frame_age_seconds (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Held:
    """What the daemon holds at one moment."""

    time: float
    """Monotonic seconds."""
    parent_mib: float
    child_mib: float
    """Of the process that reads the camera; 0 where there is none just now."""
    files: int
    threads: int


@dataclass(frozen=True)
class Calm:
    """Between two faults."""

    sent: int
    """Pictures that the camera sent."""
    known: int
    """Frames that the daemon looked at, or counted as skipped."""


@dataclass
class Watched:
    """What was seen so far."""

    held: list[Held] = field(default_factory=list)
    ages: list[tuple[float, float]] = field(default_factory=list)
    """When, and how old the newest frame was, in seconds; infinite where the daemon did not answer."""
    faults: list[tuple[str, float, float]] = field(default_factory=list)
    """What it was, when it began, and when all was well again."""
    calms: list[Calm] = field(default_factory=list)

    def calm_ages(self) -> list[float]:
        """Return the ages that no fault explains."""
        return [
            age for when, age in self.ages if not any(begun <= when <= ended for _, begun, ended in self.faults)
        ]


@dataclass
class World:
    """What is around the daemon, and can fail."""

    server: RtspServer
    broker: Broker
    supervisor: Supervisor
    disk: Path
    """A small file system of its own, with events and outbox; a plain folder where none could be made."""
    bundles: tuple[Path, Path]
    link: Path

    def fill(self) -> None:
        with suppress(OSError), (self.disk / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def empty(self) -> None:
        (self.disk / "ballast").unlink(missing_ok=True)

    def swap(self) -> None:
        other = self.bundles[self.link.resolve() == self.bundles[0]]
        point(self.link, other)
        os.kill(self.supervisor.pid, signal.SIGHUP)

    def stop_child(self) -> None:
        child = camera_of(self.supervisor.pid)
        if child:
            os.kill(child, signal.SIGSTOP)

    def faults(self) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
        """Return each fault's name, and what begins and ends it."""
        found: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "camera frozen": (self.server.freeze, self.server.thaw),
            "camera killed": (self.server.kill, self.server.start),
            "broker killed": (self.broker.end, self.broker.start),
            "camera mute": (self.server.mute, self.server.unmute),
            "another bundle": (self.swap, lambda: None),
            "camera's clock still": (lambda: self.server.still(True), lambda: self.server.still(False)),
            "capture stopped": (self.stop_child, lambda: None),
        }
        if self.disk.is_mount():
            found["disk full"] = (self.fill, self.empty)
        return found


def point(link: Path, bundle: Path) -> None:
    """Let the link name this bundle, at once."""
    new = link.with_name(link.name + ".new")
    new.symlink_to(bundle)
    os.replace(new, link)


class Watcher(threading.Thread):
    """Looks at the daemon until it is told to end."""

    def __init__(self, world: World, page: str) -> None:
        super().__init__(daemon=True)
        self.seen = Watched()
        self._world, self._page = world, page
        self._over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._over.wait(EACH_S):
            self.seen.ages.append((time.monotonic(), self._age()))
            if number % 4 == 0:
                with suppress(OSError):  # it is just being replaced
                    self.seen.held.append(held(self._world.supervisor.pid))
            number += 1

    def end(self) -> None:
        self._over.set()
        self.join()

    def known(self) -> int:
        """Return how many frames the daemon knows of."""
        text = self._metrics()
        return sum(int(float(found[1])) for found in (FRAMES.search(text), SKIPPED.search(text)) if found)

    def _age(self) -> float:
        try:
            found = AGE.search(self._metrics())
        except OSError:
            return float("inf")
        return float(found[1]) if found else float("inf")

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"{self._page}metrics", timeout=2) as answer:
            return str(answer.read().decode())


def held(pid: int) -> Held:
    """Look at a daemon and its child. Raises OSError where it is gone."""
    child = camera_of(pid)
    return Held(
        time=time.monotonic(),
        parent_mib=_resident_mib(pid),
        child_mib=_resident_mib(child) if child else 0.0,
        files=len(os.listdir(f"/proc/{pid}/fd")),
        threads=len(os.listdir(f"/proc/{pid}/task")),
    )


def camera_of(pid: int) -> int | None:
    """Return the child that reads the camera."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            if b"capture_child" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
