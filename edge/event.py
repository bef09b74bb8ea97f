"""What is said of a deposit: a CloudEvents 1.0 envelope, one JSON object a line."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

import msgspec

from edge.backends import BackendInfo
from edge.bundle import Bundle
from edge.decision import Decision, Rule, decide, rule_of
from edge.episodes import Outcome

DEPOSIT = "binsight.deposit"
DROPPED = "binsight.dropped"
REFUSED = "binsight.refused"

Data = TypeVar("Data")


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


@dataclass(frozen=True)
class Dropped:
    """Events that nobody will get."""

    reason: str
    """`full`: the bounded outbox let its oldest go; `disk`: they could not be written and have no numbers."""
    count: int
    """How many events."""
    ranges: tuple[tuple[int, int], ...] = ()
    """First and last sequence number of each run of them, in this epoch."""


@dataclass(frozen=True)
class Refused:
    """Events that one sink did not take and never will."""

    sink: str
    count: int
    """How many since this was last said."""
    last: int
    """Sequence number of the newest of them."""
    why: str
    """What was said of the newest of them."""


@dataclass(frozen=True, kw_only=True)
class Draft(Generic[Data]):
    """The envelope of an event that has no number yet."""

    specversion: str = "1.0"
    type: str = DEPOSIT
    source: str
    """/bins/<id>."""
    id: str
    """UUID: stays the same however often the event is sent."""
    time: str
    """RFC 3339, UTC."""
    datacontenttype: str = "application/json"
    data: Data

    def numbered(self, sequence: int, epoch: str) -> Event[Data]:
        """Make it an event."""
        fields = {name: getattr(self, name) for name in Draft.__dataclass_fields__}
        return Event(**fields, sequence=str(sequence), epoch=epoch)


@dataclass(frozen=True, kw_only=True)
class Event(Draft[Data]):
    """A draft with the CloudEvents extensions `sequence` and `epoch`."""

    sequence: str
    """Decimal, from 1, without gaps within an epoch."""
    epoch: str
    """UUID: of the outbox, or of the run where there is none."""


def to_line(event: Event[Any]) -> bytes:
    """Encode as one line of JSON with its newline."""
    return msgspec.json.encode(event) + b"\n"


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(timezone.utc)


def draft(data: Data, type_: str, bin_id: str, now: Callable[[], datetime] = utc_now) -> Draft[Data]:
    """Put `data` into an envelope with an id and a time of its own."""
    time = now().astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return Draft(
        type=type_,
        id=str(uuid.uuid4()),
        source=f"/bins/{bin_id}",
        time=time.replace("+00:00", "Z"),
        data=data,
    )


@dataclass
class Reporter:
    """Turns decisions into drafts of events."""

    bundle: Bundle
    backend: BackendInfo
    bin_id: str
    now: Callable[[], datetime] = utc_now
    """The wall clock, with its time zone."""
    _rule: Rule = field(init=False)

    def __post_init__(self) -> None:
        self.serve(self.backend)

    def serve(self, backend: BackendInfo) -> None:
        """From now on another engine answers: its artifact has thresholds of its own."""
        self.backend = backend
        self._rule = rule_of(self.bundle.manifest, backend.file)

    def report(self, outcome: Outcome, latency: Latency, frame_age_ms: float, file: str = "") -> Draft[Deposit]:
        """Make the next draft. `file` is the image's name, empty where the source is no folder."""
        return draft(self._deposit(outcome, latency, frame_age_ms, file), DEPOSIT, self.bin_id, self.now)

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
