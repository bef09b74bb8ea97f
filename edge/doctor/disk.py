"""The disks that a bin writes to: room, health, and whether what is written reaches them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.doctor.finding import Finding, absent, fail, ok, warn
from edge.doctor.machine import Machine

LITTLE, TOO_LITTLE = 2_000_000_000, 100_000_000
"""Bytes free: fewer than an engine, an outbox and a new bundle take; and fewer than a bin runs with."""
SLOW_S = 0.1
"""Of one small write that is synced: each event waits for one."""
MEMORY = ("tmpfs", "ramfs", "overlay")
"""File systems that are gone with the power, or with the container."""
WORN = 8
"""Of 11 steps of 10 % that an eMMC tells of its life (JEDEC 84-B51, EXT_CSD 268 and 269)."""


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mounts."""

    device: str
    at: str
    kind: str
    options: tuple[str, ...]


def look(machine: Machine, folders: Iterable[Path]) -> list[Finding]:
    """Look at the disks beneath `folders`, which the bin writes to, and at the health of all."""
    found, seen = [], set()
    mounts = _mounts(machine)
    for folder in folders:
        place = _existing(machine, folder)
        mount = _mount_of(mounts, f"/{place.relative_to(machine.root)}")
        if (mount and mount.at) not in seen:
            seen.add(mount and mount.at)
            found += _volume(machine, place, mount, f"/{place.relative_to(machine.root)}")
    return [*found, *_wear(machine), *_errors(machine)]


def _volume(machine: Machine, place: Path, mount: Mount | None, shown: str) -> list[Finding]:
    try:
        volume = machine.volume(place)
    except OSError as error:
        return [fail("disk_space", f"{shown} can't be asked: {error.strerror}", "check the disk and its mount")]
    room = f"{volume.free / 1e9:.1f} of {volume.total / 1e9:.1f} GB free at {shown}"
    if volume.read_only:
        return [
            fail(
                "disk_write",
                f"{shown} is read-only",
                f"sudo mount -o remount,rw {mount.at if mount else shown}, and where it went so by itself, look "
                "at dmesg: the disk may be dying",
            )
        ]
    return [
        _space(room, volume.free, volume.free_files, volume.total_files),
        *_write(machine, place, mount, shown),
    ]


def _space(room: str, free: int, free_files: int, files: int) -> Finding:
    mend = "remove what is not needed: docker system prune, sudo apt clean, sudo journalctl --vacuum-size=100M"
    if free < TOO_LITTLE:
        return fail("disk_space", room, mend)
    if files and free_files < files / 100:
        return warn("disk_space", f"{room}, and {free_files} files may still be made", mend)
    if free < LITTLE:
        return warn("disk_space", room, mend)
    return ok("disk_space", room)


def _write(machine: Machine, place: Path, mount: Mount | None, shown: str) -> list[Finding]:
    try:
        seconds = machine.write(place)
    except OSError as error:
        mend = "run as the bin's user, give the folder to it (chown), or name others in the configuration"
        return [fail("disk_write", f"{shown} can't be written: {error.strerror}", mend)]
    took = f"a write reaches {shown} in {seconds * 1000:.1f} ms"
    if mount and mount.kind in MEMORY:
        return [
            warn("disk_write", f"{shown} is {mount.kind}: what lies there is gone with the power or the container",
                 "put outbox, cache and events on a disk; in a container on a volume")
        ]  # fmt: skip
    if mount and {"nobarrier", "barrier=0"} & {*mount.options}:
        return [
            warn("disk_write", f"{took}, but {mount.at} is mounted without barriers: a power cut may take events",
                 "take nobarrier out of /etc/fstab")
        ]  # fmt: skip
    if seconds > SLOW_S:
        return [warn("disk_write", f"{took}, and each event waits for one", "take an SSD, or a better card")]
    return [ok("disk_write", took)]


def _wear(machine: Machine) -> list[Finding]:
    found = []
    for disk in machine.glob("/sys/block/*"):
        if re.fullmatch(r"(mmcblk\d+|nvme\d+n\d+|sd[a-z]+)", disk.name):
            found.append(_wear_of(machine, disk))
    return found


def _wear_of(machine: Machine, disk: Path) -> Finding:
    steps = [
        int(word, 0) for word in machine.read(disk / "device/life_time").split() if re.match(r"0x[\da-f]+$", word)
    ]
    if not any(steps):
        kind = "an SD card" if machine.read(disk / "device/type") == "SD" else disk.name
        tool = f"; sudo smartctl -a /dev/{disk.name} may" if not disk.name.startswith("mmc") else ""
        return absent("disk_wear", f"{kind} ({disk.name}) tells no wear in /sys{tool}")
    worst = max(steps)
    shown = f"{disk.name} has used up to {min(worst, 10) * 10} % of its life{' and more' if worst > 10 else ''}"
    spare = machine.number(disk / "device/pre_eol_info") or 0
    if worst >= WORN or spare > 1:
        reserve = f", and {'80 %' if spare == 2 else 'nearly all'} of its reserve" if spare > 1 else ""
        return warn("disk_wear", f"{shown}{reserve}", "back it up and replace it")
    return ok("disk_wear", shown)


def _errors(machine: Machine) -> list[Finding]:
    found = []
    for path in machine.glob("/sys/fs/ext4/*/errors_count"):
        count = machine.number(path)
        if count:
            name = path.parent.name
            mend = f"run fsck on /dev/{name} while it is not mounted, and look at dmesg: the disk may be dying"
            found.append(warn("disk_errors", f"the file system on {name} met {count} errors", mend))
    return found


def _existing(machine: Machine, folder: Path) -> Path:
    """Return the nearest folder above that is there."""
    path = machine.path(os.path.abspath(folder))
    return next((one for one in (path, *path.parents) if one.is_dir()), machine.root)


def _mounts(machine: Machine) -> list[Mount]:
    lines = (line.split() for line in machine.read("/proc/self/mounts").splitlines())
    return [Mount(one[0], one[1], one[2], tuple(one[3].split(","))) for one in lines if len(one) >= 4]


def _mount_of(mounts: list[Mount], path: str) -> Mount | None:
    """Return the mount beneath a path: the longest that leads to it, and of equals the latest."""
    fitting = [one for one in mounts if path == one.at or path.startswith(one.at.rstrip("/") + "/")]
    return max(reversed(fitting), key=lambda one: len(one.at), default=None)
