"""What tells that something was thrown in, behind one door. A new trigger is one file and one line in OPENERS."""

from __future__ import annotations

import re
from collections.abc import Callable

from edge.errors import UsageError
from edge.sinks.mqtt_settings import MqttSettings
from edge.triggers.base import MOTION, Trigger, TriggerSettings
from edge.triggers.command import open_command
from edge.triggers.gpio import open_switch
from edge.triggers.mqtt import open_mqtt

__all__ = ["MOTION", "OPENERS", "Trigger", "TriggerSettings", "open_trigger"]

OPENERS: dict[str, Callable[[TriggerSettings, MqttSettings | None, str], Trigger]] = {
    "mqtt": open_mqtt,
    "gpio://": open_switch,
    "COMMAND": open_command,
}
"""Kind of trigger to what opens it: schemes end in ://, and what is none of the others is a command."""


def open_trigger(
    settings: TriggerSettings, mqtt: MqttSettings | None = None, bin_id: str = "bin"
) -> Trigger | None:
    """Open what `settings.text` names: mqtt (on the broker `mqtt`), gpio://CHIP/LINE?..., or a command.

    None for `motion`: the scene itself opens and closes episodes. Raises UsageError, GpioError, SinkError.
    """
    if settings.text == MOTION:
        return None
    return OPENERS[_kind(settings.text)](settings, mqtt, bin_id)


def _kind(text: str) -> str:
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
    if scheme is None:
        return text if text == "mqtt" else "COMMAND"
    if scheme[0] not in OPENERS:  # no more than that is shown: an address may hold a password
        known = ", ".join([MOTION, *OPENERS])
        raise UsageError(f"--trigger is {scheme[0]}..., and there is none of that kind; expected one of: {known}")
    return scheme[0]
