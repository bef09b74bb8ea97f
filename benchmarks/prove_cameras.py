"""A camera that fails in every way, and is read all the same: random faults of a real RTSP server."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from statistics import median

from benchmarks.record import Row, keep
from edge.preprocess import Pixels
from edge.sources.base import Frame
from edge.sources.capture import open_captured
from edge.sources.device import CameraSettings
from edge.sources.rtsp import rtsp_address
from tests.clock_code import read
from tests.rtsp_server import RtspServer, missing

FAULTS = 200

SHORTEST_S, LONGEST_S = 1.0, 4.0
"""Of a fault."""

SEEN_S, BACK_S, OLDEST_S = 2.5, 3.0, 1.0
"""What is promised: seconds until a fault is seen, from the return to a fresh picture, of any picture's age."""

HOPELESS_S = 30.0
"""Seconds after which a picture that should come is not waited for any more."""

MOST_GROWTH_MIB = 5.0

Look = Callable[[], "Pixels | None"]
"""Gives the next picture, uint8 [height, width, 3], BGR; None where there is none within about half a second."""


class Fault(Enum):
    """What the server does."""

    FROZEN = "frozen"
    KILLED = "killed"
    MUTE = "accepts and says nothing"
    STILL = "no new timestamps"

    def begin(self, server: RtspServer) -> None:
        if self is Fault.STILL:
            server.still(True)
        else:
            {Fault.FROZEN: server.freeze, Fault.KILLED: server.kill, Fault.MUTE: server.mute}[self]()

    def end(self, server: RtspServer) -> None:
        if self is Fault.STILL:
            server.still(False)
        else:
            {Fault.FROZEN: server.thaw, Fault.KILLED: server.start, Fault.MUTE: server.unmute}[self]()


@dataclass(frozen=True)
class Outcome:
    """One fault and what became of it. All in seconds."""

    fault: Fault
    lasted: float
    seen: float | None
    """From its beginning to the first look that found no picture; None: it was over before."""
    back: float
    """From its end to a picture drawn after that."""


@dataclass(frozen=True)
class Usage:
    """What the reader holds: its own process and the children that it reads by, without the server."""

    files: int
    own_mib: float
    children_mib: float


