"""The pulse: whether a bin still gets on, as opposed to whether it still runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge.snapshot import Part, Snapshot


@dataclass(frozen=True)
class Limits:
    """How long each may take before it stands still, in seconds."""

    frame: float = 10.0
    """From the capture of the newest frame."""
    camera: float = 5.0
    """One read: a camera that is silent says so within half a second."""
    inference: float = 5.0
    """One inference."""
    outbox: float = 10.0
    """One commit, or a disk that refuses."""
    delivery: float = 300.0
    """One call of whoever delivers. A name server that is away takes up to 180: 5, twice each of 3 servers, for 6
    endings of a name."""
    loop: float = 5.0
    """Anything else."""


DEFAULT = Limits()


@dataclass(frozen=True)
class Standstill:
    """A part that does not get on."""

    part: Part
    seconds: float
    """For how long."""
    why: str
    """One clause."""
    outside: bool = False
    """Whether the cause lies outside of the daemon, which does what it can: a restart would mend nothing."""


def standstills(now: Snapshot, limits: Limits = DEFAULT) -> tuple[Standstill, ...]:
    """Say what stands still: nothing where the bin gets on, or still starts.

    A daemon that loads and proves its bundle has nothing to move yet: whoever started it bounds that time.
    """
    return () if now.part is Part.START else tuple(_find(now, limits))


def is_ready(now: Snapshot, limits: Limits = DEFAULT) -> bool:
    """Whether the next deposit would be decided on: frames come, and nothing stands still."""
    return now.frames > 0 and not now.gap and not standstills(now, limits)


def _find(now: Snapshot, limits: Limits) -> Iterator[Standstill]:
    bounds = {
        Part.CAMERA: (limits.camera, "the camera's reader does not answer"),
        Part.INFERENCE: (limits.inference, "the engine does not answer"),
        Part.OUTBOX: (limits.outbox, "the disk does not answer"),
        Part.LOOP: (limits.loop, "the loop does not get on"),
    }
    bound, why = bounds[now.part]
    if now.part_s > bound:
        yield Standstill(now.part, now.part_s, why)
    age = now.running_s if now.age_s is None else now.age_s
    if age > limits.frame:
        yield Standstill(Part.CAMERA, age, now.gap or "no frame comes", outside=True)
    if now.unwritten_s > limits.outbox:
        yield Standstill(Part.OUTBOX, now.unwritten_s, "the disk takes no events", outside=True)
    if now.vitals.delivery_s > limits.delivery:
        yield Standstill(Part.OUTBOX, now.vitals.delivery_s, "who delivers events does not get on")
