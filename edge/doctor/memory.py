"""Memory and swap, against what a bin and the build of an engine take."""

from __future__ import annotations

import re

from edge.backends import DEFAULT
from edge.doctor.board import jetson, packages
from edge.doctor.finding import Finding, absent, ok, warn
from edge.doctor.machine import Machine
from edge.maker import SHARE_OF_MEMORY

BIN = 1 << 30
"""Bytes that a bin with a camera takes: 860 MiB and 78 for its child (docs/measurements.md), and some room."""
SWAPFILE = (
    "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
    "sudo swapon /swapfile (and a line in /etc/fstab keeps it)"
)


def look(machine: Machine, workspace: int = DEFAULT.workspace) -> list[Finding]:
    """Look at memory and swap. `workspace`: bytes that a layer of an engine may take."""
    total, free = _memory(machine)
    if not total:
        return [absent("memory", "this machine does not tell its memory")]
    on_disk, in_memory = _swap(machine)
    shown = f"{_gb(free)} of {_gb(total)} GB free"
    swap = ok("swap", f"{_gb(on_disk)} GB free on disk") if on_disk else absent("swap", "none on a disk")
    if in_memory and not on_disk:
        swap = absent("swap", f"{_gb(in_memory)} GB in memory (zram), which makes no room for a build")
    findings = [_bin(shown, free + on_disk), swap]
    if jetson(machine) or packages(machine).get("libnvinfer10"):
        findings.append(_build(total, free, on_disk, workspace, shared=jetson(machine) is not None))
    return findings


def _bin(shown: str, room: int) -> Finding:
    if room < BIN:
        return warn("memory", f"{shown}; a bin takes about {_gb(BIN)} GB", "end what else runs, or add swap")
    return ok("memory", shown)


def _build(total: int, free: int, swap: int, workspace: int, *, shared: bool) -> Finding:
    """Compare with what edge.maker lets a build take. `shared`: the GPU has no memory of its own."""
    most = int(SHARE_OF_MEMORY * total) + (workspace if shared else 0)
    room = free + swap
    if room < most:
        return warn(
            "engine_build",
            f"a TensorRT build may take {_gb(most)} GB, and {_gb(room)} GB are free with swap: it may be ended",
            "end what else runs (sudo systemctl isolate multi-user.target ends the desktop), lower --workspace, "
            f"or add swap: {SWAPFILE}",
        )
    return ok("engine_build", f"{_gb(room)} GB with swap, for a TensorRT build that may take {_gb(most)}")


def _memory(machine: Machine) -> tuple[int, int]:
    """Return bytes of all and of what is available, within what a container may have."""
    said = {
        key: int(value) << 10
        for key, value in re.findall(r"^(\w+):\s+(\d+) kB", machine.read("/proc/meminfo"), re.M)
    }
    total, free = said.get("MemTotal", 0), said.get("MemAvailable", 0)
    limit = machine.number("/sys/fs/cgroup/memory.max")
    if limit is not None and limit < total:
        used = machine.number("/sys/fs/cgroup/memory.current") or 0
        total, free = limit, min(free, max(0, limit - used))
    return total, free


def _swap(machine: Machine) -> tuple[int, int]:
    """Return the bytes that are free of swap on disks, and in compressed memory."""
    on_disk = in_memory = 0
    for line in machine.read("/proc/swaps").splitlines()[1:]:
        words = line.split()
        if len(words) >= 4 and words[-3].isdecimal() and words[-2].isdecimal():
            free = (int(words[-3]) - int(words[-2])) << 10
            if "zram" in words[0]:
                in_memory += free
            else:
                on_disk += free
    return on_disk, in_memory


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f}"
