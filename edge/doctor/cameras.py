"""Cameras: which there are, what they give, and what they need beneath them."""

from __future__ import annotations

import re
from pathlib import Path

from edge.doctor.board import jetson
from edge.doctor.finding import Finding, absent, ok, warn
from edge.doctor.machine import Machine
from edge.sources.csi import PACKAGES
from edge.sources.v4l2_format import READABLE, offer
from edge.sources.v4l2_node import Identity, Node
from edge.sources.v4l2_nodes import holders, lasting_name, nodes

SENSOR = re.compile(r"vi-output, (\S+)")
"""What NVIDIA's driver calls the node of a CSI sensor (vi5_fops.c)."""


def look(machine: Machine) -> list[Finding]:
    """Look at every camera of the machine."""
    dev = machine.path("/dev")
    found = [finding for node in nodes(dev) for finding in _camera(machine, node)]
    sensors = [one for one in found if one.found.startswith("CSI sensor")]
    if sensors:
        found.append(_csi(machine))
    return found or [
        absent("camera", "no camera on this machine; one in the network, a video or demo:// needs none")
    ]


def _camera(machine: Machine, path: Path) -> list[Finding]:
    dev = machine.path("/dev")
    shown = f"/dev/{path.name}"
    try:
        with Node.open(path, machine.ioctl) as node:
            identity = node.identity()
            if not identity.captures:  # metadata of a camera, or an encoder
                return []
            return [_pictures(machine, node, identity, path)]
    except PermissionError:
        return [
            warn("camera", f"{shown}: no permission", "sudo usermod -aG video $USER, then log in again; in a "
                 f"container add --device {shown}")
        ]  # fmt: skip
    except OSError as error:
        link = lasting_name(path, dev)
        return [warn("camera", f"{link or shown} can't be asked: {error.strerror}", "plug it in again")]


def _pictures(machine: Machine, node: Node, identity: Identity, path: Path) -> Finding:
    dev = machine.path("/dev")
    shown, link = f"/dev/{path.name}", lasting_name(path, dev)
    sensor = SENSOR.match(identity.card)
    if sensor and jetson(machine):
        return ok("camera", f"CSI sensor {sensor[1]} at {shown}: csi://N, the first sensor is 0")
    formats = node.formats()
    what = f"{shown} {identity.card}: {offer(node)}"
    if not set(formats) & set(READABLE):
        return warn("camera", what, "take another camera; of a CSI sensor's raw format csi:// makes pictures")
    if node.busy():
        who = holders(path, machine.path("/proc")) or "another program"
        return warn(
            "camera", f"{what}; in use by {who}", "only one program can read it: end that one, if it is no bin"
        )
    if link:
        return ok("camera", f"{what}; lasting name {_below(machine, link)}")
    return ok("camera", what)


def _csi(machine: Machine) -> Finding:
    """Look at what csi:// needs: GStreamer for Python, and NVIDIA's daemon."""
    why = machine.gstreamer()
    if why and not re.search(r"GStreamer:\s+YES", machine.opencv()):
        return warn("csi", f"Python has no GStreamer, which csi:// needs: {why}", f"sudo {PACKAGES}")
    if not machine.path("/tmp/argus_socket").exists():  # noqa: S108  NVIDIA's place for it
        return warn(
            "csi",
            "nvargus-daemon does not run, which serves csi://",
            "sudo systemctl start nvargus-daemon; in a container add -v /tmp/argus_socket:/tmp/argus_socket",
        )
    return ok("csi", "GStreamer and nvargus-daemon are there for csi://")


def _below(machine: Machine, path: Path) -> str:
    return f"/{path.relative_to(machine.root)}"
