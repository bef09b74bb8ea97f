"""What training runs on, and in what arithmetic."""

from __future__ import annotations

import platform
from importlib import metadata

import torch

from edge.errors import TrainError, UsageError
from train.recipe import Amp


def choose_device(name: str) -> torch.device:
    """Return the device for auto, cpu, cuda or cuda:N. Raises UsageError, TrainError where it is not there."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in {"cpu", "cuda"} or (number and (kind == "cpu" or not number.isdigit())):
        raise UsageError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "finds no CUDA GPU or driver" if torch.version.cuda else f"is a CPU wheel: install {_cuda_wheel()}"
        raise TrainError(f"device {name} can't be had: torch {torch.__version__} {why}; or take --device cpu")
    if int(number or 0) >= torch.cuda.device_count():
        raise TrainError(f"device {name} can't be had: there are {torch.cuda.device_count()} CUDA GPUs, from 0")
    return torch.device("cuda", int(number or 0))


def _cuda_wheel() -> str:
    """Name the wheel of this version that has CUDA."""
    return f"a CUDA wheel of torch {torch.__version__.partition('+')[0]} (+cu in its version, not +cpu)"


def use_bf16(amp: Amp, device: torch.device) -> bool:
    """Say whether bf16 autocast is used: on demand, or where the processor multiplies it natively."""
    if amp is not Amp.AUTO:
        return amp is Amp.BF16
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def device_name(device: torch.device) -> str:
    """Return the GPU's or the processor's name."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())


def library_versions() -> dict[str, str]:
    """Return the versions that a checkpoint records."""
    names = ("binsight", "torch", "torchvision", "lightning", "numpy", "opencv-python", "pillow")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}
