"""What the page's script gets: a snapshot in the terms of who looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.drift import Drift
from edge.pulse import Standstill, is_ready, standstills
from edge.snapshot import Camera, Part, Served, Shown, Snapshot, Waiting
from edge.thermal import Thermal

SPARKS = 120
"""Newest latencies that are drawn."""


@dataclass(frozen=True)
class Step:
    """One step of a frame's way, over the newest few hundred."""

    name: str
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class State:
    """One moment. Texts are plain, and may hold anything: the script never takes them for HTML."""

    bin_id: str
    standing: str
    """starting, waiting, working or still."""
    still: tuple[Standstill, ...]
    uptime_s: float
    frames: int
    fps: float
    age_s: float | None
    """Since the capture of the newest frame."""
    gap: str
    drops: Mapping[str, int]
    """Cause to frames that were not looked at."""
    reopened: int
    episode: str
    camera: Camera
    drift: Drift
    steps: tuple[Step, ...]
    sparks_ms: tuple[float, ...]
    """From a frame's arrival to its answer, the newest last."""
    decisions: tuple[Shown, ...]
    """The newest first."""
    accepted: int
    reasons: Mapping[str, int]
    """Why answers were rejected, to how often."""
    outbox: Waiting | None
    outbox_age_s: float
    unwritten: int
    sinks: Mapping[str, bool]
    served: Served | None
    swaps: int
    refused: str
    """Why the newest bundle that was refused was."""
    hottest: float | None
    """Of the board, in degrees Celsius."""
    throttled: tuple[str, ...]
    live: bool
    """Whether there is a live picture."""


def state_of(now: Snapshot, thermal: Thermal, live: bool) -> State:
    """Put it together."""
    still = standstills(now)
    vitals, outbox = now.vitals, now.vitals.outbox
    return State(
        bin_id=now.bin_id,
        standing=_standing(now, still),
        still=still,
        uptime_s=round(now.uptime_s),
        frames=now.frames,
        fps=round(now.fps, 1),
        age_s=None if now.age_s is None else round(now.age_s, 1),
        gap=now.gap,
        drops=now.drops,
        reopened=vitals.counts.reopened,
        episode=now.episode,
        camera=now.camera,
        drift=now.drift,
        steps=_steps(now),
        sparks_ms=tuple(round(one, 1) for one in now.durations["total"].recent_ms[-SPARKS:]),
        decisions=now.decisions,
        accepted=sum(count for (_, decision), count in now.decided.items() if decision == "accepted"),
        reasons=now.reasons,
        outbox=outbox,
        outbox_age_s=round(outbox.oldest_s + now.vitals_s, 1) if outbox and outbox.depth else 0.0,
        unwritten=vitals.unwritten,
        sinks=vitals.sinks,
        served=now.served,
        swaps=now.swaps,
        refused=now.refused,
        hottest=max(thermal.celsius.values(), default=None),
        throttled=thermal.throttled,
        live=live,
    )


def _standing(now: Snapshot, still: tuple[Standstill, ...]) -> str:
    if now.part is Part.START:
        return "starting"
    if still:
        return "still"
    return "working" if is_ready(now) else "waiting"


def _steps(now: Snapshot) -> tuple[Step, ...]:
    return tuple(
        Step(name, round(taken.percentile(0.5) or 0.0, 2), round(taken.percentile(0.99) or 0.0, 2))
        for name, taken in now.durations.items()
        if taken.recent_ms
    )
