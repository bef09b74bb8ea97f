"""paho's client for our broker, run by the thread that owns it: no second thread, no lock order."""

from __future__ import annotations

import select
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge.sinks import tls
from edge.sinks.mqtt_settings import MqttSettings
from edge.wake import Wake

if TYPE_CHECKING:
    from paho.mqtt.client import Client

CONNECT_S = 5.0
"""Longest wait for a connection, and as long again for the broker's word, in seconds."""


def place(settings: MqttSettings) -> str:
    """Return the broker's address as it may be shown."""
    return f"{'mqtts' if settings.tls else 'mqtt'}://{settings.host}:{settings.port}"


def make(settings: MqttSettings, client_id: str, context: ssl.SSLContext | None) -> Client:
    """Return a client that is not connected yet. The broker keeps nothing for it between connections."""
    paho = load()
    client: Client = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if settings.version == "5" else paho.MQTTv311,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_S
    if settings.user is not None:
        client.username_pw_set(settings.user, settings.password)
    if context is not None:
        client.tls_set_context(context)
    return client


def why(error: OSError | ValueError) -> str:
    """Say in words why a connection could not be made."""
    return tls.why(error) if isinstance(error, OSError) else str(error)


def refusal(word: str) -> str:
    """Say what a broker's word means that is no welcome, and how to mend it."""
    return f"refuses this bin: {word}; see --mqtt-user, --mqtt-password-file and --mqtt-version"


def turn(client: Client, wake: Wake | None, seconds: float) -> bool:
    """Wait for the socket or `wake`, and let paho read, write and keep the connection alive.

    Return False where there is no connection any more. Raises OSError, ValueError.
    """
    sock = client.socket()
    if sock is None:
        return False
    buffered = isinstance(sock, ssl.SSLSocket) and sock.pending()
    ears: list[Any] = [sock] if wake is None else [sock, wake]
    heard, free, _ = select.select(
        ears, [sock] if client.want_write() else [], [], 0 if buffered else min(seconds, 1.0)
    )
    if sock in heard or buffered:
        client.loop_read()
    if free:
        client.loop_write()
    client.loop_misc()
    return True


def drop(client: Client) -> None:
    """Disconnect, whatever state the connection is in."""
    client.on_disconnect = None
    with suppress(OSError, ValueError):
        client.disconnect()  # takes the last will back
    sock = client.socket()
    if sock is not None:
        sock.close()


def load() -> Any:
    """Return paho, which takes its time to import."""
    import paho.mqtt.client as paho  # noqa: PLC0415

    return paho
