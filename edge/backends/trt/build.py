"""Building: from an ONNX graph to an engine for the GPU at hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from edge.backends.base import INPUT, Graph, check_contract
from edge.backends.outside import refuse_outside
from edge.backends.trt.library import TENSORRT, Library, is_about_memory
from edge.backends.trt.precision import Layers, check_layers, dtype_of, read_layers
from edge.errors import BackendError
from edge.progress import Progress

SMALL = 16 << 20
"""Bytes of workspace below which an error about memory is about the workspace."""


@dataclass(frozen=True)
class BuildSettings:
    """How an engine is to be built."""

    max_batch: int = 1
    """Images that it answers at once, at most."""
    workspace: int = 1 << 30
    """Bytes of GPU memory that a layer may use."""
    timing_cache: bytes = b""
    """What an earlier build on this device measured; empty, stale or broken: everything is measured anew."""


@dataclass(frozen=True)
class Built:
    """An engine, as TensorRT writes it."""

    plan: bytes
    timing_cache: bytes
    """For the next build; empty where the library keeps none."""
    layers: Layers
    """What the layers of its network compute in."""


def build_engine(
    graph: Graph, library: Library, settings: BuildSettings, progress: Progress | None = None
) -> Built:
    """Build the engine of a graph, strongly typed and without TF32: its precision is the graph's.

    `progress` is told percents, from another thread. Raises BackendError: a graph that is not a bundle's, that the
    parser refuses, or that computes in another precision than it claims; no GPU, and too little memory.
    """
    refuse_outside(graph)
    monitor = _monitor(library.api, progress)
    # Signals interrupt the main thread alone: there they would strike inside TensorRT's callbacks, which swallow
    # what is raised, so that Ctrl-C would be lost.
    with ThreadPoolExecutor(1, thread_name_prefix="tensorrt-build") as pool:
        try:
            return pool.submit(_build, graph, library, settings, monitor).result()
        except BaseException:
            monitor.cancelled = True  # and the pool waits until the builder has noticed
            raise


def _build(graph: Graph, library: Library, settings: BuildSettings, monitor: Any) -> Built:
    library.logger.errors.clear()
    builder = _builder(library)
    network = builder.create_network(1 << int(library.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.api.OnnxParser(network, library.logger)  # it owns weights of the network: alive until the end
    if not parser.parse(graph.model):
        raise _refusal(parser, graph)
    _check_contract(network, graph)
    layers = read_layers(network, library)
    check_layers(layers, graph.precision, graph.file)
    config = _configure(builder, graph, library, settings)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.failure is not None:
        raise monitor.failure
    if plan is None:
        raise _failure(graph, library, settings)
    return Built(bytes(plan), _timing_cache(config, library), layers)


def _builder(library: Library) -> Any:
    try:
        builder = library.api.Builder(library.logger)
    except Exception as error:  # the bindings raise TypeError where the library gives none
        raise BackendError(
            f"{library.name} {library.version} builds nothing here: {library.last_error() or error}; "
            "see with nvidia-smi whether there is a GPU, and a driver new enough"
        ) from error
    return builder


def _refusal(parser: Any, graph: Graph) -> BackendError:
    """Say what the parser does not take: node, operator and reason of the first error."""
    if not parser.num_errors:
        return BackendError(f"{graph.file} is refused by TensorRT's parser without a reason: export the run again")
    error = parser.get_error(0)
    reason = " ".join(error.desc().split())
    if not error.node_operator():
        return BackendError(f"{graph.file} is refused by TensorRT's parser: {reason}; export the run again")
    return BackendError(
        f"{graph.file} is refused by TensorRT's parser: node {error.node_name()!r}, operator "
        f"{error.node_operator()}: {reason}; take another --precision, or --backend onnxruntime"
    )


def _check_contract(network: Any, graph: Graph) -> None:
    """Raise BackendError unless inputs and outputs are those of a bundle's graph, with any number of images."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    check_contract(graph.file, *([(one.name, dtype_of(one)) for one in side] for side in (inputs, outputs)))
    shape = tuple(inputs[0].shape)
    if shape != (-1, *graph.shape):
        raise BackendError(
            f"{graph.file} takes {list(shape)}; expected [-1, {', '.join(map(str, graph.shape))}], any number of "
            "images: export the run again"
        )


def _configure(builder: Any, graph: Graph, library: Library, settings: BuildSettings) -> Any:
    api = library.api
    config = builder.create_builder_config()
    config.clear_flag(api.BuilderFlag.TF32)  # on by default, and then fp32 is not fp32
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, settings.workspace)
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED  # else the inspector tells names alone
    profile = builder.create_optimization_profile()
    # Tuned for one image: that is what a bin sees. Larger batches are for measuring.
    profile.set_shape(INPUT, (1, *graph.shape), (1, *graph.shape), (settings.max_batch, *graph.shape))
    config.add_optimization_profile(profile)
    if library.name == TENSORRT:  # TensorRT-RTX measures nothing while it builds: there these calls do nothing
        cache = config.create_timing_cache(settings.timing_cache)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return config


def _timing_cache(config: Any, library: Library) -> bytes:
    cache = config.get_timing_cache() if library.name == TENSORRT else None
    return b"" if cache is None else bytes(cache.serialize())


def _failure(graph: Graph, library: Library, settings: BuildSettings) -> BackendError:
    """Say why there is no engine, as far as the library told its logger."""
    why = library.last_error() or "it gave no reason"
    short = is_about_memory(why)
    if "workspace" in why.lower() or (short and settings.workspace < SMALL):
        mend = "raise --workspace"
    elif short:
        mend = "free memory, or lower --workspace or --max-batch"
    else:
        mend = "take --backend onnxruntime, and report this with the graph"
    return BackendError(
        f"{library.name} {library.version} built no engine of {graph.file} with a workspace of "
        f"{settings.workspace / 1e6:g} MB and batches of up to {settings.max_batch}: {why}; {mend}"
    )


def _monitor(api: Any, progress: Progress | None) -> Any:
    """Return the IProgressMonitor of a build, which can be cancelled. TensorRT has had it since 9.0."""

    class Monitor(api.IProgressMonitor):  # type: ignore[misc]  # from a module that may not be there
        """Turns phases within phases into percents. Its callbacks must not raise: TensorRT would swallow it."""

        def __init__(self) -> None:
            super().__init__()
            self.cancelled = False
            self.failure: Exception | None = None
            """What `progress` raised."""
            self._open: dict[str, tuple[int, int]] = {}
            """Phase to steps done and steps that it has, the outermost first."""
            self._told = 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002
            self._open[phase_name] = (0, max(1, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            _, steps = self._open.get(phase_name, (0, step + 1))
            self._open[phase_name] = (step + 1, steps)
            self._tell()
            return not self.cancelled

        def phase_finish(self, phase_name: str) -> None:
            self._open.pop(phase_name, None)

        def _tell(self) -> None:
            share, part = 0.0, 1.0
            for done, steps in list(self._open.values()):  # phases may run in several threads
                share, part = share + part * done / steps, part / steps
            if progress is None or int(share * 100) <= self._told:
                return
            self._told = int(share * 100)
            try:
                progress(self._told, 100)
            except Exception as error:  # noqa: BLE001  raised again by whoever waits for the engine
                self.failure, self.cancelled = error, True

    return Monitor()
