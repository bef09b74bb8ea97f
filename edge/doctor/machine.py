"""The machine that is looked at: its files below a root, and what has to be asked in another way."""

from __future__ import annotations

import fcntl
import platform
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.backends.base import BackendInfo
from edge.backends.trt.cudart import Device
from edge.doctor import probes
from edge.doctor.probes import TensorRt, Volume
from edge.sources.v4l2_node import Ioctl

PATIENCE_S = 10.0
"""Seconds that a program has to answer."""


@dataclass(frozen=True)
class Host:
    """The system that Python runs on."""

    system: str = field(default_factory=platform.system)
    """Linux."""
    architecture: str = field(default_factory=platform.machine)
    """x86_64, aarch64."""
    release: str = field(default_factory=platform.release)
    """Of the kernel."""
    python: str = field(default_factory=platform.python_version)
    bits: int = 8 * struct.calcsize("P")
    """Of an address in this Python."""
    system_packages: bool = field(default_factory=probes.sees_system_packages)
    """Whether this Python sees what apt installed."""


def run(words: Sequence[str]) -> str | None:
    """Return what a program printed; None where it is missing, fails or does not answer."""
    try:
        done = subprocess.run(  # noqa: S603  fixed words
            [*words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@dataclass(frozen=True)
class Machine:
    """A machine to look at. Tests hand in recorded files and answers in place of the real ones."""

    root: Path = Path("/")
    """Where its files lie: /proc, /sys, /etc, /dev, /run, /var."""
    host: Host = field(default_factory=Host)
    ask: Callable[[Sequence[str]], str | None] = run
    now: Callable[[], float] = time.time
    """Seconds since 1970, by its own clock."""
    synchronised: Callable[[], bool | None] = probes.clock_is_synchronised
    """Whether something keeps that clock right; None: it does not tell."""
    ioctl: Ioctl = fcntl.ioctl
    installed: Callable[[str], str | None] = probes.installed
    """Version of a Python distribution; None: it is not installed."""
    opencv: Callable[[], str] = probes.opencv
    """OpenCV's own account of its build."""
    gstreamer: Callable[[], str] = probes.gstreamer
    """Why Python has no GStreamer; empty where it has."""
    cuda: Callable[[], Device] = probes.cuda
    """The GPU. Raises BackendError."""
    tensorrt: Callable[[], TensorRt] = probes.tensorrt
    """The TensorRT that Python imports. Raises BackendError."""
    engine: Callable[[str], BackendInfo] = probes.engine
    """Run a small graph on an engine, and return what ran it. Raises BackendError."""
    volume: Callable[[Path], Volume] = probes.volume
    """The file system beneath a folder. Raises OSError."""
    write: Callable[[Path], float] = probes.write
    """Seconds that a small file takes to reach the disk in a folder. Raises OSError."""

    def path(self, name: str) -> Path:
        """Return where `/proc/meminfo` lies."""
        return self.root / name.lstrip("/")

    def read(self, name: str | Path) -> str:
        """Return a file's text, without NUL and white space at its ends; empty where it can't be read."""
        path = name if isinstance(name, Path) else self.path(name)
        try:
            return path.read_bytes().decode("utf-8", "replace").strip("\0 \t\r\n")
        except OSError:
            return ""

    def number(self, name: str | Path) -> int | None:
        """Return a file's whole number; None where there is none."""
        try:
            return int(self.read(name), 0)
        except ValueError:
            return None

    def glob(self, pattern: str) -> list[Path]:
        """Return the paths that fit `/sys/block/*`, in order."""
        return sorted(self.root.glob(pattern.lstrip("/")))
