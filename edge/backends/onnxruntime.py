"""ONNX Runtime on the CPU and on CUDA."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edge.backends.base import INPUT, Answers, BackendInfo, Graph, Options, check_batch, check_contract, cpu_name
from edge.backends.outside import refuse_outside
from edge.backends.trt.cudart import load_cuda
from edge.errors import BackendError
from edge.preprocess import Pixels

DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
"""ONNX Runtime's own names of dtypes to numpy's."""
CUDA_LIBRARY = "libonnxruntime_providers_cuda.so"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SETTINGS: dict[str, dict[str, str]] = {CPU: {}, CUDA: {"use_tf32": "0"}}
"""Options of each provider. CUDA of itself rounds what fp32 graphs multiply to TF32, with 11 bits of their 24."""

log = logging.getLogger(__name__)


class OnnxRuntime:
    """A session on verified bytes: no path is handed over, so no other file can be pulled in."""

    def __init__(self, session: Any, shape: tuple[int, int, int], info: BackendInfo) -> None:
        self._session: Any = session
        self._shape = shape
        self.info = info

    @property
    def session(self) -> Any:
        """The InferenceSession itself, for who measures what this class adds to it."""
        return self._session

    def infer(self, batch: Pixels) -> Answers:
        """Answer uint8 [n, height, width, 3] BGR with n rows. Raises BackendError."""
        check_batch(batch, self._shape)
        try:
            return Answers(*self._session.run(None, {INPUT: batch}))
        except Exception as error:  # the runtime's own errors share no public root
            raise BackendError(f"{self.info.provider} failed on {self.info.file}: {error}") from error

    def allocate(self, images: int) -> Pixels:
        """Return uint8 [images, height, width, 3]: plain memory, which a session reads in place."""
        return np.zeros((images, *self._shape), dtype=np.uint8)

    def close(self) -> None:
        """Drop the session: its memory goes with the last reference."""
        self._session = None

    def __enter__(self) -> OnnxRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_cpu(graph: Graph, options: Options) -> OnnxRuntime:
    """Open a graph on the CPU. Raises BackendError."""
    return _open(graph, options.threads, "onnxruntime", CPU)


def open_cuda(graph: Graph, options: Options) -> OnnxRuntime:
    """Open a graph on the CUDA GPU. Raises BackendError where that is not what runs."""
    return _open(graph, options.threads, "cuda", CUDA)


def lacks_cuda(graph: Graph, options: Options) -> str:  # noqa: ARG001  every engine is asked so
    """Say why CUDA is not to be tried; empty where ONNX Runtime knows it. Whether it loads, opening tells."""
    return "" if CUDA in _runtime().get_available_providers() else "this ONNX Runtime has no CUDA provider"


def session_options(threads: int) -> Any:
    """Return options for steady latency and for int8 that answers alike on every x86 CPU.

    Threads are fixed and sleep, not spin, between frames.
    `threads`: of one inference; 0 lets ONNX Runtime take one a physical core.
    """
    options = _runtime().SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI the fast product of uint8 and int8 adds pairs in 16 bits, which overflow. With VNNI this changes
    # nothing.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3  # errors only: its warnings about folded nodes are of no use on a bin
    return options


def _open(graph: Graph, threads: int, name: str, provider: str) -> OnnxRuntime:
    ort = _runtime()
    if provider not in ort.get_available_providers():
        raise BackendError(
            f"this ONNX Runtime has no {provider} (it has {', '.join(ort.get_available_providers())}): "
            "install binsight[gpu] in place of binsight[cpu], or take --backend onnxruntime"
        )
    refuse_outside(graph)
    if provider == CUDA:
        _preload(ort)
    try:
        session = ort.InferenceSession(
            graph.model, session_options(threads), providers=[(provider, SETTINGS[provider])]
        )
    except Exception as error:  # the runtime's own errors share no public root
        raise BackendError(f"{graph.file} does not load on {provider}: {error}") from error
    got = session.get_providers()[0]
    if got != provider:  # a provider that can't load falls back to the CPU in silence
        raise BackendError(
            f"asked for {provider}, got {got}: {_why_not(ort)}; install the CUDA and cuDNN that this ONNX Runtime "
            "asks for (NVIDIA's wheels or the system's), or take --backend onnxruntime"
        )
    inputs, outputs = (
        [(node.name, DTYPES.get(node.type, node.type)) for node in nodes]
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    strangeness = check_contract(graph.file, inputs, outputs)
    device, beneath = _gpu() if provider == CUDA else (cpu_name(), ())
    info = BackendInfo(
        name=name,
        file=graph.file,
        precision=graph.precision,
        provider=provider,
        threads=threads,
        versions=(("onnxruntime", str(ort.__version__)), *beneath),
        strangeness=strangeness,
        device=device,
        megabytes=len(graph.model) / 1e6,
    )
    return OnnxRuntime(session, graph.shape, info)


def _preload(ort: Any) -> None:
    """Load CUDA and cuDNN from NVIDIA's wheels: ONNX Runtime (from 1.21 on) finds them there only when told to."""
    preload = getattr(ort, "preload_dlls", None)
    if preload:
        with contextlib.redirect_stdout(io.StringIO()):  # on which it prints what it does not find
            preload()


def _why_not(ort: Any) -> str:
    """Return the library that the CUDA provider misses, in the loader's words."""
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / CUDA_LIBRARY))
    except OSError as error:
        return str(error)
    return "its library loads, and it does not start"


def _gpu() -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the GPU's name and the CUDA beneath ONNX Runtime; nothing where none tells."""
    try:
        device = load_cuda().device
    except BackendError as error:
        log.debug("the GPU does not tell its name: %s", error)
        return "", ()
    return device.name, (("cuda", device.runtime), ("driver", device.driver))


def _runtime() -> Any:
    """Import ONNX Runtime. Raises BackendError where it is missing, or there twice."""
    try:
        import onnxruntime  # noqa: PLC0415  optional and heavy
    except ImportError as error:
        raise BackendError(f"ONNX Runtime is missing ({error}): pip install 'binsight[cpu]'") from error
    if not hasattr(onnxruntime, "InferenceSession") or {"onnxruntime", "onnxruntime-gpu"} <= _installed():
        raise BackendError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install binsight with [cpu] or with [gpu]"
        )
    return onnxruntime


def _installed() -> set[str]:
    found = set()
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
    return found
