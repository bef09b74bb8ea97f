"""Where decisions go, as options on a command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.choices import MQTT_VERSIONS, Acknowledge, Policy
from edge.cli.config import section
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.outbox import OutboxSettings
    from edge.outlets import OutletSettings
    from edge.sinks.mqtt_settings import MqttSettings
    from edge.sinks.webhook import WebhookSettings

MEGABYTE = 1 << 20

FILE = click.Path(path_type=Path, dir_okay=False)

FILES = (
    click.option(
        "--events", type=click.Path(allow_dash=True), metavar="FILE|-",
        help="Append events here; - is stdout. [default: - alone]",
    ),
    click.option("--events-rotate", type=click.IntRange(1), metavar="MB", help="Begin a new file at this size."),
    click.option("--events-keep", type=click.IntRange(1), default=5, show_default=True, help="Older files kept."),
)  # fmt: skip

MQTT = (
    click.option("--mqtt", metavar="URL", help="mqtt://HOST[:PORT], or mqtts:// with TLS."),
    click.option("--mqtt-user", metavar="NAME"),
    click.option("--mqtt-password-file", type=FILE, help="Holds the password and nothing else."),
    click.option("--mqtt-ca", type=FILE, help="Certificates to trust. [default: the system's]"),
    click.option("--mqtt-cert", type=FILE, help="Certificate of this bin."),
    click.option("--mqtt-key", type=FILE, help="Its key. [default: in the same file]"),
    click.option("--mqtt-prefix", default="binsight", show_default=True, help="Topics begin with PREFIX/BIN."),
    click.option("--mqtt-version", type=click.Choice(MQTT_VERSIONS), default=MQTT_VERSIONS[0], show_default=True),
    click.option("--mqtt-discovery", is_flag=True, help="Tell Home Assistant of the bin."),
    click.option(
        "--ack", type=click.Choice([kind.value for kind in Acknowledge]), default=Acknowledge.BROKER.value,
        show_default=True, help="Whose word lets an event of --mqtt go.",
    ),
)  # fmt: skip

WEBHOOK = (
    click.option("--webhook", metavar="URL", help="POST each event there."),
    click.option("--webhook-token-file", type=FILE, help="Holds a bearer token and nothing else."),
    click.option("--webhook-ca", type=FILE, help="Certificates to trust. [default: the system's]"),
)

OUTBOX = (
    click.option("--outbox", type=FILE, help="Where events wait for --mqtt and --webhook. [default: by bin]"),
    click.option("--outbox-limit", type=click.IntRange(1), default=64, show_default=True, metavar="MB"),
    click.option(
        "--outbox-full", type=click.Choice([policy.value for policy in Policy]),
        default=Policy.DROP_OLDEST.value, show_default=True, help="What then happens.",
    ),
)  # fmt: skip

FLAP = (
    click.option(
        "--flap", "flaps", multiple=True, metavar="COMMAND|gpio://CHIP/LINE",
        help="Moved on each decision; {label} and {decision} stand for what was decided.",
    ),
)  # fmt: skip


def outlet_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of these to a command, which gives what it gets to `take_outlets`."""
    function = section("Flap", *FLAP)(function)
    function = section("Outbox", *OUTBOX)(function)
    function = section("Webhook", *WEBHOOK)(function)
    function = section("MQTT", *MQTT)(function)
    return section("Events", *FILES)(function)


def take_outlets(values: dict[str, Any], bin_id: str, as_json: bool) -> OutletSettings:
    """Take these options out of a command's `values`. Raises UsageError, SinkError."""
    from edge.outlets import OutletSettings  # noqa: PLC0415  heavy
    from edge.sinks import Rotation  # noqa: PLC0415  heavy

    events, rotate, keep = (values.pop(name) for name in ("events", "events_rotate", "events_keep"))
    if events == "-" and as_json:
        raise UsageError("--events - and --json both write to stdout; name a file for the events")
    if rotate and events in (None, "-"):
        raise UsageError("--events-rotate puts files by, and there is none; name one with --events")
    mqtt, webhook = _take_mqtt(values), _take_webhook(values)
    outbox = _take_outbox(values, bin_id, needed=bool(mqtt or webhook))
    if events is None and not (as_json or mqtt or webhook):
        events = "-"
    return OutletSettings(
        events=(events,) if events else (),
        rotation=Rotation(rotate * MEGABYTE, keep) if rotate else None,
        outbox=outbox,
        mqtt=mqtt,
        webhook=webhook,
        flaps=values.pop("flaps"),
    )


def _take_mqtt(values: dict[str, Any]) -> MqttSettings | None:
    url, acknowledge = values.pop("mqtt"), Acknowledge(values.pop("ack"))
    own = {name: values.pop(name) for name in [*values] if name.startswith("mqtt_")}
    if url is None:
        return None
    from edge.sinks.mqtt_settings import read_url  # noqa: PLC0415  heavy
    from edge.sinks.tls import TlsFiles  # noqa: PLC0415  heavy

    settings = read_url(
        url,
        TlsFiles(own["mqtt_ca"], own["mqtt_cert"], own["mqtt_key"]),
        own["mqtt_user"],
        _secret(own["mqtt_password_file"], "--mqtt-password-file"),
        own["mqtt_prefix"],
    )
    return replace(settings, version=own["mqtt_version"], discovery=own["mqtt_discovery"], acknowledge=acknowledge)


def _take_webhook(values: dict[str, Any]) -> WebhookSettings | None:
    url, token, ca = (values.pop(name) for name in ("webhook", "webhook_token_file", "webhook_ca"))
    if url is None:
        return None
    from edge.sinks.tls import TlsFiles  # noqa: PLC0415  heavy
    from edge.sinks.webhook import WebhookSettings  # noqa: PLC0415  heavy

    return WebhookSettings(url, _secret(token, "--webhook-token-file"), TlsFiles(ca))


def _take_outbox(values: dict[str, Any], bin_id: str, *, needed: bool) -> OutboxSettings | None:
    path, limit, full = (values.pop(name) for name in ("outbox", "outbox_limit", "outbox_full"))
    if path is None and not needed:
        return None
    from edge.outbox import OutboxSettings  # noqa: PLC0415  heavy

    return OutboxSettings(path or state_folder() / f"outbox-{bin_id}.db", limit * MEGABYTE, Policy(full))


def _secret(path: Path | None, option: str) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option} {path} can't be read: {getattr(error, 'strerror', 'no text')}") from error


def state_folder() -> Path:
    """Return where a bin keeps what must survive: $XDG_STATE_HOME/binsight, else ~/.local/state/binsight."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "binsight"
