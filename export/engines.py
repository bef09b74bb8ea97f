"""TensorRT engines of a bundle: built and proven here where there is a GPU, and foretold where there is none."""

from __future__ import annotations

from dataclasses import dataclass

from edge.backends import OPENERS, Graph, Options, graph_of
from edge.backends.tensorrt import machine
from edge.backends.trt.build import BuildSettings, build_engine
from edge.backends.trt.library import load_library
from edge.bundle import TENSORRT, Bundle
from edge.errors import BackendError, BundleError
from edge.manifest import Artifact, Verdict
from edge.progress import Phase, Progress, silent
from edge.proven import known, open_proven


@dataclass(frozen=True)
class Engine:
    """What became of one graph that TensorRT takes."""

    file: str
    """The graph's name in the bundle."""
    precision: str
    verdict: Verdict | None
    """Of the engine on this machine's GPU, and of no other; FAIL also where the builder refuses the graph; None:
    none was built here."""
    said: str
    """For the verdict, or what a device will do, one sentence."""

    @property
    def failed(self) -> bool:
        """Whether the engine was built and may not serve."""
        return self.verdict is Verdict.FAIL


def make_engines(bundle: Bundle, options: Options, phase: Phase = silent) -> tuple[Engine, ...]:
    """Build, prove and keep the engines of a bundle in this machine's cache, as a device does.

    Without a GPU NVIDIA's builder, where it is installed, is asked whether it takes the graphs.
    """
    graphs = [one for one in bundle.manifest.artifacts if OPENERS[TENSORRT].runtime in one.runtimes]
    try:
        machine()
    except BackendError as error:
        lacking = str(error)
        return tuple(_foretell(one, graph_of(bundle, TENSORRT, one.precision), lacking, options) for one in graphs)
    made = []
    for one in graphs:
        with phase(f"building the engine of {one.file}") as report:
            made.append(_make(bundle, one, options, report))
    return tuple(made)


def _make(bundle: Bundle, artifact: Artifact, options: Options, progress: Progress) -> Engine:
    precision = artifact.precision
    try:
        with open_proven(bundle, TENSORRT, precision, options, progress=progress) as backend:
            found = known(bundle, backend.info, options)
    except (BackendError, BundleError) as error:  # it can't be built, or is not to be trusted
        return Engine(artifact.file, precision.value, Verdict.FAIL, str(error))
    if found is None:
        why = f"its verdict could not be kept in {options.cache}: make room there"
        return Engine(artifact.file, precision.value, Verdict.FAIL, why)
    return Engine(artifact.file, precision.value, found.verdict, found.reason)


def _foretell(artifact: Artifact, graph: Graph, lacking: str, options: Options) -> Engine:
    """Say what a device will do, and whether NVIDIA's builder takes the graph, where one is here."""
    said = (
        f"no engine is built here ({lacking}); edge-run builds it on a device with a GPU and TensorRT, while ONNX "
        "Runtime serves, and lets it serve once it has passed self-test and parity there"
    )
    try:
        library = load_library()
    except BackendError:
        return Engine(artifact.file, artifact.precision.value, None, said)
    try:
        build_engine(graph, library, BuildSettings(options.max_batch, options.workspace))
    except BackendError as error:
        return Engine(artifact.file, artifact.precision.value, Verdict.FAIL, str(error))
    taken = f"; the builder of {library.name} {library.version} takes the graph"
    return Engine(artifact.file, artifact.precision.value, None, said + taken)
