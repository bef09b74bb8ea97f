"""A bin at work on a board, looked at again and again: heat, clocks and memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from edge.doctor.machine import Machine
from edge.doctor.power import gpus
from edge.thermal import read_thermal

WARM_SHARE, MOST_WARM_S = 1 / 6, 600.0
"""What of a soak counts as its beginning, in which memory may grow."""


@dataclass(frozen=True)
class Sample:
    """One moment of a bin at work."""

    seconds: float
    """Since the daemon was started."""
    celsius: Mapping[str, float]
    """Zone to temperature."""
    throttled: tuple[str, ...]
    """What slows the board down."""
    resident_mib: float
    """Of the daemon."""
    available_mib: float | None
    """Of the machine: MemAvailable."""
    cpu_mhz: float | None
    """Of the fastest core; None: it is not told."""
    gpu_mhz: float | None


def sample(machine: Machine, pid: int, seconds: float) -> Sample:
    """Look at a daemon and its board once. Raises OSError, ValueError where the daemon is gone."""
    thermal = read_thermal(machine.path("/sys"))
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    available = re.search(r"^MemAvailable:\s*(\d+)", machine.read("/proc/meminfo"), re.MULTILINE)
    cores = machine.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    khz = [value for one in cores if (value := machine.number(one))]
    hertz = [value for one in gpus(machine) if (value := machine.number(one / "cur_freq"))]
    return Sample(
        seconds=seconds,
        celsius=thermal.celsius,
        throttled=thermal.throttled,
        resident_mib=pages * os.sysconf("SC_PAGESIZE") / 2**20,
        available_mib=int(available[1]) / 1024 if available else None,
        cpu_mhz=max(khz) / 1e3 if khz else None,
        gpu_mhz=max(hertz) / 1e6 if hertz else None,
    )


def growth(samples: Sequence[Sample]) -> float | None:
    """Return by how many MiB an hour the daemon grew once warm, by least squares; None: too few samples."""
    warm = min(MOST_WARM_S, samples[-1].seconds * WARM_SHARE) if samples else 0
    kept = [one for one in samples if one.seconds >= warm]
    if len(kept) < 3:
        return None
    return linear_regression([one.seconds / 3600 for one in kept], [one.resident_mib for one in kept]).slope
