from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge.backends import Answers, Graph, Options
from edge.backends.trt import cudart as binding
from edge.backends.trt.build import BuildSettings, build_engine
from edge.backends.trt.cudart import Cuda, Stream, load_cuda
from edge.backends.trt.library import Library, load_library
from edge.backends.trt.memory import Buffer
from edge.backends.trt.precision import check_engine
from edge.backends.trt.runner import STEADY, TensorRT, run_plan
from edge.errors import BackendError
from edge.manifest import Precision
from edge.preprocess import Pixels
from tests.edge.fake_gpu import FakeCudart, FakeTensorRT, Uncapturable, install
from tests.tiny import COLOURS, infer, make_graph

LABELS, SHAPE, MAX_BATCH = tuple(COLOURS), (32, 32, 3), 4
MODEL = make_graph(LABELS, 32, strangeness=True)
GRAPH = Graph("model.fp32.onnx", Precision.FP32, MODEL, SHAPE)


@dataclass(frozen=True)
class Gpu:
    """A machine with a fake GPU."""

    cudart: FakeCudart
    api: FakeTensorRT
    library: Library
    cuda: Cuda

    def build(self, graph: Graph = GRAPH, max_batch: int = MAX_BATCH) -> bytes:
        return build_engine(graph, self.library, BuildSettings(max_batch)).plan

    def run(self, plan: bytes, graph: Graph = GRAPH, max_batch: int = MAX_BATCH) -> TensorRT:
        return run_plan(plan, graph, self.library, self.cuda, Options(max_batch=max_batch))

    def open(self) -> TensorRT:
        return self.run(self.build())


def make_gpu(cudart: FakeCudart | None = None, **how: object) -> Gpu:
    cudart = cudart or FakeCudart()
    api = FakeTensorRT(cudart, **how)

    class Logger(api.ILogger):
        def __init__(self) -> None:
            self.errors: list[str] = []

        def log(self, severity: object, msg: str) -> None:
            self.errors.append(msg)

    return Gpu(cudart, api, Library(api, api.__name__, api.__version__, Logger()), Cuda(cudart))


@pytest.fixture(params=[False, True], ids=["discrete", "integrated"])
def gpu(request: pytest.FixtureRequest) -> Gpu:
    return make_gpu(FakeCudart(integrated=request.param))


