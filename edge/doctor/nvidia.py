"""CUDA and TensorRT: are they there, do they fit each other and the board."""

from __future__ import annotations

import re

from edge.backends.tensorrt import misfit
from edge.backends.trt.cudart import Device
from edge.doctor.board import CHIPS, Jetson, jetson, packages
from edge.doctor.finding import Finding, State, absent, fail, ok, told
from edge.doctor.machine import Machine
from edge.doctor.probes import TensorRt
from edge.errors import BackendError

CUDA_OF = {6: "12", 7: "13"}
"""JetPack to the CUDA that it brings."""
APT = "sudo apt install python3-libnvinfer, and make the virtual environment with --system-site-packages"
NVIDIA_VENDOR = "0x10de"
"""Of a PCI device."""


def look(machine: Machine, backend: str = "auto") -> list[Finding]:
    """Look at CUDA and TensorRT. `backend`: what the bin is told to run on."""
    board = jetson(machine)
    device, cuda = _cuda(machine, board, needed=backend in ("tensorrt", "cuda"))
    if not board and not has_gpu(machine) and backend != "tensorrt":
        return [cuda, absent("tensorrt", "nothing that it could run on")]
    return [cuda, *_tensorrt(machine, board, device, needed=backend == "tensorrt")]


def _cuda(machine: Machine, board: Jetson | None, *, needed: bool) -> tuple[Device | None, Finding]:
    try:
        device = machine.cuda()
    except BackendError as error:
        if not (board or has_gpu(machine) or needed):
            return None, absent("cuda", "no NVIDIA GPU")
        return None, told("cuda", State.FAIL if needed else State.WARN, error, "install CUDA and its driver")
    shown = f"{device.name}, compute capability {device.compute_capability}"
    return device, ok("cuda", f"{shown}, CUDA {device.runtime}, driver up to {device.driver}")


def _tensorrt(machine: Machine, board: Jetson | None, device: Device | None, *, needed: bool) -> list[Finding]:
    bad = State.FAIL if needed else State.WARN
    apt = packages(machine).get("libnvinfer10", "")
    device = device or _expected(board, apt)
    refused = misfit(_version(apt), device) if apt and device else ""
    try:
        library = machine.tensorrt()
    except BackendError as error:
        if refused:
            return [_refused(refused)]
        if apt and not machine.host.system_packages:
            there = f"TensorRT {_version(apt)} is there, and this Python does not see it"
            return [Finding("tensorrt", bad, there, APT)]
        if board:
            return [Finding("tensorrt", bad, "TensorRT is missing: the bin runs on the CPU", APT)]
        return [told("tensorrt", bad, error, APT)] if needed else [absent("tensorrt", "not installed")]
    refused = misfit(library.version, device) if device else refused
    if refused:
        return [_refused(refused)]
    return [_fits(library, board, apt, bad)]


def _refused(why: str) -> Finding:
    found, _, _ = why.partition(": expected")
    return fail(
        "tensorrt",
        f"{found}: engines can't be built",
        "sudo apt install tensorrt from the apt repository of JetPack 7.2, which has 10.16.1 or later; or flash "
        "JetPack 6.2",
    )


def _fits(library: TensorRt, board: Jetson | None, apt: str, bad: State) -> Finding:
    shown = f"{library.name} {library.version}"
    if board and library.by_pip:
        return Finding(
            "tensorrt", bad, f"{shown} came by pip; JetPack's own is sure to serve this GPU",
            f"pip uninstall {library.name}; {APT}",
        )  # fmt: skip
    built_for = re.search(r"\+cuda(\d+)", apt)
    expected = CUDA_OF.get(board.generation) if board else None
    if built_for and expected and built_for[1] != expected:
        return Finding(
            "tensorrt", bad,
            f"{shown} is for CUDA {built_for[1]}, and this JetPack has CUDA {expected}",
            "take TensorRT from the board's own apt repository: sudo apt install tensorrt",
        )  # fmt: skip
    return ok("tensorrt", shown)


def _expected(board: Jetson | None, apt: str) -> Device | None:
    """Return what the board's GPU is by its chip, where CUDA does not reach it."""
    if board is None or board.chip not in CHIPS:
        return None
    built_for = re.search(r"\+cuda([\d.]+)", apt)
    runtime = f"{built_for[1]}." if built_for else CUDA_OF.get(board.generation, "") + "."
    return Device(board.chip, CHIPS[board.chip], "", runtime, integrated=True)


def _version(apt: str) -> str:
    """10.3.0.30-1+cuda12.5 is 10.3.0.30."""
    return apt.partition("-")[0]


def has_gpu(machine: Machine) -> bool:
    """Say whether an NVIDIA GPU is plugged in, or its driver runs."""
    if machine.path("/proc/driver/nvidia/version").exists():
        return True
    return any(
        machine.read(path) == NVIDIA_VENDOR and machine.read(path.parent / "class").startswith("0x03")
        for path in machine.glob("/sys/bus/pci/devices/*/vendor")
    )
