"""The clock, by which certificates are judged and events are dated."""

from __future__ import annotations

from datetime import datetime, timezone

from edge.doctor.finding import Finding, ok, warn
from edge.doctor.machine import Machine

EARLIEST, LATEST = datetime(2026, 6, 1, tzinfo=timezone.utc), datetime(2046, 1, 1, tzinfo=timezone.utc)
"""Between these it may be today: before the first this code was not there."""
NTP = (
    "sudo timedatectl set-ntp true, or sudo apt install chrony; without a network the board needs a battery for "
    "its clock"
)


def look(machine: Machine) -> list[Finding]:
    """Look at the clock: is it plausible, does something keep it right."""
    now = datetime.fromtimestamp(machine.now(), timezone.utc)
    shown = f"{now:%Y-%m-%d %H:%M} UTC"
    if not EARLIEST <= now <= LATEST:
        return [warn("clock", f"{shown} can't be: certificates will not hold, and events get wrong dates", NTP)]
    kept = machine.synchronised()
    if kept is None:
        return [ok("clock", f"{shown}; the kernel does not tell whether it is kept right")]
    if not kept and not machine.path("/run/systemd/timesync/synchronized").exists():
        return [warn("clock", f"{shown}, and nothing keeps it right", NTP)]
    return [ok("clock", f"{shown}, kept right by the network")]
