from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from edge.backends.trt import cudart
from edge.backends.trt.cudart import NAMES, SIGNATURES, Cuda, Device, Stream, load_cuda
from edge.backends.trt.memory import Buffer
from edge.errors import BackendError
from tests.edge.fake_cudart import PARAMETERS, FakeCudart, Uncapturable

REAL = [str(path) for folder in sys.path for name in NAMES for path in Path(folder).glob(f"nvidia/*/lib/{name}")]
"""Where NVIDIA's wheels put the real runtime; torch brings it."""


@pytest.fixture(params=[False, True], ids=["discrete", "integrated"])
def fake(request: pytest.FixtureRequest) -> FakeCudart:
    return FakeCudart(integrated=request.param)


def opened(monkeypatch: pytest.MonkeyPatch, libraries: dict[str, FakeCudart]) -> list[str]:
    """Have only these libraries be there; return the list of the names that are asked for."""
    asked = []

    def open_library(name: str) -> FakeCudart:
        asked.append(name)
        if name not in libraries:
            raise OSError(f"{name}: cannot open shared object file")
        return libraries[name]

    monkeypatch.setattr(cudart, "open_library", open_library)
    return asked


@pytest.mark.skipif(not REAL, reason="NVIDIA's wheel of the CUDA runtime is not installed")
class TestRealLibrary:
    def test_has_every_function(self) -> None:
        library = ctypes.CDLL(REAL[0])
        assert [name for name in (*SIGNATURES, "cudaGetErrorString") if not hasattr(library, name)] == []

    def test_without_a_driver_says_so(self) -> None:
        driver = ctypes.c_int()
        ctypes.CDLL(REAL[0]).cudaDriverGetVersion(ctypes.byref(driver))
        if driver.value:
            pytest.skip("this machine has NVIDIA's driver")
        with pytest.raises(BackendError, match=r"CUDA 1[23]\.\d+ finds no NVIDIA driver: install it.*onnxruntime"):
            load_cuda(REAL)


def test_the_fake_is_declared_as_the_binding_is() -> None:
    assert {f"cuda{name}": types for name, types in PARAMETERS.items()} == SIGNATURES


class TestLoad:
    def test_a_missing_library_names_what_brings_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        opened(monkeypatch, {})
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        with pytest.raises(BackendError, match=r"libcudart.so.13, libcudart.so.12.*JetPack.*nvidia-cuda-runtime"):
            load_cuda()

    def test_the_wheels_library_is_found_where_the_wheel_puts_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        place = tmp_path / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
        place.parent.mkdir(parents=True)
        place.touch()
        monkeypatch.setattr(sys, "path", [str(tmp_path / "nowhere"), str(tmp_path)])
        asked = opened(monkeypatch, {str(place): FakeCudart(name="Wheel")})
        assert load_cuda().device.name == "Wheel"
        assert asked == [*NAMES, str(place)]

    def test_a_runtime_that_is_too_new_for_the_driver_gives_way_to_one_that_is_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new, old = FakeCudart(driver=12060, runtime=13020), FakeCudart(driver=12060, runtime=12060)
        opened(monkeypatch, dict(zip(NAMES, (new, old), strict=True)))
        assert load_cuda().device.runtime == "12.6"

    @pytest.mark.parametrize(
        ("fake", "words"),
        [
            (FakeCudart(driver=0), r"CUDA 12.6 finds no NVIDIA driver: install it"),
            (
                FakeCudart(driver=12020, runtime=13020),
                r"driver serves CUDA up to 12.2, and the CUDA runtime is 13.2: update the driver, or install the "
                r"CUDA runtime 12$",
            ),
            (FakeCudart(devices=0), r"CUDA finds no GPU: .*--runtime nvidia.*CUDA_VISIBLE_DEVICES"),
        ],
        ids=["no driver", "old driver", "no GPU"],
    )
    def test_what_is_wrong_is_said_with_the_remedy(
        self, monkeypatch: pytest.MonkeyPatch, fake: FakeCudart, words: str
    ) -> None:
        opened(monkeypatch, dict.fromkeys(NAMES, fake))
        with pytest.raises(BackendError, match=words):
            load_cuda()

    def test_a_library_without_a_function_is_refused(self) -> None:
        fake = FakeCudart()
        del fake.cudaGraphLaunch
        with pytest.raises(BackendError, match="libcudart has no cudaGraphLaunch: expected CUDA 12 or 13"):
            Cuda(fake)

    def test_the_device_is_as_cuda_says(self, fake: FakeCudart) -> None:
        assert Cuda(fake).device == Device("Fake Orin", "8.7", "13.0", "12.6", fake.integrated)


