"""The board's own heat: temperatures, and what it slows down for them. Empty where the board tells nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SYS = Path("/sys")

MOST = 12
"""Zones, devices and sources of each that are told."""


@dataclass(frozen=True)
class Thermal:
    """One reading."""

    celsius: Mapping[str, float] = field(default_factory=dict)
    """Zone to temperature."""
    throttled: tuple[str, ...] = ()
    """Cooling devices at work that slow the board down: on a Jetson cpu-throttle-alert and its kin. No fans."""
    events: Mapping[str, int] = field(default_factory=dict)
    """Source to how often it throttled since boot: on a Jetson the over-current alarms oc1 to oc3, elsewhere the
    processor's cores."""


def read_thermal(root: Path = SYS) -> Thermal:
    """Read what there is below `root`, a sysfs."""
    celsius = {}
    for zone in sorted(root.glob("class/thermal/thermal_zone*"), key=_number)[:MOST]:
        level = _read(zone / "temp")  # a zone that is switched off can't be read
        if level is not None:
            celsius[_name(zone)] = int(level) / 1e3
    devices = sorted(root.glob("class/thermal/cooling_device*"), key=_number)
    at_work = [_name(one) for one in devices if int(_read(one / "cur_state") or 0) > 0]
    throttled = [name for name in at_work if "fan" not in name]
    return Thermal(celsius, tuple(throttled[:MOST]), _events(root))


def _events(root: Path) -> dict[str, int]:
    found = {
        path.name.partition("_")[0]: int(_read(path) or 0)
        for path in sorted(root.glob("class/hwmon/hwmon*/oc*_event_cnt"))[:MOST]
    }
    cores = [*root.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")]
    if cores:
        found["cores"] = sum(int(_read(path) or 0) for path in cores)
    return found


def _name(folder: Path) -> str:
    """Two zones may have one type: the number tells them apart."""
    return f"{(folder / 'type').read_text().strip()}-{_number(folder)}"


def _number(folder: Path) -> int:
    return int("".join(filter(str.isdecimal, folder.name)) or 0)


def _read(path: Path) -> str | None:
    """Return a whole number as text; None where it can't be read."""
    try:
        text = path.read_text().strip()
        int(text)
    except (OSError, ValueError):
        return None
    return text
