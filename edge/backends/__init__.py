"""Inference engines behind one door. A new engine is one file and one line in OPENERS."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.backends import onnxruntime
from edge.backends.base import Answers, Backend, BackendInfo, Graph, Probabilities, Strangeness
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError, UsageError, nearest
from edge.manifest import Precision

__all__ = [
    "BACKENDS",
    "Answers",
    "Backend",
    "BackendInfo",
    "Graph",
    "Probabilities",
    "Strangeness",
    "open_backend",
    "open_graph",
]

log = logging.getLogger(__name__)

OPENERS: dict[str, Callable[[Graph, int], Backend]] = {
    "onnxruntime": onnxruntime.open_cpu,
    "cuda": onnxruntime.open_cuda,
}
BACKENDS = ("auto", *OPENERS)


def open_backend(
    bundle: Bundle, name: str = "auto", precision: Precision | None = None, threads: int = 0
) -> Backend:
    """Open the bundle's graph of `precision` (None: the recommended one) on the engine `name`.

    Otherwise as open_graph. Raises BundleError where the bundle has no such graph, or promises to know strangers
    and the graph does not.
    """
    artifact = bundle.artifact(precision)
    model = bundle.read(artifact.file)
    graph = Graph(artifact.file, artifact.precision, model, bundle.manifest.input.shape)
    backend = open_graph(graph, name, threads)
    if artifact.stranger_threshold is not None and not backend.info.strangeness:
        backend.close()
        raise BundleError(
            f"{bundle.folder}: {artifact.file} has the stranger_threshold {artifact.stranger_threshold:g} and no "
            'output "strangeness" to compare with it: export the run again'
        )
    return backend


def open_graph(graph: Graph, name: str = "auto", threads: int = 0) -> Backend:
    """Open a graph on the engine `name`.

    `auto` takes CUDA where it loads and the CPU elsewhere, and logs why. `threads` is for one inference on
    the CPU; 0 lets the engine choose. Raises UsageError on an unknown name, BackendError.
    """
    if name == "auto":
        return _open_best(graph, threads)
    if name not in OPENERS:
        raise UsageError(f"unknown backend {name!r}; nearest: {nearest(name, BACKENDS)}")
    return OPENERS[name](graph, threads)


def _open_best(graph: Graph, threads: int) -> Backend:
    if onnxruntime.has_cuda():
        try:
            return onnxruntime.open_cuda(graph, threads)
        except BackendError as error:
            log.warning("CUDA does not serve, the CPU does: %s", error)
    return onnxruntime.open_cpu(graph, threads)
