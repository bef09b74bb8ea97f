"""A TensorRT engine at work: its memory, its stream, and one batch after another."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.backends.base import (
    INPUT,
    OUTPUT,
    STRANGENESS,
    Answers,
    BackendInfo,
    Graph,
    Options,
    check_batch,
    join,
)
from edge.backends.trt.cudart import Cuda, CudaGraph, Stream
from edge.backends.trt.library import Library
from edge.backends.trt.memory import Buffer
from edge.backends.trt.plan import PROVIDERS, Layout, load_engine, make_context, read_layout
from edge.backends.trt.precision import check_engine
from edge.errors import BackendError
from edge.preprocess import Pixels

log = logging.getLogger(__name__)

STEADY = 4
"""Runs of one size in a row before recording them as a CUDA graph is worth the milliseconds that it takes."""


def run_plan(
    plan: bytes, graph: Graph, library: Library, cuda: Cuda, options: Options, engine: str = ""
) -> TensorRT:
    """Open the engine `plan` that was built of `graph`; `engine` is its name in this device's cache.

    Raises EngineError on an engine of another GPU, TensorRT, graph, precision or `options.max_batch`, BackendError
    where the GPU has no room for it.
    """
    device = cuda.device
    loaded = load_engine(plan, graph, library, device)
    layout = read_layout(loaded, graph, library, options.max_batch)
    info = BackendInfo(
        name="tensorrt",
        file=graph.file,
        precision=graph.precision,
        provider=PROVIDERS[library.name],
        threads=0,
        versions=((library.name, library.version), ("cuda", device.runtime), ("driver", device.driver)),
        strangeness=STRANGENESS in layout.outputs,
        device=device.name,
        engine=engine,
        megabytes=len(plan) / 1e6,
    )
    opened = TensorRT(loaded, layout, cuda, library, info)
    try:
        check_engine(opened.inspect(), graph.precision, f"the engine of {graph.file}")
    except BaseException:
        opened.close()
        raise
    return opened


class TensorRT:
    """An engine with its memory and one stream. Answers more than its profile takes in turns."""

    def __init__(self, engine: Any, layout: Layout, cuda: Cuda, library: Library, info: BackendInfo) -> None:
        """Take the engine into use. Raises BackendError where the GPU has no room for it."""
        self.info = info
        self._engine, self._library = engine, library
        self._layout, self._cuda = layout, cuda
        self._lent: Buffer | None = None
        self._graph: CudaGraph | None = None
        self._laid: tuple[Buffer, int] | None = None
        self._runs, self._graphs_work = 0, True
        with ExitStack() as owned:
            self._context = make_context(engine, info.file)
            owned.callback(setattr, self, "_context", None)
            owned.callback(setattr, self, "_engine", None)
            self._stream = Stream(cuda)
            owned.callback(self._stream.close)
            self._owned = owned
            self._input = self._buffer(layout.picture)
            self._outputs = {name: self._buffer(layout.answer(name)) for name in layout.outputs}
            for name, buffer in self._outputs.items():
                self._accept(self._context.set_tensor_address(name, buffer.address), f"the address of {name}")
            self._owned = owned.pop_all()

    def infer(self, batch: Pixels) -> Answers:
        """Answer uint8 [n, height, width, 3] BGR with n rows. Raises BackendError."""
        if self._context is None:
            raise BackendError(f"{self.info.file} is closed: open it again")
        check_batch(batch, self._layout.shape)
        most = self._layout.max_batch
        try:
            return join([self._run(batch[first : first + most]) for first in range(0, len(batch), most)])
        except BackendError as error:
            raise BackendError(f"{self.info.provider} failed on {self.info.file}: {error}") from error

    def allocate(self, images: int) -> Pixels:
        """Return uint8 [images, height, width, 3], page-locked: the GPU reads it without a copy on the CPU.

        Plain memory where a batch is larger than the engine takes. Raises BackendError.
        """
        if images > self._layout.max_batch or self._context is None:
            return np.zeros((images, *self._layout.shape), dtype=np.uint8)
        self._lent = self._lent or self._buffer(self._layout.picture)
        return self._pictures(self._lent, images)

    def inspect(self) -> str:
        """Return what the engine's layers are and compute in, as TensorRT's own JSON. Raises BackendError."""
        self._lay(self._input, 1)  # without shapes it tells no dtypes
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return str(inspector.get_engine_information(self._library.api.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Give the engine and its memory back, except for what `allocate` gave and is still held.

        May be called twice.
        """
        if self._context is not None:
            self._stream.settle()
            self._drop_graph()
        self._owned.close()

    def __enter__(self) -> TensorRT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, batch: Pixels) -> Answers:
        """Answer no more pictures than the engine takes at once."""
        images, source = len(batch), self._source(batch)
        self._lay(source, images)
        if self._graph is None and self._graphs_work and self._runs >= STEADY:
            self._graph = self._record(source, images)
        if self._graph is None:
            self._enqueue(source, images)
        else:
            self._graph.launch()
        self._stream.synchronize()
        self._runs += 1
        # Copies: the next run writes where these lie.
        answers = {name: self._answer(name, images).copy() for name in self._outputs}
        return Answers(answers[OUTPUT], answers.get(STRANGENESS))

    def _source(self, batch: Pixels) -> Buffer:
        """Return the buffer that holds the batch: the one lent, where it is that, else the own one, filled."""
        lent = self._lent
        if lent is not None and batch.ctypes.data == lent.host.ctypes.data and batch.flags.c_contiguous:
            return lent
        self._pictures(self._input, len(batch))[...] = batch
        return self._input

    def _lay(self, source: Buffer, images: int) -> None:
        """Tell the engine where the pictures are and how many. A graph of others is of no use any more."""
        if self._laid == (source, images):
            return
        self._drop_graph()
        self._laid, self._runs = None, 0
        shape = (images, *self._layout.shape)
        self._accept(self._context.set_tensor_address(INPUT, source.address), f"the address of {INPUT}")
        self._accept(self._context.set_input_shape(INPUT, shape), f"the shape {list(shape)}")
        self._laid = source, images

    def _enqueue(self, source: Buffer, images: int) -> None:
        source.to_device(self._stream, images * self._layout.picture)
        self._accept(self._context.execute_async_v3(self._stream.handle), "a batch")
        for name, buffer in self._outputs.items():
            buffer.to_host(self._stream, images * self._layout.answer(name))

    def _record(self, source: Buffer, images: int) -> CudaGraph | None:
        """Record what `_enqueue` does, or find out that this engine can't be recorded."""
        try:
            return self._stream.capture(lambda: self._enqueue(source, images))
        except BackendError as error:
            log.info("%s runs without a CUDA graph: %s", self.info.file, error)
            self._graphs_work = False
            return None

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def _buffer(self, each: int) -> Buffer:
        """Allocate `each` bytes a picture, to be given back by `close`."""
        buffer = Buffer(self._cuda, each * self._layout.max_batch)
        self._owned.callback(buffer.close)
        return buffer

    def _pictures(self, buffer: Buffer, images: int) -> Pixels:
        pictures = buffer.host[: images * self._layout.picture]
        return pictures.reshape(images, *self._layout.shape)

    def _answer(self, name: str, images: int) -> npt.NDArray[np.float32]:
        answer = self._outputs[name].host[: images * self._layout.answer(name)]
        return answer.view(np.float32).reshape(images, *self._layout.outputs[name])

    def _accept(self, accepted: object, what: str) -> None:
        """Raise BackendError where a call says no."""
        if not accepted:
            raise BackendError(f"it refuses {what}: {self._library.last_error() or 'it gave no reason'}")
