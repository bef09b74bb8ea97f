"""Memory that the CPU fills and the GPU reads, or the other way round."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.backends.trt.cudart import Cuda, Stream

PLAIN, MAPPED = 0, 2
"""Flags of cudaHostAlloc: page-locked, and seen by the GPU as well."""
TO_DEVICE, TO_HOST = 1, 2
"""Directions of cudaMemcpyAsync."""


class Buffer:
    """Bytes that the CPU and the GPU share: the same memory on a Jetson, else a copy on either side."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        """Allocate `size` bytes. Raises BackendError."""
        self._mapped = cuda.device.integrated
        self._owned = ExitStack()
        with ExitStack() as unfinished:
            host, free = _page_locked(cuda, size, MAPPED if self._mapped else PLAIN)
            unfinished.callback(free)
            self._pinned = host.ctypes.data
            if self._mapped:
                self.address = cuda.make("cudaHostGetDevicePointer", self._pinned, 0)
            else:
                self.address = cuda.make("cudaMalloc", size)
                self._owned.callback(cuda.release, "cudaFree", self.address)
            self.host = host
            """uint8 [size]. Lives on after `close` while anybody holds a view of it."""
            unfinished.pop_all()

    def to_device(self, stream: Stream, size: int) -> None:
        """Have the GPU see the first `size` bytes, in the stream's turn. Raises BackendError."""
        if not self._mapped:
            stream.cuda.call("cudaMemcpyAsync", self.address, self._pinned, size, TO_DEVICE, stream.handle)

    def to_host(self, stream: Stream, size: int) -> None:
        """Have the CPU see the first `size` bytes, in the stream's turn. Raises BackendError."""
        if not self._mapped:
            stream.cuda.call("cudaMemcpyAsync", self._pinned, self.address, size, TO_HOST, stream.handle)

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        self._owned.close()
        self.host = np.empty(0, dtype=np.uint8)


def _page_locked(cuda: Cuda, size: int, flags: int) -> tuple[npt.NDArray[np.uint8], Callable[[], Any]]:
    """Return uint8 [size], which is freed with the last array that looks at it, and what frees it at once."""
    address = cuda.make("cudaHostAlloc", size, flags)
    memory = (ctypes.c_uint8 * size).from_address(address)
    # By the garbage collector, since a caller may hold such an array beyond close, and still write into it.
    free = weakref.finalize(memory, cuda.release, "cudaFreeHost", address)
    free.atexit = False
    return np.ctypeslib.as_array(memory), free
