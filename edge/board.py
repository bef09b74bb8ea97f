"""The board: where the daemon tells what it does, and page and metrics read it."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2

from edge.backends.base import BackendInfo
from edge.drift import Drift
from edge.event import Deposit, Draft
from edge.manifest import Manifest
from edge.preprocess import Pixels
from edge.snapshot import BOUNDS_S, Camera, Durations, Part, Served, Shown, Snapshot, Vitals, bucket
from edge.sources.base import Clock, Frame, Gap
from edge.summary import STEPS

DECISIONS = 20
"""Newest decisions that are kept with their thumbnails."""

BARS = 6
"""Likeliest labels that are kept of a decision."""

LABELS = 20
"""Labels that are counted apart; those that come later are counted together."""

OTHERS = "(others)"
"""What those are counted as."""

RECENT = 240
"""Newest durations of a step that are kept."""

RATE = 48
"""Newest frames that the rate speaks for."""

EACH_S = 1.0
"""Between two looks at what costs more than a glance, in seconds."""

THUMB, THUMB_QUALITY = 192, 80
"""Longest side in pixels, and quality of the JPEG."""

LIVE, LIVE_EACH_S = 640, 0.19
"""Longest side of the live picture in pixels, and seconds from one to the next: about 5 a second."""

LOOKED_S = 3.0
"""How long after somebody asked for the live picture it is still kept up, in seconds."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What the camera sees."""

    number: int
    """Of the frame."""
    pixels: Pixels
    """uint8 [height, width, 3], BGR."""


class _Timed:
    """Durations of one step."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.recent_ms: deque[float] = deque(maxlen=RECENT)

    def frozen(self) -> Durations:
        return Durations(tuple(self.counts), self.sum_s, tuple(self.recent_ms))


class Board:
    """Written by the loop's thread, read by any. What it holds is bounded; nothing in it waits for a reader."""

    def __init__(self, bin_id: str, clock: Clock = time.monotonic) -> None:
        self.bin_id = bin_id
        self._clock = clock
        self._lock = threading.Lock()
        """Held for some microseconds: while a few fields change, or are copied."""
        self._started = clock()
        self._at = (Part.START, self._started)
        self._running: float | None = None
        self._frames = 0
        self._captured: float | None = None
        self._arrivals: deque[float] = deque(maxlen=RATE)
        self._episode = self._gap = ""
        self._camera = Camera()
        self._vitals, self._vitals_at = Vitals(), float("-inf")
        self._unwritten_since: float | None = None
        self._served: Served | None = None
        self._swaps = self._refusals = 0
        self._refused = ""
        self._drift = Drift()
        self._timed = {step: _Timed() for step in STEPS}
        self._labels: set[str] = set()
        self._decided: Counter[tuple[str, str]] = Counter()
        self._reasons: Counter[str] = Counter()
        self._decisions: deque[tuple[Shown, Pixels]] = deque(maxlen=DECISIONS)
        self._looked = float("-inf")
        self._picture: Picture | None = None
        self._pictured = float("-inf")

    # What the loop tells.

    def enter(self, part: Part) -> None:
        """The daemon turns to this."""
        now = self._clock()
        if self._running is None and part is not Part.START:
            self._running = now
        self._at = (part, now)

    def frame(self, frame: Frame, state: str) -> None:
        """A frame was taken to its end. `state`: where the deposit stands now."""
        now = self._clock()
        with self._lock:
            self._frames += 1
            self._captured, self._episode, self._gap = frame.captured, state, ""
            self._arrivals.append(now)
        if now - self._looked < LOOKED_S and now - self._pictured >= LIVE_EACH_S:
            self._pictured = now
            self._picture = Picture(self._frames, _shrunk(frame.image, LIVE))

    def gap(self, gap: Gap) -> None:
        """No frame came."""
        self._gap = gap.why

    def timed(self, step: str, milliseconds: float) -> None:
        """One of edge.summary.STEPS took so long."""
        timed = self._timed[step]
        with self._lock:
            timed.counts[bucket(milliseconds / 1e3)] += 1
            timed.sum_s += milliseconds / 1e3
            timed.recent_ms.append(milliseconds)

    def decision(self, made: Draft[Deposit], picture: Pixels) -> None:
        """Something was decided on `picture`: uint8 [height, width, 3], BGR; only a small copy is kept."""
        shown, thumb = _shown(made), _shrunk(picture, THUMB)
        with self._lock:
            if len(self._labels) < LABELS:
                self._labels.add(shown.label)
            label = shown.label if shown.label in self._labels else OTHERS
            self._decided[label, shown.decision] += 1
            if shown.reason:
                self._reasons[shown.reason] += 1
            self._decisions.appendleft((shown, thumb))

    def is_due(self) -> bool:
        """Whether the loop should look at its vitals again."""
        return self._clock() - self._vitals_at >= EACH_S

    def vitals(self, vitals: Vitals) -> None:
        """What source, outbox and sinks say."""
        now = self._clock()
        with self._lock:
            if not vitals.unwritten:
                self._unwritten_since = None
            elif self._unwritten_since is None:
                self._unwritten_since = now
            self._vitals, self._vitals_at = vitals, now

    def camera(self, state: str, states: Sequence[str] = (), since: str = "") -> None:
        """The camera's state changed."""
        self._camera = Camera(state, tuple(states) or (state,), since)

    def serves(self, served: Served) -> None:
        """This bundle and engine answer from now on."""
        with self._lock:
            self._swaps += self._served is not None
            self._served = served

    def refused(self, why: str) -> None:
        """A new bundle was not taken."""
        with self._lock:
            self._refusals += 1
            self._refused = why

    def drift(self, its: Drift) -> None:
        """How the newest deposits compare."""
        self._drift = its

    # What others read.

    def snapshot(self) -> Snapshot:
        """Say where all stands."""
        now = self._clock()
        part, since = self._at
        with self._lock:
            return Snapshot(
                bin_id=self.bin_id,
                uptime_s=now - self._started,
                running_s=0.0 if self._running is None else now - self._running,
                frames=self._frames,
                fps=self._fps(now),
                age_s=None if self._captured is None else max(0.0, now - self._captured),
                part=part,
                part_s=max(0.0, now - since),
                unwritten_s=0.0 if self._unwritten_since is None else now - self._unwritten_since,
                episode=self._episode,
                gap=self._gap,
                camera=self._camera,
                vitals=self._vitals,
                vitals_s=max(0.0, now - max(self._vitals_at, self._started)),
                served=self._served,
                swaps=self._swaps,
                refusals=self._refusals,
                refused=self._refused,
                drift=self._drift,
                durations={step: timed.frozen() for step, timed in self._timed.items()},
                decided=dict(self._decided),
                reasons=dict(self._reasons),
                decisions=tuple(shown for shown, _ in self._decisions),
            )

    def thumbnail(self, name: str) -> bytes | None:
        """Return the JPEG of the decision with this id; None where it is not kept."""
        with self._lock:
            thumb = next((thumb for shown, thumb in self._decisions if shown.id == name), None)
        return None if thumb is None else jpeg(thumb, THUMB_QUALITY)  # by who asks: most are never asked for

    def picture(self) -> Picture | None:
        """Return what the camera sees, and have it kept up for a while; None: there is nothing yet."""
        self._looked = self._clock()
        return self._picture

    def _fps(self, now: float) -> float:
        if len(self._arrivals) < 2 or now <= self._arrivals[0]:
            return 0.0
        return (len(self._arrivals) - 1) / (now - self._arrivals[0])


