"""ONNX Runtime on the CPU and on CUDA."""

from __future__ import annotations

from importlib import metadata
from types import TracebackType
from typing import Any

from edge.backends.base import Answers, BackendInfo, Graph, check_batch
from edge.backends.outside import refuse_outside
from edge.errors import BackendError
from edge.preprocess import Pixels

INPUT, OUTPUT, STRANGENESS = "image", "probabilities", "strangeness"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntime:
    """A session on verified bytes: no path is handed over, so no other file can be pulled in."""

    def __init__(self, session: Any, shape: tuple[int, int, int], info: BackendInfo) -> None:
        self._session: Any = session
        self._shape = shape
        self.info = info

    def infer(self, batch: Pixels) -> Answers:
        """Answer uint8 [n, height, width, 3] BGR with n rows. Raises BackendError."""
        check_batch(batch, self._shape)
        try:
            return Answers(*self._session.run(None, {INPUT: batch}))
        except Exception as error:  # the runtime's own errors share no public root
            raise BackendError(f"{self.info.provider} failed on {self.info.file}: {error}") from error

    def close(self) -> None:
        """Drop the session: its memory goes with the last reference."""
        self._session = None

    def __enter__(self) -> OnnxRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_cpu(graph: Graph, threads: int) -> OnnxRuntime:
    """Open a graph on the CPU. Raises BackendError."""
    return _open(graph, threads, "onnxruntime", CPU)


def open_cuda(graph: Graph, threads: int) -> OnnxRuntime:
    """Open a graph on the CUDA GPU. Raises BackendError where that is not what runs."""
    return _open(graph, threads, "cuda", CUDA)


def has_cuda() -> bool:
    """Say whether this build of ONNX Runtime knows CUDA (whether it loads, only opening tells)."""
    return CUDA in _runtime().get_available_providers()


def session_options(threads: int) -> Any:
    """Return options for steady latency: fixed threads that sleep, not spin, between frames.

    `threads`: of one inference; 0 lets ONNX Runtime take one a physical core.
    """
    options = _runtime().SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
    try:
        session = ort.InferenceSession(graph.model, session_options(threads), providers=[provider])
    except Exception as error:  # the runtime's own errors share no public root
        raise BackendError(f"{graph.file} does not load on {provider}: {error}") from error
    got = session.get_providers()[0]
    if got != provider:  # a provider that can't load falls back to the CPU in silence
        raise BackendError(f"asked for {provider}, got {got}: its libraries do not load; see edge-run --debug")
    strangeness = _check_contract(session, graph.file)
    versions = (("onnxruntime", str(ort.__version__)),)
    info = BackendInfo(name, graph.file, graph.precision, provider, threads, versions, strangeness)
    return OnnxRuntime(session, graph.shape, info)


def _check_contract(session: Any, file: str) -> bool:
    """Return whether the graph answers strangeness too. Raises BackendError on other inputs or outputs."""
    got = [(node.name, node.type) for node in (*session.get_inputs(), *session.get_outputs())]
    expected = [(INPUT, "tensor(uint8)"), (OUTPUT, "tensor(float)")]
    second = (STRANGENESS, "tensor(float)")
    if got not in (expected, [*expected, second]):
        raise BackendError(
            f"{file} has inputs and outputs {got}; expected {expected}, and after them {second} or nothing: "
            "export the run again"
        )
    return second in got


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