class TestCall:
    def test_a_failure_has_the_functions_name_and_cudas_words(self, fake: FakeCudart) -> None:
        with pytest.raises(BackendError, match=r"^cudaFree failed: invalid argument \(CUDA error 1\)$"):
            Cuda(fake).call("cudaFree", 0x1234)

    def test_out_of_memory_says_so(self) -> None:
        with pytest.raises(
            BackendError, match=r"^cudaMalloc: the GPU is out of memory: take a smaller --max-batch"
        ):
            Cuda(FakeCudart(memory=1000)).make("cudaMalloc", 1001)

    @pytest.mark.parametrize("call", [Cuda.call, Cuda.release])
    def test_a_failure_is_not_left_for_the_next_who_asks(
        self, fake: FakeCudart, call: Callable[[Cuda, str, int], None]
    ) -> None:
        with suppress(BackendError):
            call(Cuda(fake), "cudaFree", 0x1234)
        assert (fake.last_error, len(fake.faults)) == (0, 1)

    def test_what_can_not_be_given_back_is_logged(
        self, fake: FakeCudart, caplog: pytest.LogCaptureFixture
    ) -> None:
        Cuda(fake).release("cudaFree", 0x1234)
        assert caplog.messages == ["cudaFree failed: invalid argument (CUDA error 1)"]

    def test_an_error_without_words(self, fake: FakeCudart, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fake, "free", lambda *_: 1 / 0)
        with pytest.raises(BackendError, match=r"unknown error \(CUDA error 999\)"):
            Cuda(fake).call("cudaFree", 0x1234)


class TestBuffer:
    def test_carries_bytes_to_the_gpu_and_back_when_the_stream_is_synchronized(self, fake: FakeCudart) -> None:
        cuda = Cuda(fake)
        buffer, stream = Buffer(cuda, 16), Stream(cuda)
        buffer.host[:] = range(16)
        buffer.to_device(stream, 8)
        stream.synchronize()
        assert bytes(fake.view(buffer.address, 8)) == bytes(range(8))
        fake.view(buffer.address, 8)[:] = bytes(range(100, 108))
        buffer.to_host(stream, 4)
        stream.synchronize()
        changed = 8 if fake.integrated else 4  # there it is the same memory
        assert buffer.host.tolist() == [*range(100, 100 + changed), *range(changed, 16)]
        assert fake.faults == []

    def test_a_copy_takes_place_in_the_streams_turn(self) -> None:
        fake = FakeCudart()
        cuda = Cuda(fake)
        buffer, stream = Buffer(cuda, 4), Stream(cuda)
        buffer.to_device(stream, 4)
        buffer.host[:] = 7
        assert bytes(fake.view(buffer.address, 4)) != bytes([7] * 4)
        stream.synchronize()
        assert bytes(fake.view(buffer.address, 4)) == bytes([7] * 4)

    def test_an_integrated_gpu_has_no_memory_of_its_own(self) -> None:
        fake = FakeCudart(integrated=True)
        buffer = Buffer(Cuda(fake), 4)
        assert fake.held == ["host memory"]
        assert buffer.address != buffer.host.ctypes.data

    def test_is_freed_once(self, fake: FakeCudart) -> None:
        buffer = Buffer(Cuda(fake), 4)
        buffer.close()
        buffer.close()
        assert (fake.held, fake.faults) == ([], [])

    def test_a_view_of_it_is_good_as_long_as_it_is_held(self, fake: FakeCudart) -> None:
        buffer = Buffer(Cuda(fake), 4)
        view = buffer.host[1:3].reshape(1, 2)
        buffer.close()
        view[:] = 1
        assert fake.held == ["host memory"]
        del view
        assert (fake.held, fake.faults) == ([], [])

    def test_what_was_allocated_is_freed_where_the_rest_is_not_to_be_had(self) -> None:
        fake = FakeCudart(memory=1500)
        with pytest.raises(BackendError, match="cudaMalloc: the GPU is out of memory") as caught:
            Buffer(Cuda(fake), 1000)
        assert (fake.held, fake.faults) == ([], [])  # though the error still knows the frames
        assert caught.traceback


