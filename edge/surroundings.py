"""What a latency depends on beside the code: processor, power mode, libraries."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.backends.base import BackendInfo, cpu_name
from edge.power import ROOT, power_mode

LIBRARIES = {"numpy": np.__version__, "opencv-python": cv2.__version__}
"""That do the work around the graph; the engine names its own. As they say themselves: a board's OpenCV may come
from no Python package."""


@dataclass(frozen=True)
class Key:
    """Where a cost was measured: costs of two keys can't be compared."""

    device: str
    """The processor that infers, and the one that does the rest."""
    power: str
    """Power mode and clocks of a Jetson; empty elsewhere."""
    backend: str
    """As in --backend."""
    precision: str
    threads: int
    """Of one inference; 0: the engine chose."""
    versions: dict[str, str]
    """Of Python (major and minor), libraries and engine."""

    @property
    def told(self) -> str:
        """All of it in one line."""
        versions = ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items()))
        power = f", {self.power}" if self.power else ""
        threads = f"{self.threads} threads" if self.threads else "threads as the engine chooses"
        return f"{self.precision} on {self.backend}, {self.device}{power}, {threads}, {versions}"


def key_of(info: BackendInfo, root: Path = ROOT) -> Key:
    """Return the key of what `info` runs, on the machine whose files lie below `root`."""
    host = f"{cpu_name() or platform.machine()}{microarchitecture(root)}"
    device = host if info.device in ("", cpu_name()) else f"{info.device}, {host}"
    versions = {"python": ".".join(platform.python_version_tuple()[:2]), **dict(info.versions), **LIBRARIES}
    return Key(device, power_mode(root), info.name, info.precision.value, info.threads, versions)


def microarchitecture(root: Path = ROOT) -> str:
    """Return what tells processors of one name apart: family and model of x86, part of ARM; or nothing."""
    text = _read(root / "proc/cpuinfo")
    found = {name: _first(rf"^{name}\s*:\s*(\S+)", text) for name in ("cpu family", "model", "CPU part")}
    if found["cpu family"]:
        return f" (family {found['cpu family']} model {found['model']})"
    return f" (part {found['CPU part']})" if found["CPU part"] else ""


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
