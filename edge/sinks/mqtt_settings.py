"""Which broker, and how it is spoken to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from edge import choices
from edge.address import parse
from edge.errors import SinkError
from edge.sinks.tls import TlsFiles

PORTS = {"mqtt": 1883, "mqtts": 8883}


Acknowledge = choices.Acknowledge


@dataclass(frozen=True)
class MqttSettings:
    """One broker."""

    host: str
    port: int = 1883
    tls: TlsFiles | None = None
    """None: no TLS."""
    user: str | None = None
    """None: the broker takes anybody, or knows us by certificate."""
    password: str | None = field(default=None, repr=False)
    prefix: str = "binsight"
    """Topics begin with it; no wildcards, no slash at its ends."""
    version: str = "5"
    """5 or 3.1.1."""
    acknowledge: Acknowledge = Acknowledge.BROKER
    discovery: bool = False
    """Whether Home Assistant is told of the bin."""
    keepalive: int = 15
    """Seconds; a broker that is silent for twice as long is given up."""
    window: int = 64
    """Most events that are sent and not acknowledged."""
    patience: float = 20.0
    """Seconds that the application has to acknowledge before events are sent again; doubles up to 300."""


def read_url(url: str, files: TlsFiles, user: str | None, password: str | None, prefix: str) -> MqttSettings:
    """Make settings of mqtt://[USER:PASSWORD@]HOST[:PORT], mqtts:// with TLS.

    `user` and `password` go before those in the URL. Raises SinkError, which shows none of them.
    """
    address = parse(url, PORTS, "--mqtt")
    if address.target not in ("/", ""):
        raise SinkError(f"--mqtt is {address.shown}; expected no path: topics begin with --mqtt-prefix")
    if not re.fullmatch(r"[^+#\x00/]+(/[^+#\x00/]+)*", prefix):
        raise SinkError(f"--mqtt-prefix is {prefix!r}; expected words with slashes between them, without + and #")
    encrypted = address.scheme == "mqtts"
    if not encrypted and (files.ca or files.certificate or files.key):
        raise SinkError(f"certificates are of no use to {address.shown}; expected mqtts://")
    return MqttSettings(
        host=address.host,
        port=address.port,
        tls=files if encrypted else None,
        user=address.user if user is None else user,
        password=address.password if password is None else password,
        prefix=prefix,
    )
