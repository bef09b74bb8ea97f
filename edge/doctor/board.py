"""Which board and system this is, and whether bins run on it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.doctor.finding import Finding, absent, fail, ok, warn
from edge.doctor.machine import Machine
from edge.doctor.support import unsupported

OLDEST_PYTHON = (3, 10)
ARCHITECTURES = ("x86_64", "aarch64")

JETPACKS: dict[tuple[int, ...], str] = {
    (36, 2): "6.0", (36, 3): "6.0", (36, 4): "6.1 or 6.2", (36, 5): "6.2",
    (38, 2): "7.0", (38, 4): "7.1", (39, 2): "7.2",
}  # fmt: skip
"""L4T to JetPack (developer.nvidia.com/embedded/jetpack-archive)."""
GENERATIONS = {28: 3, 32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}
"""L4T's first number to JetPack's."""
SUPPORTED = (6, 7)

CHIPS = {"tegra210": "5.3", "tegra186": "6.2", "tegra194": "7.2", "tegra234": "8.7", "tegra264": "11.0"}
"""A Jetson's chip to the compute capability of its GPU."""


@dataclass(frozen=True)
class Jetson:
    """A Jetson, as far as its files tell."""

    model: str
    """What the board calls itself."""
    chip: str
    """Such as tegra234; empty where it does not tell."""
    l4t: tuple[int, ...]
    """Such as (36, 4, 3); empty where it does not tell."""

    @property
    def generation(self) -> int:
        """Return JetPack's first number; 0 where it is not known."""
        return GENERATIONS.get(self.l4t[0], 0) if self.l4t else 0


def jetson(machine: Machine) -> Jetson | None:
    """Return the Jetson that this is; None where it is none."""
    compatible = machine.read("/proc/device-tree/compatible")
    chip = re.search(r"nvidia,(tegra\d{3})", compatible)
    l4t = _l4t(machine)
    if not chip and not l4t:
        return None
    return Jetson(machine.read("/proc/device-tree/model") or "a Jetson", chip[1] if chip else "", l4t)


def packages(machine: Machine) -> dict[str, str]:
    """Return the Debian packages that are installed, with their versions."""
    found = {}
    for entry in machine.read("/var/lib/dpkg/status").split("\n\n"):
        said = dict(re.findall(r"^(Package|Status|Version): (.*)$", entry, re.MULTILINE))
        if said.get("Status", "").endswith(" installed"):
            found[said.get("Package", "")] = said.get("Version", "")
    return found


def look(machine: Machine) -> list[Finding]:
    """Look at system, Python and board."""
    wrong = unsupported(machine.host.system)
    if wrong:
        return [wrong]
    return [_system(machine), _python(machine), _jetpack(machine)]


def _system(machine: Machine) -> Finding:
    host = machine.host
    named = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', machine.read("/etc/os-release"), re.MULTILINE))
    name = named.get("PRETTY_NAME", host.system)
    boxed = machine.path("/.dockerenv").exists() or machine.path("/run/.containerenv").exists()
    found = f"{name}, kernel {host.release}, {host.architecture}{', in a container' if boxed else ''}"
    if host.architecture not in ARCHITECTURES or host.bits != 64:
        return fail(
            "system",
            f"{found}: {host.bits} bits of {host.architecture} are not supported",
            "take a 64-bit system on x86-64 or aarch64",
        )
    return ok("system", found)


def _python(machine: Machine) -> Finding:
    version = machine.host.python
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_PYTHON:
        return fail("python", f"Python {version} is too old", "take Python 3.10 or later")
    return ok("python", f"Python {version}")


def _jetpack(machine: Machine) -> Finding:
    board = jetson(machine)
    if board is None:
        return absent("jetpack", "no Jetson")
    shown = f"{board.model}{f' ({board.chip})' if board.chip else ''}"
    if not board.l4t:
        return warn(
            "jetpack",
            f"{shown}, and no /etc/nv_tegra_release that names its L4T",
            "in a container add -v /etc/nv_tegra_release:/etc/nv_tegra_release; on the board flash JetPack 6 or 7",
        )
    shown += f", L4T {'.'.join(map(str, board.l4t))}"
    if not board.generation:
        return warn(
            "jetpack", f"{shown}: a JetPack that is not known here", "update binsight, or take JetPack 7.2"
        )
    name = _jetpack_name(machine, board)
    if board.generation not in SUPPORTED:
        return fail(
            "jetpack",
            f"{shown}: JetPack {name} is not supported",
            "flash JetPack 6.2 or 7.2 (Orin), 7.1 or later (Thor); older boards than Orin can't take them",
        )
    if board.l4t < (36, 4):
        return warn(
            "jetpack",
            f"{shown}: JetPack {name} brings a TensorRT that is too old for engines (10.3 is the first)",
            "update to JetPack 6.2: flash it, or change r36.x to r36.4 in "
            "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list and sudo apt dist-upgrade",
        )
    return ok("jetpack", f"{shown}, JetPack {name}")


def _jetpack_name(machine: Machine, board: Jetson) -> str:
    package = re.match(r"\d+\.\d+(\.\d+)?", packages(machine).get("nvidia-jetpack", ""))
    return package[0] if package else JETPACKS.get(board.l4t[:2], str(board.generation))


def _l4t(machine: Machine) -> tuple[int, ...]:
    """Read `# R36 (release), REVISION: 4.3, ...`, else the version of a package that every L4T has."""
    said = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", machine.read("/etc/nv_tegra_release"))
    text = f"{said[1]}.{said[2]}" if said else packages(machine).get("nvidia-l4t-core", "").partition("-")[0]
    return tuple(map(int, re.findall(r"\d+", text)))
