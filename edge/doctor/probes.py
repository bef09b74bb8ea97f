"""What no file tells: asked of libraries, of the kernel, and of the disk."""

from __future__ import annotations

import base64
import ctypes
import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from edge.backends import open_graph
from edge.backends.base import BackendInfo, Graph, check_answers
from edge.backends.trt.cudart import Device, load_cuda
from edge.backends.trt.library import load_library
from edge.manifest import Precision

TIME_ERROR, TIMEX_BYTES = 5, 1024
"""What adjtimex returns where nothing keeps the clock right (linux/timex.h); room for its struct of 208 bytes."""

WRITES, WRITTEN_BYTES = 5, 4096
"""How often a file is written, and how large."""

SHAPE = (8, 8, 3)
"""Height, width and channels of GRAPH's pictures."""

GRAPH = base64.b64decode(
    "CAgSCGJpbnNpZ2h0OvQCCh4KBWltYWdlEgRyZWFsIgRDYXN0KgkKAnRvGAGgAQIKLAoEcmVhbBIGcGxhbmVzIglUcmFuc3Bvc2Uq"
    "EQoEcGVybUAAQANAAUACoAEHCjUKBnBsYW5lcxIHcGljdHVyZSILQXZlcmFnZVBvb2wqFQoMa2VybmVsX3NoYXBlQAhACKABBwo3"
    "CgdwaWN0dXJlCgd3ZWlnaHRzEgZzY29yZXMiBENvbnYqFQoMa2VybmVsX3NoYXBlQAFAAaABBwoZCgZzY29yZXMSBmxvZ2l0cyIH"
    "RmxhdHRlbgogCgZsb2dpdHMSDXByb2JhYmlsaXRpZXMiB1NvZnRtYXgSBmRvY3RvciotCAIIAwgBCAEQAUIHd2VpZ2h0c0oYAAAA"
    "AAAAAAAK1yM8CtcjPAAAAAAAAAAAWh8KBWltYWdlEhYKFAgCEhAKAggBCgIICAoCCAgKAggDYh8KDXByb2JhYmlsaXRpZXMSDgoM"
    "CAESCAoCCAEKAggCQgQKABAR"
)
"""The smallest graph of a bundle's kind that makes an engine convolve: uint8 [1, 8, 8, 3] to two probabilities.
tests/edge/doctor_graph.py makes it."""


@dataclass(frozen=True)
class TensorRt:
    """The TensorRT that Python imports."""

    name: str
    """tensorrt or tensorrt_rtx."""
    version: str
    by_pip: bool = False
    """Whether pip put it there, and not apt."""


@dataclass(frozen=True)
class Volume:
    """The file system beneath a folder."""

    free: int
    """Bytes that a user may write."""
    total: int
    """Bytes."""
    free_files: int
    """Files that may be made; 0 of 0 where it does not count them."""
    total_files: int
    read_only: bool


def sees_system_packages() -> bool:
    """Say whether this Python sees the packages of the system: in a virtual environment it need not."""
    return sys.prefix == sys.base_prefix or any("dist-packages" in folder for folder in sys.path)


def clock_is_synchronised() -> bool | None:
    """Ask the kernel whether something keeps the clock right; None where it does not tell."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))  # modes 0: asks, sets nothing
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def installed(name: str) -> str | None:
    """Return the version of a Python distribution; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def opencv() -> str:
    """Return what OpenCV says of its build."""
    return str(cv2.getBuildInformation())


def gstreamer() -> str:
    """Say why GStreamer can't be used from Python; empty where it can."""
    try:
        import gi  # noqa: PLC0415  Debian's

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst  # noqa: PLC0415
    except (ImportError, ValueError) as error:
        return str(error)
    Gst.init(None)
    return ""


def cuda() -> Device:
    """Return the GPU. Raises BackendError."""
    return load_cuda().device


def tensorrt() -> TensorRt:
    """Return the TensorRT that Python imports. Raises BackendError."""
    library = load_library()
    with suppress(metadata.PackageNotFoundError):
        by = metadata.distribution(library.name.replace("_", "-")).read_text("INSTALLER") or ""
        return TensorRt(library.name, library.version, by.strip() == "pip")
    return TensorRt(library.name, library.version)


def engine(name: str) -> BackendInfo:
    """Run a small graph on an engine, and return what ran it. Raises BackendError."""
    with open_graph(Graph("a small graph", Precision.FP32, GRAPH, SHAPE), name) as backend:
        check_answers(backend.infer(np.zeros((1, *SHAPE), np.uint8)), backend.info)
        return backend.info


def volume(folder: Path) -> Volume:
    """Ask the file system beneath a folder. Raises OSError."""
    said = os.statvfs(folder)
    return Volume(
        said.f_bavail * said.f_frsize,
        said.f_blocks * said.f_frsize,
        said.f_favail,
        said.f_files,
        bool(said.f_flag & os.ST_RDONLY),
    )


def write(folder: Path) -> float:
    """Write a small file, see that it reached the disk, and remove it; return the seconds of a usual time.

    Raises OSError.
    """
    taken = []
    handle, name = tempfile.mkstemp(prefix=".edge-doctor-", dir=folder)
    try:
        for _ in range(WRITES):
            began = time.monotonic()
            os.write(handle, os.urandom(WRITTEN_BYTES))
            os.fsync(handle)
            taken.append(time.monotonic() - began)
    finally:
        os.close(handle)
        os.unlink(name)
    return statistics.median(taken)
