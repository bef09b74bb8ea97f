"""The few calls of the CUDA runtime that an engine needs, by ctypes on the platform's own library."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import BackendError

log = logging.getLogger(__name__)

NAMES = ("libcudart.so.13", "libcudart.so.12")
"""The runtime's library, the newest first: what is called here is the same in both."""

SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaDriverGetVersion": (POINTER(c_int),),
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaMalloc": (POINTER(c_void_p), c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (POINTER(c_void_p), c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaHostGetDevicePointer": (POINTER(c_void_p), c_void_p, c_uint),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (POINTER(c_void_p), c_uint),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, POINTER(c_void_p)),
    "cudaGraphInstantiateWithFlags": (POINTER(c_void_p), c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaGetLastError": (),
}
"""Parameters of each call, which returns an error code (cuda_runtime_api.h, 12.0 to 13.2)."""

OUT_OF_MEMORY, INSUFFICIENT_DRIVER, NO_DEVICE = 2, 35, 100
"""Error codes."""
INTEGRATED, CAPABILITY_MAJOR, CAPABILITY_MINOR = 18, 75, 76
"""Attributes of a device."""
NON_BLOCKING, THREAD_LOCAL = 1, 1
"""A stream that does not wait for the default one; a capture that concerns its own thread only."""
FIRST = 0
"""The device that serves: CUDA_VISIBLE_DEVICES says which GPU that is."""
PROPERTIES_BYTES, NAME_BYTES = 4096, 256
"""Room for cudaDeviceProp, which is about 1,000 bytes and grows; its name comes first."""


@dataclass(frozen=True)
class Device:
    """The GPU, and the CUDA that reaches it."""

    name: str
    """What it calls itself."""
    compute_capability: str
    """Such as 8.7."""
    driver: str
    """The newest CUDA that the driver serves, such as 13.0."""
    runtime: str
    """The CUDA of libcudart, such as 12.6."""
    integrated: bool
    """Whether it works in the CPU's own memory, as a Jetson does."""


def open_library(name: str) -> Any:
    """Load a shared library by its name or path. Raises OSError. Tests put a fake in its place."""
    return ctypes.CDLL(name)


def load_cuda(names: Sequence[str] = NAMES) -> Cuda:
    """Open the first CUDA runtime that reaches a GPU. Raises BackendError where none does."""
    refused = []
    for place in _places(names):
        try:
            return Cuda(open_library(place))
        except OSError:
            continue
        except BackendError as error:
            refused.append(error)
    if refused:
        raise refused[0]
    raise BackendError(
        f"the CUDA runtime is missing ({', '.join(names)}): on a Jetson it comes with JetPack "
        "(sudo apt install nvidia-jetpack), elsewhere by pip install nvidia-cuda-runtime"
    )


def _places(names: Sequence[str]) -> Iterator[str]:
    """Give the system's own libraries, then those that NVIDIA's wheels put beside Python's packages."""
    yield from names
    for name in names:
        for folder in sys.path:
            yield from map(str, sorted(Path(folder).glob(f"nvidia/*/lib/{name}")))


