"""What is said of a deposit: a CloudEvents 1.0 envelope, one JSON object a line."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

import msgspec

from edge.backends import BackendInfo
from edge.bundle import Bundle
from edge.decision import Decision, Rule, decide, rule_of
from edge.episodes import Outcome

DEPOSIT = "binsight.deposit"


@dataclass(frozen=True)
class Latency:
    """How long the newest classified frame took, in milliseconds."""

    preprocess: float
    infer: float
    total: float
    """From the frame's arrival to its answer."""


@dataclass(frozen=True)
class BundleName:
    """Which bundle decided."""

    name: str
    version: str
    """64 hex digits."""


@dataclass(frozen=True)
class Deposit:
    """One decision."""

    label: str
    confidence: float
    """The label's probability, 0 to 1."""
    decision: Decision
    probabilities: dict[str, float]
    """Label to probability, in the bundle's order."""
    frame_age_ms: float
    """Milliseconds from the capture of the newest classified frame to the decision."""
    latency_ms: Latency
    frames_seen: int
    """Frames that the decision rests on."""
    bundle: BundleName
    precision: str
    backend: str
    file: str | msgspec.UnsetType = msgspec.UNSET
    """The image's name in a folder source; left out elsewhere."""
    reason: str | msgspec.UnsetType = msgspec.UNSET
    """Why it was rejected, unsure or stranger; left out where it was accepted."""
    strangeness: float | msgspec.UnsetType = msgspec.UNSET
    """How little it looks like anything trained on, on the artifact's own scale; left out where the graph does
    not answer it."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The envelope, with the CloudEvents extensions `sequence` and `epoch`."""

    specversion: str = "1.0"
    type: str = DEPOSIT
    source: str
    """/bins/<id>."""
    id: str
    """UUID: stays the same however often the event is sent."""
    time: str
    """RFC 3339, UTC."""
    sequence: str
    """Decimal, from 1, without gaps within an epoch."""
    epoch: str
    """UUID of the run."""
    datacontenttype: str = "application/json"
    data: Deposit


def to_line(event: Event) -> bytes:
    """Encode as one line of JSON with its newline."""
    return msgspec.json.encode(event) + b"\n"


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(timezone.utc)


@dataclass
class Reporter:
    """Turns decisions into events, numbered from 1 within an epoch of its own."""

    bundle: Bundle
    backend: BackendInfo
    bin_id: str
    now: Callable[[], datetime] = utc_now
    """The wall clock, with its time zone."""
    epoch: str = field(default_factory=lambda: str(uuid.uuid4()))
    _sequence: int = field(default=0, init=False)
    _rule: Rule = field(init=False)

    def __post_init__(self) -> None:
        self.serve(self.backend)

    def serve(self, backend: BackendInfo) -> None:
        """From now on another engine answers: its artifact has thresholds of its own."""
        self.backend = backend
        self._rule = rule_of(self.bundle.manifest, backend.file)

    def report(self, outcome: Outcome, latency: Latency, frame_age_ms: float, file: str = "") -> Event:
        """Make the next event. `file` is the image's name, empty where the source is no folder."""
        self._sequence += 1
        time = self.now().astimezone(timezone.utc).isoformat(timespec="milliseconds")
        return Event(
            id=str(uuid.uuid4()),
            source=f"/bins/{self.bin_id}",
            time=time.replace("+00:00", "Z"),
            sequence=str(self._sequence),
            epoch=self.epoch,
            data=self._deposit(outcome, latency, frame_age_ms, file),
        )

    def _deposit(self, outcome: Outcome, latency: Latency, frame_age_ms: float, file: str) -> Deposit:
        manifest = self.bundle.manifest
        choice = decide(outcome.probabilities, outcome.strangeness, self._rule)
        strange = outcome.strangeness
        return Deposit(
            label=manifest.labels[choice.index],
            confidence=round(choice.confidence, 6),
            decision=choice.decision,
            probabilities={
                label: round(float(score), 6)
                for label, score in zip(manifest.labels, outcome.probabilities, strict=True)
            },
            frame_age_ms=round(frame_age_ms, 3),
            latency_ms=latency,
            frames_seen=outcome.frames,
            bundle=BundleName(manifest.name, manifest.version),
            precision=self.backend.precision.value,
            backend=self.backend.name,
            file=file or msgspec.UNSET,
            reason=choice.reason.value or msgspec.UNSET,
            strangeness=msgspec.UNSET if strange is None else round(strange, 6),
        )
