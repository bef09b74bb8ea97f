"""Inference engines behind one door. A new engine is one file and one line in OPENERS."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from edge import choices
from edge.backends import onnxruntime, openvino, tensorrt
from edge.backends.base import Answers, Backend, BackendInfo, Graph, Options, Probabilities, Strangeness
from edge.bundle import ONNX_RUNTIME, OPENVINO, TENSORRT, Bundle
from edge.errors import BackendError, BundleError, UsageError, nearest
from edge.manifest import Precision

__all__ = [
    "BACKENDS",
    "Answers",
    "Backend",
    "BackendInfo",
    "Graph",
    "Options",
    "Probabilities",
    "Strangeness",
    "first_of",
    "graph_of",
    "open_backend",
    "open_graph",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opener:
    """How one engine is opened."""

    open: Callable[[Graph, Options], Backend]
    runtime: str = ONNX_RUNTIME
    """Whose graphs it takes, as in the manifest's runtimes."""
    lacks: Callable[[Graph, Options], str] = lambda *_: ""
    """Why --backend auto is not to try it; empty where it is."""


OPENERS = {
    "tensorrt": Opener(tensorrt.open_tensorrt, TENSORRT, tensorrt.lacks),
    "cuda": Opener(onnxruntime.open_cuda, lacks=onnxruntime.lacks_cuda),
    "onnxruntime": Opener(onnxruntime.open_cpu),
    "openvino": Opener(openvino.open_openvino, OPENVINO),
}
AUTO = ("tensorrt", "cuda", "onnxruntime")
"""What --backend auto tries, in this order. OpenVINO serves where it is asked for."""
BACKENDS = choices.BACKENDS
DEFAULT = Options()


def open_backend(
    bundle: Bundle, name: str = "auto", precision: Precision | None = None, options: Options = DEFAULT
) -> Backend:
    """Open the bundle's graph of `precision` (None: the recommended one) on the engine `name`.

    `auto` takes the first of AUTO that is ready and opens, and logs why another did not. Nothing is known yet of
    what it answers: see edge.proven. Raises UsageError on an unknown name; BackendError; BundleError where the
    bundle has no such graph, or promises to know strangers and the graph does not.
    """

    def open_one(one: str) -> Backend:
        return _check_strangers(bundle, open_graph(graph_of(bundle, one, precision), one, options))

    return first_of(bundle, name, precision, options, open_one)


def first_of(
    bundle: Bundle,
    name: str,
    precision: Precision | None,
    options: Options,
    open_one: Callable[[str], Backend],
) -> Backend:
    """Return what `open_one` opens of the engine `name`, or for `auto` of the first that opens."""
    if name != "auto":
        return open_one(name)
    *others, last = AUTO
    for other in others:
        opener = OPENERS[other]
        if not bundle.fits(precision, opener.runtime):
            continue
        lacking = opener.lacks(graph_of(bundle, other, precision), options)
        if lacking:
            log.debug("%s is not taken: %s", other, lacking)
            continue
        try:
            return open_one(other)
        except (BackendError, BundleError) as error:
            log.warning("%s does not serve: %s", other, error)
    return open_one(last)


def graph_of(bundle: Bundle, name: str, precision: Precision | None = None) -> Graph:
    """Return the graph of `precision` (None: the recommended one) that the engine `name` takes.

    Raises UsageError on an unknown name, BundleError where the bundle has none.
    """
    artifact = bundle.artifact(precision, _opener(name).runtime)
    return Graph(artifact.file, artifact.precision, bundle.read(artifact.file), bundle.manifest.input.shape)


def open_graph(graph: Graph, name: str = ONNX_RUNTIME, options: Options = DEFAULT) -> Backend:
    """Open a graph on the engine `name`. Raises UsageError on an unknown name, BackendError."""
    return _opener(name).open(graph, options)


def _opener(name: str) -> Opener:
    if name not in OPENERS:
        raise UsageError(f"unknown backend {name!r}; nearest: {nearest(name, BACKENDS)}")
    return OPENERS[name]


def _check_strangers(bundle: Bundle, backend: Backend) -> Backend:
    artifact = bundle.manifest.artifact_of(backend.info.file)
    if artifact.stranger_threshold is not None and not backend.info.strangeness:
        backend.close()
        raise BundleError(
            f"{bundle.folder}: {artifact.file} has the stranger_threshold {artifact.stranger_threshold:g} and no "
            'output "strangeness" to compare with it: export the run again'
        )
    return backend
