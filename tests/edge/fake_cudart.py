"""A CUDA runtime without a GPU that enforces the contract: what real CUDA leaves undefined is a fault here.

Its functions are C functions without declared types, as those of libcudart: a pointer that a caller does not
declare arrives cut to 32 bits. Work in a stream is done when it is synchronized, and not before. Device memory has
addresses at which the CPU finds nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from ctypes import POINTER, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

OK, INVALID, OUT_OF_MEMORY, INSUFFICIENT_DRIVER, NO_DEVICE = 0, 1, 2, 35, 100
ILLEGAL_ADDRESS, NOT_SUPPORTED, CAPTURING, CAPTURE_INVALIDATED, UNKNOWN = 700, 801, 900, 901, 999
WORDS = {
    INVALID: b"invalid argument",
    OUT_OF_MEMORY: b"out of memory",
    INSUFFICIENT_DRIVER: b"CUDA driver version is insufficient for CUDA runtime version",
    NO_DEVICE: b"no CUDA-capable device is detected",
    ILLEGAL_ADDRESS: b"an illegal memory access was encountered",
    NOT_SUPPORTED: b"operation not supported",
    CAPTURING: b"operation not permitted when stream is capturing",
    CAPTURE_INVALIDATED: b"operation failed due to a previous error during capture",
}
HANDLE, NUMBER = POINTER(c_void_p), POINTER(c_int)
DEVICE_MEMORY, MAPPED_MEMORY, HANDLES = 0x7D0000000000, 0x7E0000000000, 0x7F1000000000
"""Where addresses begin: all beyond 32 bits, and none where the process has memory."""
MAPPED, NON_BLOCKING, THREAD_LOCAL, HOST_TO_DEVICE, DEVICE_TO_HOST = 2, 1, 1, 1, 2
GRAVE = 0xDD
"""What freed memory is filled with."""


class Uncapturable(Enum):
    """Where capturing a stream fails."""

    ENQUEUE = "TensorRT does something that can't be captured"
    INSTANTIATE = "the graph can't be instantiated"


class CudaError(Exception):
    """A call that fails with a code. A fault is one that a correct program never causes."""

    def __init__(self, code: int, fault: str = "") -> None:
        super().__init__(fault or WORDS[code].decode())
        self.code, self.fault = code, fault


@dataclass(eq=False)
class Block:
    """Allocated memory."""

    kind: str
    memory: Any
    mapped: int = 0
    """Its address for the GPU; 0: none."""

    @property
    def size(self) -> int:
        return ctypes.sizeof(self.memory)


@dataclass(eq=False)
class Work:
    """The queue of a stream."""

    queue: list[Callable[[], None]] = field(default_factory=list)
    captured: list[Callable[[], None]] | None = None
    """None: it is not being captured."""
    broken: bool = False
    """Whether the capture was invalidated."""

    def add(self, work: Callable[[], None]) -> None:
        (self.queue if self.captured is None else self.captured).append(work)


class FakeCudart:
    """What ctypes.CDLL("libcudart.so") gives, with one GPU."""

    def __init__(
        self,
        *,
        name: str = "Fake Orin",
        capability: tuple[int, int] = (8, 7),
        integrated: bool = False,
        driver: int = 13000,
        runtime: int = 12060,
        devices: int = 1,
        memory: int = 1 << 30,
        uncapturable: Uncapturable | None = None,
    ) -> None:
        self.name, self.memory, self.uncapturable = name, memory, uncapturable
        self.integrated, self.driver, self.runtime, self.devices = integrated, driver, runtime, devices
        self._attributes = {18: int(integrated), 75: capability[0], 76: capability[1]}
        self.faults: list[str] = []
        """Every breach of the contract."""
        self.launched = 0
        """Launches of CUDA graphs."""
        self.last_error = 0
        self.blocks: dict[int, Block] = {}
        self.streams: dict[int, Work] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._executables: dict[int, list[Callable[[], None]]] = {}
        self._next = {DEVICE_MEMORY: DEVICE_MEMORY, MAPPED_MEMORY: MAPPED_MEMORY, HANDLES: HANDLES}
        self._graveyard: list[Any] = []
        self._texts = {code: ctypes.create_string_buffer(text) for code, text in WORDS.items()}
        self._export()

    @property
    def held(self) -> list[str]:
        """What was made and not given back."""
        kinds = {"stream": self.streams, "graph": self._graphs, "executable graph": self._executables}
        return [block.kind for block in self.blocks.values()] + [
            kind for kind, made in kinds.items() for _ in made
        ]

    def view(self, address: int, size: int) -> memoryview:
        """Return the bytes that the GPU sees at an address. Raises CudaError where that is not all its own."""
        for start, block in self._seen_by_gpu():
            if start <= address and address + size <= start + block.size:
                return memoryview(block.memory).cast("B")[address - start : address - start + size]
        raise CudaError(ILLEGAL_ADDRESS, f"the GPU reaches for {size} bytes at {address:#x}")

    def is_capturing(self) -> bool:
        return any(stream.captured is not None for stream in self.streams.values())

    def allocate(self, kind: str, size: int) -> tuple[int, Block]:
        """Take memory of the GPU. Raises CudaError."""
        self._not_while_capturing(f"allocating {kind}")
        if size + sum(block.size for block in self.blocks.values()) > self.memory:
            raise CudaError(OUT_OF_MEMORY)
        block = Block(kind, (ctypes.c_uint8 * size)())
        ctypes.memset(block.memory, 0xCD, size)
        address = ctypes.addressof(block.memory) if kind == "host memory" else self._number(DEVICE_MEMORY, size)
        self.blocks[address] = block
        return address, block

    def free(self, kind: str, address: int | None) -> None:
        """Give memory back. Raises CudaError."""
        self._not_while_capturing(f"freeing {kind}")
        block = self.blocks.get(address or 0)
        if block is None or block.kind != kind:
            raise CudaError(INVALID, f"no {kind} to free at {address or 0:#x}")
        del self.blocks[address or 0]
        ctypes.memset(block.memory, GRAVE, block.size)
        self._graveyard.append(block.memory)

    def stream(self, handle: int | None) -> Work:
        """Return a stream. Raises CudaError on the default one too, which waits for every other."""
        if handle not in self.streams:
            raise CudaError(INVALID, f"no stream {handle or 0:#x}")
        return self.streams[handle]

    def _seen_by_gpu(self) -> Iterator[tuple[int, Block]]:
        for address, block in self.blocks.items():
            if block.kind != "host memory":
                yield address, block
            elif block.mapped:
                yield block.mapped, block

    def _not_while_capturing(self, what: str) -> None:
        for stream in self.streams.values():
            if stream.captured is not None:
                stream.broken = True
                raise CudaError(CAPTURING, f"{what} while a stream is captured")

    def _number(self, kind: int, size: int = 1) -> int:
        number = self._next[kind]
        self._next[kind] += -(-size // 256) * 256
        return number

    # Below: the C functions, each without its prefix "cuda".

    def _export(self) -> None:
        untyped = ctypes.CDLL(None)._FuncPtr
        typed = [ctypes.CFUNCTYPE(c_int, *types)(self._guard(name)) for name, types in PARAMETERS.items()] + [
            ctypes.CFUNCTYPE(c_void_p, c_int)(self._error_string)
        ]
        for name, function in zip([*PARAMETERS, "GetErrorString"], typed, strict=True):
            setattr(self, f"cuda{name}", untyped(ctypes.cast(function, c_void_p).value))
        self._keep = typed

    def _guard(self, name: str) -> Callable[..., int]:
        method = getattr(self, f"_{name}")

        def call(*arguments: Any) -> int:
            try:
                code: int = method(*arguments) or OK
            except CudaError as error:
                code = error.code
                if error.fault:
                    self.faults.append(f"cuda{name}: {error.fault}")
            except Exception as error:  # noqa: BLE001  would vanish in C
                code = UNKNOWN
                self.faults.append(f"cuda{name}: {error!r}")
            if code and name != "GetLastError":
                self.last_error = code
            return code

        return call

    def _error_string(self, code: int) -> int:
        return ctypes.addressof(self._texts[code]) if code in self._texts else 0

    def _GetLastError(self) -> int:
        code, self.last_error = self.last_error, 0
        return code

    def _GetDeviceCount(self, count: Any) -> None:
        if self.driver < self.runtime // 1000 * 1000:
            raise CudaError(INSUFFICIENT_DRIVER)
        if not self.devices:
            raise CudaError(NO_DEVICE)
        count[0] = self.devices

    def _GetDeviceProperties(self, properties: int, device: int) -> None:
        ctypes.memmove(properties, self.name.encode() + b"\0\xff\xff", len(self.name.encode()) + 3)

    def _DeviceGetAttribute(self, value: Any, attribute: int, device: int) -> None:
        value[0] = self._attributes[attribute]

    def _DriverGetVersion(self, version: Any) -> None:
        version[0] = self.driver

    def _RuntimeGetVersion(self, version: Any) -> None:
        version[0] = self.runtime

    def _Malloc(self, made: Any, size: int) -> None:
        made[0] = self.allocate("device memory", size)[0]

    def _Free(self, address: int | None) -> None:
        self.free("device memory", address)

    def _HostAlloc(self, made: Any, size: int, flags: int) -> None:
        made[0], block = self.allocate("host memory", size)
        block.mapped = self._number(MAPPED_MEMORY, size) if flags & MAPPED else 0

    def _FreeHost(self, address: int | None) -> None:
        self.free("host memory", address)

    def _HostGetDevicePointer(self, made: Any, address: int, flags: int) -> None:
        block = self.blocks.get(address)
        if block is None or not block.mapped:
            raise CudaError(INVALID, f"no mapped memory at {address:#x}")
        made[0] = block.mapped

    def _MemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int | None) -> None:
        if kind not in {HOST_TO_DEVICE, DEVICE_TO_HOST}:
            raise CudaError(INVALID, f"a copy of kind {kind}")
        device, host = (to, source) if kind == HOST_TO_DEVICE else (source, to)
        self._pinned(host, size)
        self.view(device, size)

        def copy() -> None:
            gpu, cpu = self.view(device, size), self._pinned(host, size)
            if kind == HOST_TO_DEVICE:
                gpu[:] = cpu
            else:
                cpu[:] = gpu

        self.stream(stream).add(copy)

    def _pinned(self, address: int, size: int) -> memoryview:
        for start, block in self.blocks.items():
            if block.kind == "host memory" and start <= address and address + size <= start + block.size:
                return memoryview(block.memory).cast("B")[address - start : address - start + size]
        raise CudaError(INVALID, f"{size} bytes at {address:#x} are no page-locked host memory")

    def _StreamCreateWithFlags(self, made: Any, flags: int) -> None:
        if flags != NON_BLOCKING:
            raise CudaError(INVALID, "a stream that waits for the default one")
        made[0] = self._number(HANDLES)
        self.streams[made[0]] = Work()

    def _StreamSynchronize(self, handle: int | None) -> None:
        self._not_while_capturing("synchronizing")
        stream = self.stream(handle)
        queue, stream.queue = stream.queue, []
        for work in queue:
            work()

    def _StreamDestroy(self, handle: int | None) -> None:
        self._StreamSynchronize(handle)
        del self.streams[handle or 0]

    def _StreamBeginCapture(self, handle: int | None, mode: int) -> None:
        stream = self.stream(handle)
        if mode != THREAD_LOCAL or stream.captured is not None:
            raise CudaError(INVALID, "a second capture, or one that stops other threads")
        stream.captured, stream.broken = [], False

    def _StreamEndCapture(self, handle: int | None, made: Any) -> None:
        stream = self.stream(handle)
        if stream.captured is None:
            raise CudaError(INVALID, "no capture to end")
        captured, stream.captured = stream.captured, None
        made[0] = None
        if stream.broken:
            raise CudaError(CAPTURE_INVALIDATED)
        made[0] = self._number(HANDLES)
        self._graphs[made[0]] = captured

    def _GraphInstantiateWithFlags(self, made: Any, graph: int, flags: int) -> None:
        if self.uncapturable is Uncapturable.INSTANTIATE:
            raise CudaError(NOT_SUPPORTED)
        executable = self._number(HANDLES)
        self._executables[executable] = list(self._take(self._graphs, graph))
        made[0] = executable

    def _GraphLaunch(self, executable: int, handle: int | None) -> None:
        for work in self._take(self._executables, executable):
            self.stream(handle).add(work)
        self.launched += 1

    def _GraphDestroy(self, graph: int) -> None:
        self._take(self._graphs, graph)
        del self._graphs[graph]

    def _GraphExecDestroy(self, executable: int) -> None:
        self._take(self._executables, executable)
        del self._executables[executable]

    def _take(self, made: dict[int, list[Callable[[], None]]], handle: int) -> list[Callable[[], None]]:
        if handle not in made:
            raise CudaError(INVALID, f"no graph {handle or 0:#x}")
        return made[handle]


PARAMETERS: dict[str, tuple[Any, ...]] = {
    "GetLastError": (),
    "GetDeviceCount": (NUMBER,),
    "GetDeviceProperties": (c_void_p, c_int),
    "DeviceGetAttribute": (NUMBER, c_int, c_int),
    "DriverGetVersion": (NUMBER,),
    "RuntimeGetVersion": (NUMBER,),
    "Malloc": (HANDLE, c_size_t),
    "Free": (c_void_p,),
    "HostAlloc": (HANDLE, c_size_t, c_uint),
    "FreeHost": (c_void_p,),
    "HostGetDevicePointer": (HANDLE, c_void_p, c_uint),
    "MemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "StreamCreateWithFlags": (HANDLE, c_uint),
    "StreamSynchronize": (c_void_p,),
    "StreamDestroy": (c_void_p,),
    "StreamBeginCapture": (c_void_p, c_int),
    "StreamEndCapture": (c_void_p, HANDLE),
    "GraphInstantiateWithFlags": (HANDLE, c_void_p, c_ulonglong),
    "GraphLaunch": (c_void_p, c_void_p),
    "GraphDestroy": (c_void_p,),
    "GraphExecDestroy": (c_void_p,),
}
"""The C functions that the fake has, after the prefix "cuda"."""
