"""Throws as messages of a broker: each on PREFIX/BIN/trigger is one.

A message that comes late is none. The session is clean, so that the broker keeps nothing for a bin that is
away, and what it retains is left out. What is stuck on the way from the broker (a network that stalls, a daemon
that was stopped) bears no mark of its age. So the broker is asked something twice a second: it answers in the
order in which it sends, and whatever comes after an answer was sent after that question. Where the newest
question that was answered is older than 2 s, what comes may be as old, and is no throw. How long a message took
to the broker, and waited in it, its sender alone can bound, by the expiry that MQTT 5 has.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.errors import TriggerError, UsageError
from edge.sinks import mqtt_client, tls
from edge.sinks.mqtt_settings import MqttSettings
from edge.sources.base import Clock
from edge.triggers.base import STALE_S, TriggerSettings
from edge.triggers.listening import Listening

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

LONGEST_TRY_S = 30.0
"""Between tries to connect, in seconds."""

ASK_S = 0.5
"""Between two questions, in seconds."""

UNANSWERED = 16
"""Most questions that wait for an answer."""

NO_RETAINED = 2
"""Of MQTT 5's retain handling: do not send what was retained before we subscribed."""


@dataclass
class _Talk:
    """What was asked and said on one connection."""

    begun: float
    """Monotonic seconds, as all times here."""
    welcome: bool = False
    asked: dict[int, float] = field(default_factory=dict)
    """Message id of each question that is unanswered, and when it was asked."""
    newest: float = float("-inf")
    """When the newest question was asked."""
    fresh: float | None = None
    """When the newest of those was asked that are answered; None: we have not subscribed yet."""
    late: bool = False
    """Whether it was said that throws come late."""
    trouble: str = ""
    """Why the connection is of no use."""


class MqttTrigger(Listening):
    """A connection of its own, which comes back by itself."""

    def __init__(self, settings: MqttSettings, bin_id: str, hold_ms: int, clock: Clock = time.monotonic) -> None:
        """Raises SinkError where the certificates can't be read."""
        self._tls = tls.context(settings.tls) if settings.tls else None  # first: it may raise
        super().__init__(f"mqtt of {mqtt_client.place(settings)}", hold_ms, LONGEST_TRY_S, clock)
        self._settings = settings
        self._name = f"binsight-{bin_id}-trigger"
        self._topic = f"{settings.prefix}/{bin_id}/trigger"
        self._talk = _Talk(0.0)

    @property
    def healthy(self) -> bool:
        """Whether the broker would send a throw, and answers."""
        fresh = self._talk.fresh
        return self._standing.healthy and fresh is not None and self._clock() - fresh <= STALE_S

    def __enter__(self) -> MqttTrigger:
        return self

    def _attempt(self) -> None:
        self._talk = _Talk(self._clock())
        client = mqtt_client.make(self._settings, self._name, self._tls)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe, client.on_unsubscribe = self._on_subscribe, self._on_unsubscribe
        client.on_message = self._on_message
        try:
            client.connect(self._settings.host, self._settings.port, self._settings.keepalive)
            while not self._ended.is_set():
                self._ask(client)
                alive = mqtt_client.turn(client, self._wake, ASK_S / 2)
                if self._talk.trouble or not alive:
                    raise TriggerError(self._talk.trouble or "the connection is closed")
        except (OSError, ValueError) as error:
            raise TriggerError(f"it can't be reached: {mqtt_client.why(error)}") from error
        finally:
            mqtt_client.drop(client)

    def _ask(self, client: Client) -> None:
        """Subscribe first, and then ask for nothing but an answer."""
        talk, now = self._talk, self._clock()
        if talk.fresh is not None:
            self._standing.hears()
        elif now - talk.begun > mqtt_client.CONNECT_S:
            raise TriggerError("it is no MQTT broker, or a silent one: no answer in time")
        if not talk.welcome or now - talk.newest < ASK_S or len(talk.asked) >= UNANSWERED:
            return
        first = talk.newest < talk.begun
        number = self._subscribe(client) if first else client.unsubscribe(f"{self._topic}/none")[1]
        if number is not None:
            talk.asked[number] = talk.newest = now

    def _subscribe(self, client: Client) -> int | None:
        if self._settings.version != "5":
            return client.subscribe(self._topic, qos=1)[1]
        paho = mqtt_client.load()
        options = paho.SubscribeOptions(qos=1, retainHandling=NO_RETAINED)
        return client.subscribe(self._topic, options=options)[1]

    def _answered(self, number: int) -> None:
        asked = self._talk.asked.pop(number, None)
        if asked is not None:
            self._talk.fresh = max(asked, self._talk.fresh or asked)

    # paho calls these while it holds locks of its own: they only take down what was said.

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        self._talk.welcome = not reason.is_failure
        if reason.is_failure:
            self._talk.trouble = f"it {mqtt_client.refusal(str(reason))}"

    def _on_disconnect(self, _client: object, _data: object, flags: Any, reason: Any, _properties: object) -> None:
        if not self._talk.trouble:  # a refusal says more than the end that follows it
            said = flags.is_disconnect_packet_from_server
            self._talk.trouble = f"it is gone: {reason if said else 'the connection broke'}"

    def _on_subscribe(
        self, _client: object, _data: object, mid: int, reasons: list[Any], _properties: object
    ) -> None:
        if reasons and reasons[0].is_failure:
            self._talk.trouble = f"it does not let this bin read {self._topic}: {reasons[0]}"
        else:
            self._answered(mid)

    def _on_unsubscribe(
        self, _client: object, _data: object, mid: int, _reasons: object, _properties: object
    ) -> None:
        self._answered(mid)

    def _on_message(self, _client: object, _data: object, message: Any) -> None:
        if message.retain:
            return
        talk, now = self._talk, self._clock()
        if talk.fresh is not None and now - talk.fresh <= STALE_S:
            self._throws.add(now)
        elif not talk.late:
            talk.late = True
            log.warning("%s: throws came late and are none: the broker or the way to it stalls", self._topic)


def open_mqtt(settings: TriggerSettings, mqtt: MqttSettings | None, bin_id: str) -> MqttTrigger:
    """Listen to the broker of --mqtt, whether it is there yet or not. Raises UsageError, SinkError."""
    if mqtt is None:
        raise UsageError("--trigger mqtt listens to the broker of --mqtt; name one there, or take another trigger")
    trigger = MqttTrigger(mqtt, bin_id, settings.hold_ms)
    trigger.start()
    return trigger
