"""A snapshot: all that a bin tells of itself at one moment."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from edge.drift import Drift
from edge.sources.base import Counts

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
"""Upper ends of a histogram's buckets, in seconds; one without an end follows."""


class Part(str, Enum):
    """What the daemon is at."""

    START = "start"
    """Loading and proving the bundle; opening camera and engine."""
    CAMERA = "camera"
    """Waiting for a frame."""
    INFERENCE = "inference"
    """Waiting for the engine."""
    OUTBOX = "outbox"
    """Waiting for the disk."""
    LOOP = "loop"
    """Everything else."""


@dataclass(frozen=True)
class Served:
    """The bundle that answers, and what of it."""

    name: str
    version: str
    """64 hex digits."""
    precision: str
    backend: str
    """As in --backend."""
    provider: str
    """The engine's own name for what executes the graph."""
    file: str
    """The graph's name in the bundle."""
    verdict: str
    """Of parity: PASS, FAIL or INCONCLUSIVE."""
    judged_on: str
    """The backend that the verdict speaks of."""
    images: int
    """Photos that it rests on."""
    agreement: float
    """Share of them with PyTorch's answer, 0 to 1."""
    accuracy: float
    """Share of them answered right, 0 to 1."""


@dataclass(frozen=True)
class Waiting:
    """What an outbox holds."""

    depth: int
    """Events that wait."""
    bytes: int
    oldest_s: float
    """How long the oldest has waited, in seconds."""
    dropped: int
    """Events that the bound let go."""
    refused: int
    """Events that a sink will never take."""


@dataclass(frozen=True)
class Vitals:
    """What the loop looks up about once a second, since it costs more than a glance."""

    counts: Counts = field(default_factory=Counts)
    """Of the source."""
    broken: int = 0
    """Pictures that could not be decoded."""
    outdated: int = 0
    """Frames that were too old to decide on."""
    outbox: Waiting | None = None
    """None: there is no outbox."""
    unwritten: int = 0
    """Decisions that wait in memory, since the disk takes none."""
    sinks: Mapping[str, bool] = field(default_factory=dict)
    """Name of a remote sink to whether it is connected; `trigger`: whether a throw would be heard."""
    delivery_s: float = 0.0
    """Since the one of them that is slowest was last seen at work; what waits on purpose is at work."""


@dataclass(frozen=True)
class Camera:
    """What the camera says of itself."""

    state: str = ""
    """The main one; empty: nobody looks."""
    states: tuple[str, ...] = ()
    """All that hold."""
    since: str = ""
    """RFC 3339, UTC."""


@dataclass(frozen=True)
class Shown:
    """A decision as the page shows it."""

    id: str
    """The event's; also its thumbnail's name."""
    time: str
    """RFC 3339, UTC."""
    label: str
    confidence: float
    """0 to 1."""
    decision: str
    """accepted or rejected."""
    reason: str
    """Why it was rejected; empty where it was accepted."""
    probabilities: tuple[tuple[str, float], ...]
    """The likeliest labels and their probabilities, in falling order."""
    frame_age_ms: float
    """From the capture of the newest classified frame to the decision."""
    total_ms: float
    """From that frame's arrival to its answer."""
    frames: int
    """That the decision rests on."""
    file: str
    """The image's name in a folder source; empty elsewhere."""


@dataclass(frozen=True)
class Durations:
    """How long one step took."""

    counts: tuple[int, ...]
    """In each bucket of BOUNDS_S and beyond."""
    sum_s: float
    recent_ms: tuple[float, ...]
    """The newest, oldest first."""

    @property
    def count(self) -> int:
        """How often the step was taken."""
        return sum(self.counts)

    def percentile(self, share: float) -> float | None:
        """Return a percentile of the newest, in milliseconds; None where there are none."""
        ordered = sorted(self.recent_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


@dataclass(frozen=True)
class Snapshot:
    """One moment."""

    bin_id: str
    uptime_s: float
    running_s: float
    """Since all was open and the first frame was waited for; 0: that is still to come."""
    frames: int
    fps: float
    """Frames a second, over the newest few dozen."""
    age_s: float | None
    """Since the capture of the newest frame; None: there was none."""
    part: Part
    part_s: float
    """How long it has been at that."""
    unwritten_s: float
    """How long the disk has refused decisions; 0: it takes them."""
    episode: str
    """Where the deposit in front of the camera stands."""
    gap: str
    """Why no frames come, as a clause; empty: they come."""
    camera: Camera
    vitals: Vitals
    """As of `vitals_s` ago."""
    vitals_s: float
    served: Served | None
    """None: no bundle is loaded yet."""
    swaps: int
    """Times that another bundle or engine took over."""
    refusals: int
    """Times that a new bundle was refused."""
    refused: str
    """Why, of the newest; empty: none was."""
    drift: Drift
    durations: Mapping[str, Durations]
    """Of each step of edge.summary.STEPS."""
    decided: Mapping[tuple[str, str], int]
    """(label, accepted or rejected) to how often."""
    reasons: Mapping[str, int]
    """Why it was rejected, to how often."""
    decisions: tuple[Shown, ...]
    """The newest first."""

    @property
    def drops(self) -> dict[str, int]:
        """Frames that nothing was decided on, by cause."""
        return {
            "skipped": self.vitals.counts.skipped,
            "broken": self.vitals.broken,
            "outdated": self.vitals.outdated,
        }


def bucket(seconds: float) -> int:
    """Return the index of the bucket that a duration falls into."""
    return bisect_left(BOUNDS_S, seconds)
