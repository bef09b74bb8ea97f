"""Events to an MQTT broker, which acknowledges them, or the application behind it does."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from edge.pending import Row
from edge.sinks import mqtt_client, tls
from edge.sinks.discovery import announcement
from edge.sinks.mqtt_client import CONNECT_S
from edge.sinks.mqtt_settings import Acknowledge, MqttSettings
from edge.sinks.remote import Answer, Never, Taken, UnreachableError
from edge.wake import Wake

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

GOODBYE_S = 0.5
"""Longest wait for the last word to get out, in seconds."""

PAYLOAD_INVALID = 0x99
"""The one refusal of MQTT 5 that is the message's own fault, and not that of rights or settings."""

QUOTA = 65535
"""Messages that a broker takes before it has acknowledged any, where it says nothing else."""

ONLINE, OFFLINE = "online", "offline"


@dataclass
class _Flight:
    row: Row
    done: bool = False
    why: str = ""
    """Why it will never be taken."""


@dataclass
class _Talk:
    """What was sent and said on one connection."""

    epoch: str
    flying: deque[_Flight] = field(default_factory=deque)
    """Rows in the order they were sent."""
    waiting: deque[_Flight] = field(default_factory=deque)
    """Those for which the broker had no room yet."""
    sent: dict[int, _Flight] = field(default_factory=dict)
    """Message id to what it carries, until the broker has it."""
    answers: list[Answer] = field(default_factory=list)
    welcome: str | None = None
    """The broker's word on the connection: empty where it is welcome, None until then."""
    lost: str = ""
    """Why the connection is over."""
    quota: int = QUOTA
    """Messages that may be on their way at a time."""
    largest: int = 1 << 28
    """Bytes of the largest packet that the broker takes."""


class _Ack(msgspec.Struct):
    epoch: str
    sequence: int