class Cuda:
    """The CUDA runtime and its first GPU. What is made of it must be closed by whoever made it."""

    def __init__(self, library: Any) -> None:
        """Bind libcudart, or a fake of it. Raises BackendError where no GPU is reached."""
        self._library = library
        for name, parameters in SIGNATURES.items():
            try:
                function = getattr(library, name)
            except AttributeError as error:
                raise BackendError(f"libcudart has no {name}: expected CUDA 12 or 13") from error
            function.argtypes, function.restype = parameters, c_int
        library.cudaGetErrorString.restype = c_char_p
        self.device = self._find()

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function. Raises BackendError with its name and CUDA's own words where it fails."""
        code = self._call(name, *arguments)
        if code == OUT_OF_MEMORY:
            raise BackendError(
                f"{name}: the GPU is out of memory: take a smaller --max-batch, or end what else uses the GPU"
            )
        if code:
            raise BackendError(f"{name} failed: {self._words(code)} (CUDA error {code})")

    def make(self, name: str, *arguments: Any) -> int:
        """Call a function whose first parameter is where it puts what it made; return that."""
        made = c_void_p()
        self.call(name, ctypes.byref(made), *arguments)
        return made.value or 0

    def release(self, name: str, handle: int) -> None:
        """Give back what `make` returned. A failure is logged: whoever cleans up can do no more about it."""
        code = self._call(name, handle)
        if code:
            log.warning("%s failed: %s (CUDA error %d)", name, self._words(code), code)

    def _call(self, name: str, *arguments: Any) -> int:
        code = int(getattr(self._library, name)(*arguments))
        if code:  # else the next one to ask CUDA for its last error, such as TensorRT, takes it for its own
            self._library.cudaGetLastError()
        return code

    def _words(self, code: int) -> str:
        words = self._library.cudaGetErrorString(code)
        return str(words.decode(errors="replace")) if words else "unknown error"

    def _number(self, name: str, *arguments: Any) -> int:
        number = c_int()
        self.call(name, ctypes.byref(number), *arguments)
        return number.value

    def _find(self) -> Device:
        driver, runtime = (
            _version(self._number(name)) for name in ("cudaDriverGetVersion", "cudaRuntimeGetVersion")
        )
        count = c_int()
        code = self._call("cudaGetDeviceCount", ctypes.byref(count))
        if code == INSUFFICIENT_DRIVER:
            raise BackendError(_driver_is_wrong(driver, runtime))
        if code == NO_DEVICE or (not code and not count.value):
            raise BackendError(
                "CUDA finds no GPU: plug one in, show it to the container (--runtime nvidia or --gpus all), "
                "look at CUDA_VISIBLE_DEVICES, or take --backend onnxruntime"
            )
        if code:
            raise BackendError(f"cudaGetDeviceCount failed: {self._words(code)} (CUDA error {code})")
        major, minor, integrated = (
            self._number("cudaDeviceGetAttribute", attribute, FIRST)
            for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR, INTEGRATED)
        )
        return Device(self._name(), f"{major}.{minor}", driver, runtime, integrated == 1)

    def _name(self) -> str:
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self.call("cudaGetDeviceProperties", properties, FIRST)
        return properties.raw[:NAME_BYTES].partition(b"\0")[0].decode(errors="replace")


def _version(number: int) -> str:
    """13020 is 13.2; 0, which is no version, stays empty."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""


def _driver_is_wrong(driver: str, runtime: str) -> str:
    if not driver:
        return (
            f"CUDA {runtime} finds no NVIDIA driver: install it, show it to the container (--runtime nvidia or "
            "--gpus all), or take --backend onnxruntime"
        )
    return (
        f"the NVIDIA driver serves CUDA up to {driver}, and the CUDA runtime is {runtime}: update the driver, "
        f"or install the CUDA runtime {driver.partition('.')[0]}"
    )


class Stream:
    """One queue of work on the GPU. Nothing of it is sure to be done before `synchronize`."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.handle = cuda.make("cudaStreamCreateWithFlags", NON_BLOCKING)
        self._owned = ExitStack()
        self._owned.callback(cuda.release, "cudaStreamDestroy", self.handle)

    def synchronize(self) -> None:
        """Wait until all is done. Raises BackendError where some of it failed."""
        self.cuda.call("cudaStreamSynchronize", self.handle)

    def settle(self) -> None:
        """Wait as `synchronize` does. A failure is logged: whoever cleans up can do no more about it."""
        self.cuda.release("cudaStreamSynchronize", self.handle)

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` puts into this stream, without doing it. Raises BackendError, and what it raises."""
        self.cuda.call("cudaStreamBeginCapture", self.handle, THREAD_LOCAL)
        graph = c_void_p()
        with ExitStack() as owned:
            try:
                work()
            finally:  # a failed capture must be ended too, or the stream is of no use any more
                self.cuda.call("cudaStreamEndCapture", self.handle, ctypes.byref(graph))
                owned.callback(self.cuda.release, "cudaGraphDestroy", graph.value or 0)
            return CudaGraph(self, self.cuda.make("cudaGraphInstantiateWithFlags", graph, 0))

    def close(self) -> None:
        """Give the stream back. May be called twice."""
        self._owned.close()


class CudaGraph:
    """Work that was recorded once, with its addresses, and is launched as a whole."""

    def __init__(self, stream: Stream, handle: int) -> None:
        self._stream, self._handle = stream, handle
        self._owned = ExitStack()
        self._owned.callback(stream.cuda.release, "cudaGraphExecDestroy", handle)

    def launch(self) -> None:
        """Put the work into its stream. Raises BackendError."""
        self._stream.cuda.call("cudaGraphLaunch", self._handle, self._stream.handle)

    def close(self) -> None:
        """Give the graph back. May be called twice."""
        self._owned.close()
