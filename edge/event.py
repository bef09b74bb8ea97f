"""What is said of a deposit: a CloudEvents 1.0 envelope, one JSON object a line."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from edge.bundle import Bundle
from edge.clock import utc_now, written
from edge.decision import Decision
from edge.drift import Drift, Index
from edge.episodes import Outcome
from edge.model import Model

DEPOSIT = "binsight.deposit"
DROPPED = "binsight.dropped"
REFUSED = "binsight.refused"
BUNDLE = "binsight.bundle"
DRIFT = "binsight.drift"
CAMERA = "binsight.camera"

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


class Change(str, Enum):
    """What became of a new bundle."""

    SWAPPED = "swapped"
    REFUSED = "refused"


@dataclass(frozen=True)
class BundleChange:
    """A new bundle serves, or does not."""

    change: Change
    serves: BundleName
    """The one that decides from now on."""
    before: BundleName | msgspec.UnsetType = msgspec.UNSET
    """The one that decided until now, where it was swapped."""
    why: str | msgspec.UnsetType = msgspec.UNSET
    """Why the new one was refused."""


@dataclass(frozen=True)
class DriftChange:
    """What has drifted is no longer the same."""

    indices: tuple[Index, ...]
    """All that is compared; what has drifted says so."""
    window: int
    """Deposits that are compared."""
    own: int
    """The bin's own reference, in deposits."""
    photos: int
    """The bundle's, in photos."""
    bundle: BundleName


@dataclass(frozen=True)
class CameraChange:
    """The camera finds itself in another state."""

    state: str
    """The worst that holds, or ok."""
    states: tuple[str, ...]
    """All that hold; ok alone where nothing is wrong."""
    before: tuple[str, ...]
    """What held until now."""
    why: str | msgspec.UnsetType = msgspec.UNSET
    """Why no frames come, where the state is lost."""


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


def draft(data: Data, type_: str, bin_id: str, now: Callable[[], datetime] = utc_now) -> Draft[Data]:
    """Put `data` into an envelope with an id and a time of its own."""
    return Draft(
        type=type_,
        id=str(uuid.uuid4()),
        source=f"/bins/{bin_id}",
        time=written(now()),
        data=data,
    )


def name_of(bundle: Bundle) -> BundleName:
    """Say which bundle that is."""
    return BundleName(bundle.manifest.name, bundle.manifest.version)


@dataclass(frozen=True)
class Reporter:
    """Turns decisions into drafts of events."""

    bin_id: str
    now: Callable[[], datetime] = utc_now
    """The wall clock, with its time zone."""

    def report(
        self, model: Model, outcome: Outcome, latency: Latency, frame_age_ms: float, file: str = ""
    ) -> Draft[Deposit]:
        """Make the next draft. `file` is the image's name, empty where the source is no folder."""
        choice, manifest, strange = model.decide(outcome), model.bundle.manifest, outcome.strangeness
        deposit = Deposit(
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
            bundle=name_of(model.bundle),
            precision=model.info.precision.value,
            backend=model.info.name,
            file=file or msgspec.UNSET,
            reason=choice.reason.value or msgspec.UNSET,
            strangeness=msgspec.UNSET if strange is None else round(strange, 6),
        )
        return draft(deposit, DEPOSIT, self.bin_id, self.now)

    def swapped(self, before: Bundle, now: Bundle) -> Draft[BundleChange]:
        """Say that another bundle decides from now on."""
        change = BundleChange(Change.SWAPPED, name_of(now), name_of(before))
        return draft(change, BUNDLE, self.bin_id, self.now)

    def refused(self, serves: Bundle, why: str) -> Draft[BundleChange]:
        """Say that a new bundle does not, and which goes on."""
        return draft(BundleChange(Change.REFUSED, name_of(serves), why=why), BUNDLE, self.bin_id, self.now)

    def drifted(self, bundle: Bundle, its: Drift) -> Draft[DriftChange]:
        """Say that something has drifted, or has come back."""
        change = DriftChange(its.indices, its.window, its.own, its.photos, name_of(bundle))
        return draft(change, DRIFT, self.bin_id, self.now)