def pictures(count: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def same(answers: Answers, batch: Pixels) -> bool:
    """Whether these are ONNX Runtime's answers to the batch."""
    right = infer(MODEL, np.ascontiguousarray(batch))
    assert answers.strangeness is not None
    assert right.strangeness is not None
    return np.allclose(answers.probabilities, right.probabilities, atol=1e-6) and np.allclose(
        answers.strangeness, right.strangeness, atol=1e-6
    )


class TestInfer:
    @pytest.mark.parametrize("images", [1, 3, MAX_BATCH, MAX_BATCH + 1, 3 * MAX_BATCH])
    def test_answers_as_onnx_runtime_does_in_turns_of_what_the_engine_takes(self, gpu: Gpu, images: int) -> None:
        with gpu.open() as engine:
            answers = engine.infer(pictures(images))
        assert (answers.probabilities.dtype, answers.probabilities.shape) == (np.float32, (images, 3))
        assert same(answers, pictures(images))
        assert gpu.cudart.faults == []

    def test_a_graph_without_strangeness(self, gpu: Gpu) -> None:
        graph = replace(GRAPH, model=make_graph(LABELS, 32))
        with gpu.run(gpu.build(graph), graph) as engine:
            answers = engine.infer(pictures(2))
        assert not engine.info.strangeness
        assert answers.strangeness is None
        assert np.allclose(answers.probabilities, infer(MODEL, pictures(2)).probabilities, atol=1e-6)

    def test_later_answers_leave_earlier_ones_alone(self, gpu: Gpu) -> None:
        with gpu.open() as engine:
            kept = [engine.infer(pictures(1, seed)) for seed in range(2 * STEADY)]
        assert all(same(answers, pictures(1, seed)) for seed, answers in enumerate(kept))

    def test_pictures_that_do_not_lie_one_after_the_other(self, gpu: Gpu) -> None:
        batch = pictures(4)
        with gpu.open() as engine:
            for view in (batch[::2], batch[..., ::-1], batch[:, ::-1]):
                assert same(engine.infer(view), view)

    @pytest.mark.parametrize("batch", [np.zeros((1, *SHAPE), np.float32), np.zeros((1, 31, 32, 3), np.uint8)])
    def test_another_type_or_shape_is_refused(self, gpu: Gpu, batch: np.ndarray) -> None:
        with gpu.open() as engine, pytest.raises(BackendError, match=r"expected uint8 \[n, 32, 32, 3\]"):
            engine.infer(batch)

    def test_a_failure_on_the_gpu_names_the_graph_and_the_call(self) -> None:
        def break_down(answer: np.ndarray) -> np.ndarray:
            raise MemoryError

        gpu = make_gpu(distort=break_down)
        with gpu.open() as engine:
            with pytest.raises(BackendError, match=r"TensorRT failed on model.fp32.onnx: cudaStreamSync"):
                engine.infer(pictures(1))
            gpu.api.distort = None
            assert same(engine.infer(pictures(1)), pictures(1))

    def test_what_tensorrt_refuses_is_an_error(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        with gpu.open() as engine:
            monkeypatch.setattr(gpu.cudart, "last_error", 1)  # which another part of the program left behind
            with pytest.raises(BackendError, match=r"it refuses a batch: execute_async_v3: CUDA error 1"):
                engine.infer(pictures(1))
        assert gpu.library.logger.errors == ["execute_async_v3: CUDA error 1 was left behind"]

    def test_wrong_answers_come_out_as_they_are(self) -> None:
        gpu = make_gpu(distort=lambda answers: np.roll(answers, 1, axis=1))
        with gpu.open() as engine:
            answers = engine.infer(pictures(2)).probabilities
        assert np.allclose(answers, np.roll(infer(MODEL, pictures(2)).probabilities, 1, axis=1), atol=1e-6)


class TestOrder:
    """What must happen, left out: the answers show it."""

    @pytest.mark.parametrize(
        ("owner", "step"), [(Stream, "synchronize"), (Buffer, "to_device"), (Buffer, "to_host")]
    )
    def test_a_step_that_is_left_out_shows(self, monkeypatch: pytest.MonkeyPatch, owner: type, step: str) -> None:
        with make_gpu().open() as engine:
            monkeypatch.setattr(owner, step, lambda *_: None)
            assert not same(engine.infer(pictures(1)), pictures(1))

    def test_a_graph_that_outlives_its_shape_shows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TensorRT, "_drop_graph", lambda self: None)
        gpu = make_gpu()
        engine = gpu.open()
        for _ in range(STEADY + 1):
            engine.infer(pictures(1))
        with pytest.raises(BackendError, match="illegal memory access"):
            engine.infer(pictures(2))


class TestAllocate:
    def test_is_read_in_place(self, gpu: Gpu) -> None:
        with gpu.open() as engine:
            lent = engine.allocate(2)
            lent[:] = pictures(2)
            assert same(engine.infer(lent), pictures(2))
            holding = [
                address
                for address, block in gpu.cudart.blocks.items()
                if block.kind == "host memory" and bytes(block.memory).startswith(lent.tobytes())
            ]
            assert holding == [lent.ctypes.data]

    def test_other_pictures_in_between_leave_it_alone(self, gpu: Gpu) -> None:
        with gpu.open() as engine:
            lent = engine.allocate(1)
            lent[:] = pictures(1)
            assert same(engine.infer(pictures(3, 1)), pictures(3, 1))
            assert same(engine.infer(lent), pictures(1))

    def test_a_part_of_it_is_a_batch_as_any_other(self, gpu: Gpu) -> None:
        with gpu.open() as engine:
            lent = engine.allocate(4)
            lent[:] = pictures(4)
            for part in (lent[1:3], lent[:2], lent[::-1], lent[::2]):
                assert same(engine.infer(part), part)

    def test_more_than_the_engine_takes(self, gpu: Gpu) -> None:
        with gpu.open() as engine:
            plain = engine.allocate(MAX_BATCH + 1)
            plain[:] = pictures(MAX_BATCH + 1)
            assert same(engine.infer(plain), plain)

    def test_may_still_be_written_after_close(self, gpu: Gpu) -> None:
        engine = gpu.open()
        lent = engine.allocate(1)
        engine.close()
        lent[:] = 1
        assert gpu.cudart.held == ["host memory"]
        del lent
        assert gpu.cudart.held == []
        assert engine.allocate(1).shape == (1, *SHAPE)
        assert (gpu.cudart.held, gpu.cudart.faults) == ([], [])


class TestGraph:
    def test_is_launched_once_the_size_is_steady_and_answers_the_same(self, gpu: Gpu) -> None:
        with gpu.open() as engine:
            for seed in range(STEADY + 3):
                assert same(engine.infer(pictures(2, seed)), pictures(2, seed))
                assert gpu.cudart.launched == max(0, seed + 1 - STEADY)
        assert (gpu.cudart.held, gpu.cudart.faults) == ([], [])

    def test_another_size_or_memory_ends_it(self, gpu: Gpu) -> None:
        with gpu.open() as engine:
            lent = engine.allocate(2)
            lent[:] = pictures(2)
            for batch in (pictures(1), pictures(2), lent, pictures(2), pictures(1)):
                before = gpu.cudart.launched
                for _ in range(STEADY + 2):
                    assert same(engine.infer(batch), batch)
                assert gpu.cudart.launched == before + 2
                assert gpu.cudart.held.count("executable graph") == 1
        assert gpu.cudart.faults == []

    @pytest.mark.parametrize("where", Uncapturable)
    def test_where_it_fails_the_engine_runs_without(
        self, where: Uncapturable, caplog: pytest.LogCaptureFixture
    ) -> None:
        gpu = make_gpu(FakeCudart(uncapturable=where))
        with caplog.at_level(logging.INFO), gpu.open() as engine:
            for seed in range(3 * STEADY):
                assert same(engine.infer(pictures(1, seed)), pictures(1, seed))
        assert len([text for text in caplog.messages if "runs without a CUDA graph: " in text]) == 1
        assert (gpu.cudart.launched, gpu.cudart.held, gpu.cudart.faults) == (0, [], [])


class TestMemory:
    def test_an_integrated_gpu_works_in_the_cpus_memory(self) -> None:
        gpu = make_gpu(FakeCudart(integrated=True))
        with gpu.open():
            assert set(gpu.cudart.held) == {"weights", "scratch", "stream", "host memory"}
        assert gpu.cudart.held == []

    def test_none_is_left_wherever_it_runs_out(self) -> None:
        plan = make_gpu().build()
        need, refused = 0, []
        while True:
            gpu = make_gpu(FakeCudart(memory=need))
            try:
                gpu.run(plan).close()
                break
            except BackendError as error:
                refused.append(str(error))
            assert (gpu.cudart.held, gpu.cudart.faults) == ([], [])
            need += 500
        assert any("no memory left for the engine" in text for text in refused)
        assert any("cudaHostAlloc: the GPU is out of memory" in text for text in refused)
        assert any("cudaMalloc: the GPU is out of memory" in text for text in refused)

    def test_close_gives_all_back_and_may_come_twice(self, gpu: Gpu) -> None:
        engine = gpu.open()
        for _ in range(STEADY + 1):
            engine.infer(engine.allocate(1))
        engine.close()
        engine.close()
        assert (gpu.cudart.held, gpu.cudart.faults) == ([], [])
        with pytest.raises(BackendError, match=r"model.fp32.onnx is closed: open it again"):
            engine.infer(pictures(1))

    def test_close_after_a_run_that_was_broken_off(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = gpu.open()
        with monkeypatch.context() as broken:
            broken.setattr(Stream, "synchronize", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                engine.infer(pictures(1))
        engine.close()
        assert (gpu.cudart.held, gpu.cudart.faults) == ([], [])


def cut(plan: bytes) -> bytes:
    return plan[:-1]


def turn(plan: bytes) -> bytes:
    return plan[:-1] + bytes((plan[-1] ^ 1,))


class TestRefused:
    @pytest.mark.parametrize("damage", [cut, turn, lambda plan: b"", lambda plan: bytes(len(plan))])
    def test_a_damaged_engine(self, gpu: Gpu, damage: Callable[[bytes], bytes]) -> None:
        words = r"does not load in TensorRT 10.3.0 on Fake Orin \(.*: it is damaged.*build it again"
        with pytest.raises(BackendError, match=words):
            gpu.run(damage(gpu.build()))
        assert gpu.cudart.held == []

    @pytest.mark.parametrize(
        "other",
        [
            make_gpu(FakeCudart(name="Fake Thor")),
            make_gpu(version="10.16.2"),
            make_gpu(name="tensorrt_rtx"),
        ],
        ids=["GPU", "version", "library"],
    )
    def test_an_engine_of_another_gpu_or_tensorrt(self, gpu: Gpu, other: Gpu) -> None:
        with pytest.raises(BackendError, match="built on another GPU or by another version; build it again here"):
            gpu.run(other.build())

    def test_what_the_binding_raises_is_a_backend_error(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_runtime(logger: object) -> None:
            raise TypeError("factory function returned nullptr")

        plan = gpu.build()
        monkeypatch.setattr(gpu.api, "Runtime", no_runtime)
        with pytest.raises(BackendError, match=r"does not load .*\(factory function returned nullptr\)"):
            gpu.run(plan)

    @pytest.mark.parametrize(
        ("graph", "max_batch", "words"),
        [
            (GRAPH, MAX_BATCH - 1, r"takes \[1, 32, 32, 3\] to \[3, 32, 32, 3\]; expected .* to \[4, 32, 32, 3\]"),
            (GRAPH, MAX_BATCH + 1, r"takes \[1, 32, 32, 3\] to \[5, 32, 32, 3\]; expected .* to \[4, 32, 32, 3\]"),
            (
                replace(GRAPH, model=make_graph(LABELS, 16), shape=(16, 16, 3)),
                MAX_BATCH,
                r"takes \[1, 16, 16, 3\] to \[4, 16, 16, 3\]; expected \[1, 32, 32, 3\]",
            ),
        ],
        ids=["smaller batch", "larger batch", "smaller pictures"],
    )
    def test_another_profile(self, gpu: Gpu, graph: Graph, max_batch: int, words: str) -> None:
        with pytest.raises(BackendError, match=words + r".*: build it again"):
            gpu.run(gpu.build(graph, max_batch))
        assert gpu.cudart.held == []

    @pytest.mark.parametrize("change", ["input", "output", "type", "extra"])
    def test_another_contract(self, gpu: Gpu, change: str) -> None:
        model = onnx.load_from_string(make_graph(LABELS, 32))
        if change == "input":
            model.graph.input[0].name = model.graph.node[0].input[0] = "photo"
        elif change == "output":
            model.graph.output[0].name = model.graph.node[-1].output[0] = "scores"
        elif change == "type":
            model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8
        else:
            model.graph.output.append(helper.make_tensor_value_info("colour", TensorProto.FLOAT, ["batch", 3]))
        with pytest.raises(BackendError, match=r"expected .*'image'.*'probabilities'.*: export the run again"):
            gpu.run(plan_of(gpu, model))

    def test_answers_of_another_shape(self, gpu: Gpu) -> None:
        model = onnx.load_from_string(make_graph(LABELS, 32))
        model.graph.node.append(helper.make_node("Unsqueeze", ["answers", "axes"], ["probabilities"]))
        model.graph.node[-2].output[0] = "answers"
        shape = ["batch", 1, 1, 3]
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape))
        with pytest.raises(BackendError, match=r"answers \{'probabilities': \(1, 1, 3\)\} for one picture"):
            gpu.run(plan_of(gpu, model))

    def test_an_engine_that_takes_no_single_picture(self, gpu: Gpu) -> None:
        with pytest.raises(BackendError, match=r"takes \[2, 32, 32, 3\] to \[4, 32, 32, 3\]; expected \[1, 32"):
            gpu.run(plan_of(gpu, onnx.load_from_string(MODEL), least=2))


def plan_of(gpu: Gpu, model: onnx.ModelProto, least: int = 1) -> bytes:
    """Build any graph, a bundle's or not. `least`: pictures that its engine takes at least."""
    builder = gpu.api.Builder(gpu.library.logger)
    network = builder.create_network(1 << gpu.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    parser = gpu.api.OnnxParser(network, gpu.library.logger)
    assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
    profile, config = builder.create_optimization_profile(), builder.create_builder_config()
    low, high = (least, *SHAPE), (MAX_BATCH, *SHAPE)
    profile.set_shape(network.get_input(0).name, low, low, high)
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


class TestInfo:
    @pytest.mark.parametrize(("name", "provider"), [("tensorrt", "TensorRT"), ("tensorrt_rtx", "TensorRT-RTX")])
    def test_says_what_really_runs(self, name: str, provider: str) -> None:
        gpu = make_gpu(name=name)
        plan = gpu.build()
        with gpu.run(plan) as engine:
            info = engine.info
        assert (info.name, info.provider, info.device) == ("tensorrt", provider, "Fake Orin")
        assert (info.file, info.precision, info.threads) == ("model.fp32.onnx", Precision.FP32, 0)
        assert info.versions == ((name, "10.3.0"), ("cuda", "12.6"), ("driver", "13.0"))
        assert (info.strangeness, info.megabytes) == (True, len(plan) / 1e6)


class TestFake:
    """What whole programs are tested with."""

    def test_is_found_as_the_real_ones_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(binding, "open_library", binding.open_library)  # given back after the test
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        cudart = FakeCudart()
        install(cudart, FakeTensorRT(cudart))
        library, cuda = load_library(), load_cuda()
        plan = build_engine(GRAPH, library, BuildSettings(1)).plan
        with run_plan(plan, GRAPH, library, cuda, Options()) as engine:
            assert same(engine.infer(pictures(2)), pictures(2))

    def test_a_builder_and_a_parser_that_refuse(self) -> None:
        with pytest.raises(BackendError, match="Softmax: no importer for Softmax"):
            make_gpu(refused=frozenset(("Softmax",))).build()
        with pytest.raises(BackendError):
            make_gpu(fails="Cuda error: out of memory").build()

    def test_the_inspector_tells_dtypes_once_the_shapes_are_known(self, caplog: pytest.LogCaptureFixture) -> None:
        gpu = make_gpu()
        engine = gpu.api.Runtime(gpu.library.logger).deserialize_cuda_engine(gpu.build())
        inspector, context = engine.create_engine_inspector(), engine.create_execution_context()
        for expected in (frozenset(), frozenset(("float32",))):
            said = inspector.get_engine_information(gpu.api.LayerInformationFormat.JSON)
            assert check_engine(said, Precision.FP32).dtypes == expected
            assert context.set_input_shape("image", (1, *SHAPE))
            inspector.execution_context = context

    def test_an_engine_does_not_run_without_shapes_and_addresses(self) -> None:
        gpu = make_gpu()
        engine = gpu.api.Runtime(gpu.library.logger).deserialize_cuda_engine(gpu.build())
        context, stream, buffer = engine.create_execution_context(), Stream(gpu.cuda), Buffer(gpu.cuda, 4000)
        assert not context.execute_async_v3(stream.handle)
        assert not context.set_input_shape("image", (MAX_BATCH + 1, *SHAPE))
        assert context.set_input_shape("image", (1, *SHAPE))
        assert not context.execute_async_v3(stream.handle)
        for name in ("image", "probabilities", "strangeness"):
            assert context.set_tensor_address(name, buffer.address)
        assert context.execute_async_v3(stream.handle)
        assert not context.execute_async_v3(0)
        assert context.set_input_shape("image", (2, *SHAPE))  # 6144 bytes
        assert not context.execute_async_v3(stream.handle)
        said = [text.removeprefix("execute_async_v3: ") for text in gpu.library.logger.errors]
        assert [text.partition(" at ")[0] for text in said] == [
            "shapes of ['image'] are not set",
            "set_input_shape: image (5, 32, 32, 3) is outside (1, 32, 32, 3) to (4, 32, 32, 3)",
            "Address is not set for tensor image",
            "no stream 0x0",
            "the GPU reaches for 6144 bytes",
        ]
