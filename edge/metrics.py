"""Metrics: the board as Prometheus reads it, in base units, at most 200 series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.health import OK, State
from edge.pulse import standstills
from edge.snapshot import BOUNDS_S, Part, Snapshot
from edge.thermal import Thermal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

CAMERA_STATES = (OK, *(state.value for state in State))
"""Told of even where they do not hold: a series that comes and goes is hard to alert on."""

Key = TypeVar("Key", bound="tuple[str, ...]")

STILL = (Part.CAMERA, Part.INFERENCE, Part.OUTBOX, Part.LOOP)


class Metrics(Collector):
    """What `read` and `thermal` say, asked anew at each scrape."""

    def __init__(self, read: Callable[[], Snapshot], thermal: Callable[[], Thermal]) -> None:
        self._read, self._thermal = read, thermal
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """As prometheus_client asks for it."""
        now = self._read()
        yield from _facts(now)
        yield from _frames(now)
        yield from _decisions(now)
        yield from _events(now)
        yield from _trouble(now)
        yield from _heat(self._thermal())

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead: the registry would read the board for it."""
        return ()


def _facts(now: Snapshot) -> Iterator[Metric]:
    yield _gauge("info", "The bin.", {"bin": now.bin_id})
    yield GaugeMetricFamily("binsight_uptime_seconds", "Since the daemon was started.", now.uptime_s)
    if now.served:
        yield _gauge(
            "bundle_info",
            "The bundle that answers, and the verdict of its parity.",
            {
                name: getattr(now.served, name)
                for name in ("name", "version", "precision", "backend", "provider", "verdict")
            },
        )
    yield _count("takeovers", "Times that another bundle or engine took over.", now.swaps)
    yield _count("bundles_refused", "Times that a new bundle was refused.", now.refusals)


def _frames(now: Snapshot) -> Iterator[Metric]:
    yield _count("frames", "Frames that were looked at.", now.frames)
    yield _counts("frames_dropped", "Frames that nothing was decided on.", ("cause",), _keyed(now.drops))
    if now.age_s is not None:
        yield GaugeMetricFamily("binsight_frame_age_seconds", "Since the newest frame was captured.", now.age_s)
    yield _count("camera_reopened", "Times that the camera was opened again.", now.vitals.counts.reopened)
    durations = HistogramMetricFamily("binsight_step_duration_seconds", "How long a step took.", labels=("step",))
    for step, taken in now.durations.items():
        total, buckets = 0, []
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), taken.counts, strict=True):
            total += count
            buckets.append((bound, total))
        durations.add_metric((step,), buckets, taken.sum_s)
    yield durations


def _decisions(now: Snapshot) -> Iterator[Metric]:
    yield _counts("decisions", "Deposits that were decided on.", ("label", "decision"), now.decided)
    rejected = {"unsure": 0, "stranger": 0, **now.reasons}
    yield _counts("rejections", "Deposits that were rejected, by reason.", ("reason",), _keyed(rejected))


def _events(now: Snapshot) -> Iterator[Metric]:
    vitals = now.vitals
    yield GaugeMetricFamily("binsight_unwritten_events", "Events that the disk does not take.", vitals.unwritten)
    if vitals.sinks:
        connected = GaugeMetricFamily(
            "binsight_sink_connected", "Whether a sink is connected: 1, or 0.", labels=("sink",)
        )
        for name, is_there in vitals.sinks.items():
            connected.add_metric((name,), float(is_there))
        yield connected
    if vitals.outbox is None:
        return
    age = vitals.outbox.oldest_s + (now.vitals_s if vitals.outbox.depth else 0.0)
    yield GaugeMetricFamily("binsight_outbox_events", "Events that wait.", vitals.outbox.depth)
    yield GaugeMetricFamily("binsight_outbox_bytes", "What they take.", vitals.outbox.bytes)
    yield GaugeMetricFamily("binsight_outbox_age_seconds", "How long the oldest has waited.", age)
    lost = {"dropped": vitals.outbox.dropped, "refused": vitals.outbox.refused}
    yield _counts("events_lost", "Events that nobody gets.", ("cause",), _keyed(lost))


def _trouble(now: Snapshot) -> Iterator[Metric]:
    still = {one.part for one in standstills(now)}
    stopped = GaugeMetricFamily("binsight_standstill", "Whether a part stands still: 1, or 0.", labels=("part",))
    for part in STILL:
        stopped.add_metric((part.value,), float(part in still))
    yield stopped
    if now.camera.state:
        states = GaugeMetricFamily(
            "binsight_camera_state", "Whether the camera finds itself so: 1, or 0.", labels=("state",)
        )
        for state in dict.fromkeys((*CAMERA_STATES, *now.camera.states)):
            states.add_metric((state,), float(state in now.camera.states))
        yield states
    if now.drift.indices:
        names = ("of", "against")
        index = GaugeMetricFamily("binsight_drift_index", "Population stability index.", labels=names)
        drifted = GaugeMetricFamily("binsight_drifted", "Whether it is flagged: 1, or 0.", labels=names)
        for one in now.drift.indices:
            index.add_metric((one.of, one.against.value), one.index)
            drifted.add_metric((one.of, one.against.value), float(one.drifted))
        yield index
        yield drifted


def _heat(thermal: Thermal) -> Iterator[Metric]:
    if thermal.celsius:
        zones = GaugeMetricFamily("binsight_temperature_celsius", "Of the board.", labels=("zone",))
        for zone, celsius in thermal.celsius.items():
            zones.add_metric((zone,), celsius)
        yield zones
        slowed = len(thermal.throttled)
        yield GaugeMetricFamily("binsight_throttled", "Devices that are slowed down for heat or power.", slowed)
    if thermal.events:
        yield _counts("throttle_events", "Times that the board throttled.", ("source",), _keyed(thermal.events))


def _gauge(name: str, text: str, labels: Mapping[str, str]) -> Metric:
    made = GaugeMetricFamily(f"binsight_{name}", text, labels=[*labels])
    made.add_metric([*labels.values()], 1.0)
    return made


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"binsight_{name}", text, value)


def _keyed(values: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(name,): value for name, value in values.items()}


def _counts(name: str, text: str, labels: tuple[str, ...], values: Mapping[Key, int]) -> Metric:
    made = CounterMetricFamily(f"binsight_{name}", text, labels=labels)
    for key, value in values.items():
        made.add_metric(key, value)
    return made
