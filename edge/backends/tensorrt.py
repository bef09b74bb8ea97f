"""TensorRT engines, built on the device that runs them and kept there."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.backends.base import BackendInfo, Graph, Options
from edge.backends.outside import refuse_outside
from edge.backends.trt.build import BuildSettings, build_engine
from edge.backends.trt.cudart import Cuda, Device, load_cuda
from edge.backends.trt.library import Library, load_library
from edge.backends.trt.runner import TensorRT, run_plan
from edge.backends.trt.store import Key, Store
from edge.errors import BackendError, EngineError

log = logging.getLogger(__name__)

NOT_BUILT = "this device has no TensorRT engine of it yet; edge-run builds one, and so does --backend tensorrt"
ORIN, LEAST_ON_ORIN = "8.7", (10, 16, 1)
"""Compute capability; and the first TensorRT for CUDA 13 that has kernels for it."""

TELL_EVERY = 10.0
"""Seconds between two lines on the progress of a build."""


@dataclass(frozen=True)
class Machine:
    """What TensorRT needs beneath it."""

    library: Library
    cuda: Cuda


def machine() -> Machine:
    """Return this device's TensorRT and CUDA.

    Raises BackendError: no driver, an old one, a missing library, and a TensorRT that has nothing for this GPU.
    """
    here = Machine(load_library(), load_cuda())
    lacking = misfit(here.library.version, here.cuda.device)
    if lacking:
        raise BackendError(lacking)
    return here


def misfit(version: str, device: Device) -> str:
    """Say why a TensorRT of `version` can't serve a GPU; empty where nothing speaks against it."""
    its = _numbers(version)
    if device.compute_capability == ORIN and device.runtime.startswith("13.") and its < LEAST_ON_ORIN:
        return (
            f"TensorRT {version} for CUDA 13 has no kernels for {device.name}: expected "
            f"{'.'.join(map(str, LEAST_ON_ORIN))} or later, as JetPack 7.2 brings it"
        )
    return ""


def open_tensorrt(graph: Graph, options: Options) -> TensorRT:
    """Open the engine of a graph; where `options.cache` has none of this very device it is built, in minutes.

    Raises BackendError: what `machine` says, a graph that the parser refuses, a builder out of memory, a cache
    that can't be written, an engine that does not run, and with `options.build` False one that is not there.
    """
    refuse_outside(graph)
    here = machine()
    key = _key(graph, here, options)
    store = None if options.cache is None else Store(options.cache)
    kept = _open_kept(store, key, graph, here, options) if store else None
    if kept:
        return kept
    if not options.build:
        raise BackendError(f"{graph.file}: {NOT_BUILT}")
    if store is None:
        return _run(_build(graph, here, options), key, graph, here, options)
    with store.building():
        kept = _open_kept(store, key, graph, here, options)  # perhaps somebody else built it while we waited
        if kept:
            return kept
        plan = _build(graph, here, options, store, key)
        opened = _run(plan, key, graph, here, options)
        try:
            store.keep(key, plan)
        except BackendError:
            opened.close()
            raise
        return opened


def lacks(graph: Graph, options: Options) -> str:
    """Say why --backend auto is not to try TensorRT; empty where an engine of the graph is kept here."""
    try:
        here = machine()
    except BackendError as error:
        return str(error)
    return "" if _has(graph, here, options) else NOT_BUILT


def is_buildable(graph: Graph, options: Options) -> bool:
    """Say whether this device could keep an engine of the graph, and has none that is sound."""
    try:
        here = machine()
    except BackendError as error:
        log.debug("no TensorRT engine is built: %s", error)
        return False
    return options.cache is not None and not _has(graph, here, options)


def discard(info: BackendInfo, options: Options) -> None:
    """Remove the engine that runs as `info` says, so that the next opening builds it."""
    if options.cache is not None:
        Store(options.cache).discard(info.engine.partition("-")[0])


def _has(graph: Graph, here: Machine, options: Options) -> bool:
    return options.cache is not None and Store(options.cache).load(_key(graph, here, options)) is not None


def _open_kept(store: Store, key: Key, graph: Graph, here: Machine, options: Options) -> TensorRT | None:
    """Open the engine that is kept. One that is of no use here is removed; a GPU without room is an error."""
    plan = store.load(key)
    if plan is None:
        return None
    try:
        return _run(plan, key, graph, here, options)
    except EngineError as error:
        log.warning("the TensorRT engine that was kept is of no use: %s", error)
        store.discard(key.name)
        return None


def _build(
    graph: Graph, here: Machine, options: Options, store: Store | None = None, key: Key | None = None
) -> bytes:
    device = here.cuda.device
    log.info("building the TensorRT engine of %s for %s: minutes, on a small board", graph.file, device.name)
    timings = store.timing_cache(key) if store and key else b""
    settings = BuildSettings(options.max_batch, options.workspace, timings)
    built = build_engine(graph, here.library, settings, _Progress(graph.file))
    if store and key and built.timing_cache:
        store.keep_timing_cache(key, built.timing_cache)
    return built.plan


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


class _Progress:
    """Says in the log how far a build is, every ten seconds."""

    def __init__(self, file: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock, self._told = file, clock, clock()

    def __call__(self, done: int, total: int) -> None:
        if self._clock() - self._told >= TELL_EVERY:
            self._told = self._clock()
            log.info("building the TensorRT engine of %s: %d %%", self._file, 100 * done // total)


def _run(plan: bytes, key: Key, graph: Graph, here: Machine, options: Options) -> TensorRT:
    engine = f"{key.name}-{hashlib.sha256(plan).hexdigest()[:16]}"
    return run_plan(plan, graph, here.library, here.cuda, options, engine)


def _key(graph: Graph, here: Machine, options: Options) -> Key:
    device = here.cuda.device
    return Key(
        onnx=hashlib.sha256(graph.model).hexdigest(),
        library=f"{here.library.name} {here.library.version}",
        gpu=device.name,
        compute_capability=device.compute_capability,
        driver=device.driver,
        max_batch=options.max_batch,
        workspace=options.workspace,
    )