class TestStream:
    def test_a_recorded_copy_is_done_only_by_launching_it(self) -> None:
        fake = FakeCudart()
        cuda = Cuda(fake)
        buffer, stream = Buffer(cuda, 4), Stream(cuda)
        buffer.host[:] = 7
        graph = stream.capture(lambda: buffer.to_device(stream, 4))
        stream.synchronize()
        assert bytes(fake.view(buffer.address, 4)) != bytes([7] * 4)
        graph.launch()
        stream.synchronize()
        assert bytes(fake.view(buffer.address, 4)) == bytes([7] * 4)
        for thing in (graph, graph, buffer, stream, stream):
            thing.close()
        assert (fake.held, fake.faults) == ([], [])

    def test_a_capture_that_fails_leaves_a_stream_that_works(self, fake: FakeCudart) -> None:
        cuda = Cuda(fake)
        stream = Stream(cuda)

        def fail() -> None:
            raise ZeroDivisionError

        with pytest.raises(BackendError, match="operation failed due to a previous error during capture"):
            stream.capture(stream.synchronize)
        with pytest.raises(ZeroDivisionError):
            stream.capture(fail)
        stream.synchronize()
        stream.capture(lambda: None).close()
        stream.close()
        assert fake.held == []
        assert fake.faults == ["cudaStreamSynchronize: synchronizing while a stream is captured"]

    def test_a_graph_that_can_not_be_instantiated_leaves_nothing(self) -> None:
        fake = FakeCudart(uncapturable=Uncapturable.INSTANTIATE)
        stream = Stream(Cuda(fake))
        with pytest.raises(BackendError, match="cudaGraphInstantiateWithFlags failed: operation not supported"):
            stream.capture(lambda: None)
        assert fake.held == ["stream"]

    def test_settling_logs_what_synchronizing_raises(
        self, fake: FakeCudart, caplog: pytest.LogCaptureFixture
    ) -> None:
        stream = Stream(Cuda(fake))
        stream.close()
        with pytest.raises(BackendError, match="cudaStreamSynchronize failed"):
            stream.synchronize()
        with caplog.at_level(logging.WARNING):
            stream.settle()
        assert "cudaStreamSynchronize failed" in caplog.text


class TestFake:
    """What the other tests rely on: it finds what real CUDA would punish now and then."""

    def test_freeing_twice_and_reaching_for_freed_memory(self) -> None:
        fake = FakeCudart()
        cuda = Cuda(fake)
        buffer, stream = Buffer(cuda, 4), Stream(cuda)
        buffer.to_device(stream, 4)
        cuda.release("cudaFree", buffer.address)
        with pytest.raises(BackendError, match="illegal memory access"):
            stream.synchronize()
        buffer.close()
        assert [fault.partition(":")[0] for fault in fake.faults] == ["cudaStreamSynchronize", "cudaFree"]

    def test_a_pointer_that_was_not_declared_arrives_cut(self) -> None:
        fake = FakeCudart()
        address = Cuda(fake).make("cudaMalloc", 4)
        fake.cudaFree.argtypes = None
        assert address > 1 << 32
        assert fake.cudaFree(address) != 0
        assert fake.held == ["device memory"]

    def test_copying_from_or_to_other_memory(self) -> None:
        cuda = Cuda(FakeCudart())
        plain, buffer, stream = np.zeros(4, dtype=np.uint8), Buffer(cuda, 4), Stream(cuda)
        with pytest.raises(BackendError, match="invalid argument"):
            cuda.call("cudaMemcpyAsync", buffer.address, plain.ctypes.data, 4, 1, stream.handle)
        with pytest.raises(BackendError, match="illegal memory access"):
            cuda.call("cudaMemcpyAsync", plain.ctypes.data, buffer.host.ctypes.data, 4, 1, stream.handle)