@dataclass
class Tally:
    """What was found."""

    outcomes: list[Outcome] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    """After each fault."""
    pictures: int = 0
    oldest: float = 0.0
    """Age in seconds of the oldest picture when it was given."""
    unreadable: int = 0
    """Pictures in which no whole time stands."""

    def late(self) -> int:
        """Faults that were seen too late, or not at all although they lasted."""
        return sum((one.lasted if one.seen is None else one.seen) > SEEN_S for one in self.outcomes)

    def slow(self) -> int:
        """Returns of the source after which a fresh picture took too long."""
        return sum(one.back > BACK_S for one in self.outcomes)

    def flat(self) -> bool:
        begun, ended = self.ends()
        growth = max(ended.own_mib - begun.own_mib, ended.children_mib - begun.children_mib)
        return ended.files <= begun.files and growth <= MOST_GROWTH_MIB

    def ends(self) -> tuple[Usage, Usage]:
        """Return the medians of the first and of the last quarter."""
        size = max(1, len(self.usage) // 4)
        return _median(self.usage[:size]), _median(self.usage[-size:])

    def passed(self) -> bool:
        kept = self.late() + self.slow() + self.unreadable == 0 and self.oldest <= OLDEST_S
        return kept and self.flat()


def prove_cameras(count: int = FAULTS) -> bool:
    """Run the faults against the capture alone, and keep the figures."""
    if lacks := missing():
        sys.exit(f"the proof needs an RTSP server: apt-get install {' '.join(lacks)}")
    with RtspServer() as server, captured(server) as look:
        tally = run_faults(server, look, count)
    keep("rtsp", f"{count} random faults of a real RTSP server, each of 1 to 4 s; 15 FPS, H.264", rows(tally))
    return tally.passed()


@contextmanager
def captured(server: RtspServer) -> Iterator[Look]:
    """Give what looks at the server by the capture alone."""
    with open_captured(rtsp_address(server.uri), CameraSettings(), "rtsp") as source:

        def look() -> Pixels | None:
            frame = source.read()
            return frame.image if isinstance(frame, Frame) else None

        yield look


def run_faults(
    server: RtspServer, look: Look, count: int, seed: int = 1, longest: float = LONGEST_S, pause: float = 1.0
) -> Tally:
    """Let the server fail `count` times, each kind as often as any other, while `look` is called without a break.

    A fault lasts SHORTEST_S to `longest` seconds, and up to `pause` seconds lie between two.
    """
    rng, tally = random.Random(seed), Tally()
    kinds = [*Fault] * -(-count // len(Fault))
    rng.shuffle(kinds)
    for fault in kinds[:count]:
        _wait_for_fresh(look, tally, time.monotonic())
        end = time.monotonic() + rng.uniform(0, pause)
        while time.monotonic() < end:
            _look(look, tally)
        tally.outcomes.append(_suffer(server, look, tally, fault, rng.uniform(SHORTEST_S, longest)))
        tally.usage.append(usage(server.pid))
    return tally


def _suffer(server: RtspServer, look: Look, tally: Tally, fault: Fault, seconds: float) -> Outcome:
    begun, over = time.monotonic(), threading.Event()

    def act() -> None:
        fault.begin(server)
        time.sleep(seconds)
        fault.end(server)
        over.set()

    actor = threading.Thread(target=act)
    actor.start()
    seen = None
    while not over.is_set():
        if _look(look, tally) is None and seen is None:
            seen = time.monotonic() - begun
    actor.join()
    ended = time.monotonic()
    fresh = _wait_for_fresh(look, tally, ended)
    return Outcome(fault, ended - begun, seen, fresh - ended)


def _wait_for_fresh(look: Look, tally: Tally, since: float) -> float:
    """Look until there is a picture that was drawn after `since`; return when."""
    while time.monotonic() < since + HOPELESS_S:
        drawn = _look(look, tally)
        if drawn is not None and drawn >= since:
            break
    return time.monotonic()


def _look(look: Look, tally: Tally) -> float | None:
    """Return when the picture was drawn, monotonic seconds; None where there is none."""
    picture = look()
    now = time.monotonic()
    if picture is None:
        return None
    tally.pictures += 1
    drawn = read(picture)
    if drawn is None:
        tally.unreadable += 1
        return None
    tally.oldest = max(tally.oldest, now - drawn / 1e3)
    return drawn / 1e3


def usage(server: int | None) -> Usage:
    """Return what this process and its children hold, without the process `server`."""
    children = [child for child in _children(os.getpid()) if child != server]
    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), *children))
    return Usage(files, _resident_mib(os.getpid()), sum(map(_resident_mib, children)))


def _children(pid: int) -> list[int]:
    """Return all that come from `pid`, however far down."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_children(child)]
    return found


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def _median(usages: Sequence[Usage]) -> Usage:
    return Usage(
        round(median(one.files for one in usages)),
        median(one.own_mib for one in usages),
        median(one.children_mib for one in usages),
    )


def rows(tally: Tally) -> list[Row]:
    """Lay the figures out."""
    table: list[Row] = []
    for fault in Fault:
        of_it = [one for one in tally.outcomes if one.fault is fault]
        seen = [one.seen for one in of_it if one.seen is not None]
        if not of_it:
            continue
        name = f"{fault.value} ({len(of_it)})"
        if seen:
            table.append((f"{name}: seen after, median and most, s", _spread(seen), f"at most {SEEN_S}"))
        if len(seen) < len(of_it):
            longest = max(one.lasted for one in of_it if one.seen is None)
            table.append(
                (f"{name}: over before it was seen", f"{len(of_it) - len(seen)}, the longest {longest:.1f} s", "")
            )
        back = [one.back for one in of_it]
        table.append((f"{name}: fresh picture after the return, s", _spread(back), f"at most {BACK_S:.0f}"))
    begun, ended = tally.ends()
    oldest = f"{tally.oldest:.2f} of {tally.pictures} pictures"
    return [
        *table,
        ("oldest picture ever given, s", oldest, f"at most {OLDEST_S:.0f}"),
        ("damaged pictures given", str(tally.unreadable), "0"),
        ("open files, first and last quarter", f"{begun.files}, {ended.files}", "equal"),
        ("memory of the parent, MiB", f"{begun.own_mib:.0f}, {ended.own_mib:.0f}", "at most 5 more"),
        ("memory of the children, MiB", f"{begun.children_mib:.0f}, {ended.children_mib:.0f}", "at most 5 more"),
    ]


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f}, {max(values):.2f}"


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with RtspServer() as real, captured(real) as eye:
        found = run_faults(real, eye, number)
    for row in rows(found):
        print(" | ".join(row))
    print(json.dumps({"passed": found.passed()}))
