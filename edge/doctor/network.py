"""Broker and webhook: reached, over TLS where that is asked, and welcome there. Nothing is published."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack

from edge.address import parse
from edge.doctor.finding import Finding, State, fail, ok, told
from edge.errors import SinkError
from edge.outlets import OutletSettings
from edge.sinks import mqtt_client, tls
from edge.sinks.mqtt_client import CONNECT_S
from edge.sinks.mqtt_settings import MqttSettings
from edge.sinks.webhook import PORTS, WebhookSettings

KEEPALIVE = 15


def look(outlets: OutletSettings) -> list[Finding]:
    """Connect to every place in the network that the bin is told to send events to."""
    found = []
    if outlets.mqtt:
        found.append(_broker(outlets.mqtt))
    if outlets.webhook:
        found.append(_webhook(outlets.webhook))
    return found


def _broker(settings: MqttSettings) -> Finding:
    place = mqtt_client.place(settings)
    try:
        context = tls.context(settings.tls) if settings.tls else None
    except SinkError as error:
        return told("broker", State.FAIL, error, "name the right files in the configuration")
    words: list[str] = []
    # A name of its own: the broker would end the connection of a bin of the same name.
    client = mqtt_client.make(settings, f"binsight-doctor-{os.getpid()}", context)
    client.on_connect = lambda _c, _d, _f, reason, _p: words.append(str(reason) if reason.is_failure else "")
    try:
        client.connect(settings.host, settings.port, KEEPALIVE)
        until = time.monotonic() + CONNECT_S
        while not words and time.monotonic() < until and mqtt_client.turn(client, None, 0.1):
            pass
    except (OSError, ValueError) as error:
        why = f"{place} can't be reached: {mqtt_client.why(error)}"
        return fail("broker", why, "see that host, port and certificates are right, and that it runs")
    finally:
        mqtt_client.drop(client)
    if not words:
        return fail("broker", f"{place} is no MQTT broker, or a silent one", "see that host and port are right")
    if words[0]:
        return fail(
            "broker", f"{place} refuses this bin: {words[0]}", "see mqtt-user, mqtt-password-file, mqtt-version"
        )
    how = f", TLS, {_known(settings)}" if settings.tls else f", {_known(settings)}, not encrypted"
    return ok("broker", f"{place} takes this bin{how}")


def _known(settings: MqttSettings) -> str:
    if settings.user is not None:
        return "by user and password"
    return "by certificate" if settings.tls and settings.tls.certificate else "without credentials"


def _webhook(settings: WebhookSettings) -> Finding:
    try:
        address = parse(settings.url, PORTS, "--webhook")
        context = tls.context(settings.tls) if address.scheme == "https" else None
    except SinkError as error:
        return told("webhook", State.FAIL, error, "name the right files in the configuration")
    try:
        with ExitStack() as stack:
            plain = stack.enter_context(socket.create_connection((address.host, address.port), CONNECT_S))
            if context:
                stack.enter_context(context.wrap_socket(plain, server_hostname=address.host))
    except OSError as error:
        why = f"{address.shown} can't be reached: {tls.why(error)}"
        return fail("webhook", why, "see that host, port and certificates are right, and that it runs")
    return ok(
        "webhook", f"{address.shown} is there{', TLS' if context else ', not encrypted'}; nothing was posted"
    )