def served(manifest: Manifest, info: BackendInfo) -> Served:
    """Say what answers."""
    artifact = manifest.artifact_of(info.file)
    return Served(
        name=manifest.name,
        version=manifest.version,
        precision=info.precision.value,
        backend=info.name,
        provider=info.provider,
        file=info.file,
        verdict=artifact.verdict.value,
        judged_on=artifact.parity.backend,
        images=artifact.parity.images,
        agreement=artifact.parity.agreement,
        accuracy=artifact.parity.accuracy,
    )


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode uint8 [height, width, 3] BGR."""
    return cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def _shown(made: Draft[Deposit]) -> Shown:
    deposit = made.data
    likeliest = sorted(deposit.probabilities.items(), key=lambda one: one[1], reverse=True)
    return Shown(
        id=made.id,
        time=made.time,
        label=deposit.label,
        confidence=deposit.confidence,
        decision=deposit.decision.value,
        reason=deposit.reason or "",
        probabilities=tuple(likeliest[:BARS]),
        frame_age_ms=deposit.frame_age_ms,
        total_ms=deposit.latency_ms.total,
        frames=deposit.frames_seen,
        file=deposit.file or "",
    )


def _shrunk(pixels: Pixels, longest: int) -> Pixels:
    """Return a copy whose longer side is at most so long.

    Twice that size by leaving pixels out, and the rest by averaging: all by averaging costs twenty times as much.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale < 0.5:
        pixels = cast(Pixels, cv2.resize(pixels, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_NEAREST))
    return cast(Pixels, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).copy())
