"""Where decisions go: the flap, files and stdout, the outbox, and through it the network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from edge.delivery import Delivery
from edge.errors import OutboxError, SinkError, UsageError
from edge.event import Event
from edge.ledger import Ledger, Numbers, Recorder
from edge.outbox import Outbox, OutboxSettings
from edge.sinks import Rotation, Sink, open_sink
from edge.sinks.flap import Flap, open_flap
from edge.sinks.mqtt import Mqtt
from edge.sinks.mqtt_settings import MqttSettings
from edge.sinks.remote import Remote
from edge.sinks.webhook import Webhook, WebhookSettings
from edge.snapshot import Vitals, Waiting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutletSettings:
    """Every place that hears of decisions."""

    events: tuple[str, ...] = ()
    """Files and stdout, as in edge.sinks.open_sink."""
    rotation: Rotation | None = None
    """Of the files; None: they grow."""
    outbox: OutboxSettings | None = None
    """Needed where there is a broker or a webhook; alone it keeps the numbers going over restarts."""
    mqtt: MqttSettings | None = None
    webhook: WebhookSettings | None = None
    flaps: tuple[str, ...] = ()
    """As in edge.sinks.flap.open_flap."""


@dataclass(frozen=True)
class Outlets:
    """What the loop needs of them, open."""

    ledger: Ledger
    sinks: Sequence[Sink]
    flaps: Sequence[Flap]
    vitals: Callable[[], Vitals]
    """Says how outbox and network stand; for the loop's thread."""


@contextmanager
def opened(settings: OutletSettings, bin_id: str) -> Iterator[Outlets]:
    """Open all; what can't be opened ends it, what can't be reached yet does not.

    Raises SinkError, OutboxError, GpioError, UsageError.
    """
    with ExitStack() as stack:
        flaps = [stack.enter_context(closing(open_flap(target))) for target in settings.flaps]
        sinks = [stack.enter_context(open_sink(target, settings.rotation)) for target in settings.events]
        ledger, vitals = stack.enter_context(_carried(settings, bin_id))
        if isinstance(ledger, Recorder):  # there is more than these, so that they may fail
            sinks = [Spare(sink) for sink in sinks]
        yield Outlets(ledger, sinks, flaps, vitals)


@contextmanager
def _carried(settings: OutletSettings, bin_id: str) -> Iterator[tuple[Ledger, Callable[[], Vitals]]]:
    """Open the outbox and start what delivers from it."""
    remotes: list[Remote] = []
    if settings.mqtt:
        remotes.append(Mqtt(settings.mqtt, bin_id))
    if settings.webhook:
        remotes.append(Webhook(settings.webhook))
    if settings.outbox is None:
        if remotes:
            raise UsageError("a broker or a webhook needs an outbox; name a file with --outbox")
        yield Numbers(), Vitals
        return
    with Outbox.open(settings.outbox, [remote.name for remote in remotes], bin_id) as outbox:
        deliveries: list[Delivery] = []

        def woken() -> None:
            for delivery in deliveries:
                delivery.wake()

        recorder = Recorder(outbox, bin_id, woken)
        deliveries += [Delivery(remote, outbox.path, bin_id, recorder.post) for remote in remotes]
        with ExitStack() as stack:
            for delivery in deliveries:
                delivery.start()
                stack.callback(delivery.close)
            stack.callback(recorder.close)
            yield recorder, lambda: _vitals(outbox, recorder, deliveries)


def _vitals(outbox: Outbox, recorder: Recorder, deliveries: Sequence[Delivery]) -> Vitals:
    try:
        held = outbox.counters()
    except OutboxError as error:
        log.debug("%s can't be counted: %s", outbox.path, error)
        waiting = None
    else:
        waiting = Waiting(held.depth, held.bytes, held.oldest_s, held.dropped, held.dead)
    return Vitals(
        outbox=waiting,
        unwritten=recorder.unwritten,
        sinks={delivery.name: delivery.connected for delivery in deliveries},
        delivery_s=max((delivery.absent_s for delivery in deliveries), default=0.0),
    )


class Spare:
    """A sink that may fail: events are in the outbox, so that the bin goes on without it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._missed = 0

    def write(self, event: Event[Any]) -> None:
        """Write, or say that it can't be."""
        try:
            self._sink.write(event)
        except (SinkError, BrokenPipeError) as error:
            if not self._missed:
                text = str(error) if isinstance(error, SinkError) else "the reader of the events has gone"
                log.error("%s; the bin goes on with the outbox", text)
            self._missed += 1
            return
        if self._missed:
            log.warning("events are written again; %d were missed", self._missed)
            self._missed = 0

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()

    def __enter__(self) -> Spare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
