"""How fast the board may run, and how warm it is."""

from __future__ import annotations

import re
from pathlib import Path

from edge.doctor.board import jetson
from edge.doctor.finding import Finding, absent, ok, warn
from edge.doctor.machine import Machine
from edge.power import CORES, modes, span
from edge.thermal import read_thermal

WARM = 85.0
"""Degrees Celsius at which it will soon slow down: Orin does from 99 on, desktop processors from about 95."""


def look(machine: Machine) -> list[Finding]:
    """Look at power mode, clocks and temperature."""
    return [_mode(machine), _clocks(machine), _temperature(machine)]


def _mode(machine: Machine) -> Finding:
    if jetson(machine) is None:
        return absent("power_mode", "no nvpmodel, as a Jetson has it")
    told = modes(machine.root, machine.ask)
    number, names, usual = told.now, told.names, told.usual
    if number is None:
        return warn("power_mode", "nvpmodel does not tell the mode", "look with sudo nvpmodel -q")
    shown = f"{names.get(number, 'unknown')} (mode {number})"
    others = ", ".join(f"{one} {name}" for one, name in sorted(names.items()) if one != number)
    fastest = next((one for one, name in names.items() if name.startswith("MAXN")), None)
    if number in (usual, fastest) or usual is None:
        return ok("power_mode", f"{shown}; there are also {others}" if others else shown)
    return warn(
        "power_mode",
        f"{shown}, where {names.get(usual, 'another')} is the board's usual one; there are {others}",
        f"sudo nvpmodel -m {usual}, where power and cooling allow it",
    )


def gpus(machine: Machine) -> list[Path]:
    """Return the folders in which the kernel tells the GPU's clock."""
    return [path for path in machine.glob("/sys/class/devfreq/*") if re.search(r"gpu|gpc|\.g[av]", path.name)]


def _clocks(machine: Machine) -> Finding:
    """Look at processor and GPU: fixed, as by jetson_clocks, or moving with the load."""
    cores = machine.glob(CORES)
    spans = [span(core, "scaling_") for core in cores]
    spans += [span(gpu) for gpu in gpus(machine)]
    known = [one for one in spans if one]
    if not known:
        return absent("clocks", "this machine does not tell its clocks")
    shown = ", ".join(
        filter(None, (_shown("CPU", spans[: len(cores)], 1e6), _shown("GPU", spans[len(cores) :], 1e9)))
    )
    governors = {machine.read(core / "scaling_governor") for core in cores}
    if all(low == high for low, high in known):
        return ok("clocks", f"{shown}, fixed")
    drivers = {machine.read(core / "scaling_driver") for core in cores}
    if "powersave" in governors and not drivers & {"intel_pstate", "amd-pstate-epp"}:
        return warn(
            "clocks",
            f"{shown}, kept at the lowest by the governor powersave",
            "sudo jetson_clocks on a Jetson, cpupower frequency-set -g schedutil elsewhere",
        )
    return ok("clocks", f"{shown}, moving with the load (edge-bench is steadier after jetson_clocks)")


def _shown(what: str, spans: list[tuple[int, int] | None], unit: float) -> str:
    known = [one for one in spans if one]
    if not known:
        return ""
    least, most = min(low for low, _ in known) / unit, max(high for _, high in known) / unit
    return f"{what} {most:.1f} GHz" if least == most else f"{what} {least:.1f} to {most:.1f} GHz"


def _temperature(machine: Machine) -> Finding:
    thermal = read_thermal(machine.path("/sys"))
    alarms = {name: count for name, count in thermal.events.items() if count}
    if not thermal.celsius:
        return absent("temperature", "this machine does not tell its temperature")
    zone, hottest = max(thermal.celsius.items(), key=lambda one: one[1])
    shown = f"{hottest:.0f} degrees Celsius at most ({zone})"
    if thermal.throttled:
        return warn(
            "temperature",
            f"{shown}, slowed down by {', '.join(thermal.throttled)}",
            "clean or mount the fan, give it air, or take a lower power mode",
        )
    if hottest >= WARM:
        return warn("temperature", f"{shown}: it will soon slow down", "clean or mount the fan, or give it air")
    if alarms:
        told = ", ".join(f"{name} {count} times" for name, count in alarms.items())
        return warn(
            "temperature",
            f"{shown}; it slowed down since the start: {told}",
            "of current (oc1 to oc3): take a stronger supply or a lower power mode; of heat (cores): give it air",
        )
    return ok("temperature", shown)
