"""Which cameras this machine has, under which names, and who has them."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge.sources.v4l2_node import Identity, Ioctl, Node

DEV = Path("/dev")
PROC = Path("/proc")


def listing(dev: Path = DEV, ioctl: Ioctl = fcntl.ioctl) -> str:
    """Return the nodes that give pictures, with what they are called, as text."""
    found = []
    for node in nodes(dev):
        identity = glance(node, ioctl)
        if identity and identity.captures:
            name = lasting_name(node, dev)
            found.append(f"{node} ({identity.card}{f', {name}' if name else ''})")
        elif not (identity or os.access(node, os.R_OK | os.W_OK)):
            found.append(f"{node} (no permission to ask it)")
    return ", ".join(found) or "none"


def nodes(dev: Path = DEV) -> list[Path]:
    """Return /dev/video*, in the order of their numbers."""
    return sorted(dev.glob("video[0-9]*"), key=lambda path: (len(path.name), path.name))


def glance(node: Path, ioctl: Ioctl = fcntl.ioctl) -> Identity | None:
    """Return what a node is, None where it can't be asked."""
    try:
        with Node.open(node, ioctl) as opened:
            return opened.identity()
    except OSError:
        return None


def lasting_name(node: Path, dev: Path = DEV) -> Path | None:
    """Return the link to `node` that outlives a replug: by what it is, else by where it is plugged in."""
    for folder in ("by-id", "by-path"):
        for link in sorted((dev / "v4l" / folder).glob("*")):
            if link.resolve() == node.resolve():
                return link
    return None


def sibling(identity: Identity, dev: Path = DEV, ioctl: Ioctl = fcntl.ioctl) -> Path | None:
    """Return the node of the same device that gives pictures."""
    for node in nodes(dev):
        other = glance(node, ioctl)
        if other and other.captures and (other.bus, other.card) == (identity.bus, identity.card):
            return node
    return None


def holders(node: Path, proc: Path = PROC) -> str:
    """Return the other processes that have `node` open, as far as this user may see."""
    found = []
    for process in sorted(path for path in proc.glob("[0-9]*") if int(path.name) != os.getpid()):
        if any(_same(link, node) for link in _links(process)):
            try:
                name = (process / "comm").read_text().strip()
            except OSError:
                name = "?"
            found.append(f"{process.name} ({name})")
    return ", ".join(found)


def _links(process: Path) -> Iterator[Path]:
    try:
        yield from (process / "fd").iterdir()
    except OSError:
        return


def _same(link: Path, node: Path) -> bool:
    try:
        if not os.readlink(link).startswith(
            "/dev/"
        ):  # what lies elsewhere is not asked: a dead network disk hangs
            return False
        return stat.S_ISCHR(link.stat().st_mode) and link.stat().st_rdev == node.stat().st_rdev
    except OSError:
        return False
