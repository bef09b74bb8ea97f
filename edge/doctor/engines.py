"""What decodes pictures and runs graphs: each is made to do some of it."""

from __future__ import annotations

import re
from functools import partial

from edge.doctor.board import jetson
from edge.doctor.finding import Finding, State, absent, ok, told, warn
from edge.doctor.machine import Machine
from edge.doctor.nvidia import has_gpu
from edge.errors import BackendError

OPENCVS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Distributions that all bring the module cv2, and overwrite each other."""
CPU_MEND = "pip install --force-reinstall 'binsight[cpu]'"
GPU_MEND = "pip uninstall -y onnxruntime, then pip install 'binsight[gpu]'"


def look(machine: Machine, backend: str = "auto") -> list[Finding]:
    """Look at OpenCV, ONNX Runtime and OpenVINO. `backend`: what the bin is told to run on."""
    return [
        *_opencv(machine),
        _onnxruntime(machine),
        _cuda_provider(machine, needed=backend == "cuda"),
        _openvino(machine, needed=backend == "openvino"),
    ]


def _opencv(machine: Machine) -> list[Finding]:
    said = machine.opencv()
    version = re.search(r"OpenCV (\S+)", said)
    has = partial(_has, said)
    parts = {"V4L2": has(r"v4l/v4l2"), "FFmpeg": has("FFMPEG"), "GStreamer": has("GStreamer")}
    shown = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in parts.items())
    found = f"OpenCV {version[1] if version else '?'}: {shown}"
    twice = [name for name in OPENCVS if machine.installed(name)]
    if len(twice) > 1:
        return [
            warn("opencv", f"{found}; {' and '.join(twice)} overwrite each other",
                 f"pip uninstall -y {' '.join(twice)}, then pip install opencv-python")
        ]  # fmt: skip
    lacking = {"V4L2": "USB cameras", "FFmpeg": "rtsp:// and videos"}
    missing = [f"{name}, for {what}" for name, what in lacking.items() if not parts[name]]
    if missing:
        mend = "pip install --force-reinstall opencv-python, which has both"
        return [warn("opencv", f"{found}; it lacks {' and '.join(missing)}", mend)]
    return [ok("opencv", found)]


def _has(said: str, name: str) -> bool:
    return bool(re.search(rf"{name}:\s+YES", said))


def _onnxruntime(machine: Machine) -> Finding:
    try:
        info = machine.engine("onnxruntime")
    except BackendError as error:
        return told("onnxruntime", State.FAIL, error, CPU_MEND)
    return ok("onnxruntime", f"ONNX Runtime {dict(info.versions).get('onnxruntime', '?')} runs a graph on the CPU")


def _cuda_provider(machine: Machine, *, needed: bool) -> Finding:
    try:
        info = machine.engine("cuda")
    except BackendError as error:
        if needed:
            return told("cuda_provider", State.FAIL, error, GPU_MEND)
        if machine.installed("onnxruntime-gpu"):
            return told("cuda_provider", State.WARN, error, "install the CUDA and cuDNN that it asks for")
        if has_gpu(machine) and not jetson(machine):
            return warn("cuda_provider", "the GPU is not used by this ONNX Runtime", GPU_MEND)
        return absent("cuda_provider", "ONNX Runtime without CUDA; on a Jetson TensorRT serves the GPU")
    return ok("cuda_provider", f"ONNX Runtime runs a graph on {info.device or 'CUDA'}")


def _openvino(machine: Machine, *, needed: bool) -> Finding:
    try:
        info = machine.engine("openvino")
    except BackendError as error:
        if not needed and machine.installed("openvino") is None:
            return absent("openvino", "not installed; quicker on x86 CPUs: pip install 'binsight[openvino]'")
        state = State.FAIL if needed else State.WARN
        return told("openvino", state, error, "pip install --upgrade 'binsight[openvino]'")
    return ok("openvino", f"OpenVINO {dict(info.versions).get('openvino', '?')} runs a graph on the CPU")