class Mqtt:
    """A connection to the broker. paho runs in the thread of who calls, and keeps nothing from one to the next."""

    name = "mqtt"

    def __init__(self, settings: MqttSettings, bin_id: str) -> None:
        """Raises SinkError where the certificates can't be read."""
        self._settings, self._bin = settings, bin_id
        self._tls = tls.context(settings.tls) if settings.tls else None
        self.place = mqtt_client.place(settings)
        self.window = settings.window
        self._by_application = settings.acknowledge is Acknowledge.APPLICATION
        self.patience = settings.patience if self._by_application else None
        self._base = f"{settings.prefix}/{bin_id}"
        self._client: Client | None = None
        self._talk = _Talk("")

    def connect(self, epoch: str, ended: Callable[[], bool]) -> None:
        """Connect, say that the bin is there, and listen for acknowledgements."""
        self._talk = _Talk(epoch)
        self._client = self._make()
        try:
            self._client.connect(self._settings.host, self._settings.port, self._settings.keepalive)
        except (OSError, ValueError) as error:
            raise UnreachableError(f"{self.place} can't be reached: {mqtt_client.why(error)}") from error
        deadline = time.monotonic() + CONNECT_S
        while self._talk.welcome is None:
            if time.monotonic() > deadline or ended():
                raise UnreachableError(f"{self.place} is no MQTT broker, or a silent one: no answer in time")
            self._turn(None, 0.1)
        if self._talk.welcome:
            raise UnreachableError(f"{self.place} {mqtt_client.refusal(self._talk.welcome)}")
        self._greet()

    def send(self, row: Row, *, ahead: bool = False) -> None:
        """Hand a row to paho."""
        flight = _Flight(row)
        if not ahead:
            self._talk.flying.append(flight)
        if len(row.body) + len(self._base) + 32 > self._talk.largest:
            flight.done, flight.why = True, f"the broker takes packets of {self._talk.largest} bytes at most"
            return
        self._talk.waiting.append(flight)
        self._pump()

    def arrived(self) -> bool:
        """Say whether the broker has all. One that is slow must not get more of the same."""
        return not self._talk.sent and not self._talk.waiting

    def receive(self, wake: Wake, seconds: float) -> Sequence[Answer]:
        """Let paho work, and return what was acknowledged."""
        self._collect()
        if not self._talk.answers:
            self._turn(wake, seconds)
            self._pump()
            self._collect()
        answers, self._talk.answers = self._talk.answers, []
        return answers

    def close(self) -> None:
        """Say that the bin is away, and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(OSError, ValueError, UnreachableError):
            if client.is_connected():
                self._client = client
                last = self._announce(f"{self._base}/available", OFFLINE)
                deadline = time.monotonic() + GOODBYE_S
                while last in self._talk.sent and time.monotonic() < deadline:
                    self._turn(None, 0.05)
        self._client = None
        mqtt_client.drop(client)

    def _make(self) -> Client:
        client = mqtt_client.make(self._settings, f"binsight-{self._bin}", self._tls)
        client.max_inflight_messages_set(QUOTA)  # ours is what the broker allows
        client.will_set(f"{self._base}/available", OFFLINE, qos=1, retain=True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message
        return client

    def _greet(self) -> None:
        assert self._client is not None  # noqa: S101
        if self._by_application:
            self._client.subscribe(f"{self._base}/ack", qos=1)
        self._announce(f"{self._base}/available", ONLINE)
        if self._settings.discovery:
            self._announce(*announcement(self._settings.prefix, self._bin))

    def _announce(self, topic: str, payload: str | bytes) -> int:
        """Publish what is kept for those who come later, and return its message id."""
        number = self._publish(topic, payload, retain=True)
        self._talk.sent[number] = _Flight(Row(0, "", b""))
        return number

    def _publish(self, topic: str, payload: str | bytes, *, retain: bool = False) -> int:
        if self._client is None:
            raise UnreachableError(f"{self.place} is not connected")
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        paho = mqtt_client.load()
        if info.rc not in (0, paho.MQTT_ERR_QUEUE_SIZE):
            raise UnreachableError(f"{self.place} is gone: {self._talk.lost or paho.error_string(info.rc)}")
        return int(info.mid)

    def _pump(self) -> None:
        """Publish what waits, as far as the broker has room for it."""
        talk = self._talk
        while talk.waiting and len(talk.sent) < talk.quota:
            flight = talk.waiting.popleft()
            talk.sent[self._publish(f"{self._base}/events", flight.row.body)] = flight

    def _turn(self, wake: Wake | None, seconds: float) -> None:
        """Wait for the socket or `wake`, and let paho read, write and keep the connection alive."""
        try:
            alive = self._client is not None and mqtt_client.turn(self._client, wake, seconds)
        except (OSError, ValueError) as error:
            raise UnreachableError(f"{self.place} is gone: {error}") from error
        if not alive:
            raise UnreachableError(f"{self.place} is gone: {self._talk.lost or 'the connection is closed'}")
        if self._talk.lost:
            raise UnreachableError(f"{self.place} is gone: {self._talk.lost}")

    def _collect(self) -> None:
        """Make answers of what the broker has, in the order it was sent."""
        while self._talk.flying and self._talk.flying[0].done:
            flight = self._talk.flying.popleft()
            if flight.why:
                self._talk.answers.append(Never(flight.row, flight.why))
            elif not self._by_application:
                self._talk.answers.append(Taken(flight.row.sequence))

    # paho calls these while it holds locks of its own: they only take down what was said.

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: Any, properties: Any) -> None:
        self._talk.welcome = str(reason) if reason.is_failure else ""
        if not self._talk.welcome and properties is not None:
            self._talk.quota = getattr(properties, "ReceiveMaximum", self._talk.quota)
            self._talk.largest = getattr(properties, "MaximumPacketSize", self._talk.largest)

    def _on_disconnect(self, _client: object, _data: object, flags: Any, reason: Any, _properties: object) -> None:
        if not self._talk.welcome:  # a refusal says more than the end that follows it
            said = flags.is_disconnect_packet_from_server
            self._talk.lost = str(reason) if said else "the connection broke"

    def _on_publish(self, _client: object, _data: object, mid: int, reason: Any, _properties: object) -> None:
        flight = self._talk.sent.pop(mid, None)
        if flight is None:
            return
        if reason.is_failure and reason.value != PAYLOAD_INVALID:
            self._talk.lost = f"it takes no events of this bin: {reason}"
            return
        flight.done, flight.why = True, str(reason) if reason.is_failure else ""

    def _on_message(self, _client: object, _data: object, message: Any) -> None:
        try:
            said = msgspec.json.decode(message.payload, type=_Ack, strict=False)
        except (msgspec.DecodeError, RecursionError):
            log.warning("%s: an acknowledgement that is none; expected epoch and sequence as JSON", message.topic)
            return
        if said.epoch == self._talk.epoch:  # another's speaks of an outbox that is no more
            self._talk.answers.append(Taken(said.sequence))
