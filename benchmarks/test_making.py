"""What it costs to make a bundle: training, the graphs of each precision, and TensorRT's engines."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import onnx
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import About, Kept
from benchmarks.made import LABELS, SPEC
from benchmarks.networks import made, network
from benchmarks.prove_throughput import Size, three_ways
from benchmarks.sized import FILE, graph_bytes, int8
from edge.backends import BackendInfo, Graph
from edge.backends.trt.build import BuildSettings, build_engine
from edge.backends.trt.library import Library, load_library
from edge.errors import BackendError
from edge.manifest import Precision
from export.fp16 import to_fp16
from export.qdq import Scheme
from train.device import choose_device, device_name, use_bf16
from train.recipe import Amp

EXPORTS, CONVERSIONS, BUILDS, EPOCHS, PHOTOS = 2, 3, 2, 3, 96


def maker(name: str, precision: Precision, *libraries: str, threads: int = 0) -> BackendInfo:
    """Return what is told of who makes a graph."""
    versions = tuple((one, metadata.version(one)) for one in libraries)
    return BackendInfo(name, FILE, precision, name, threads, versions)


@pytest.fixture(scope="module")
def fp32() -> onnx.ModelProto:
    return onnx.load_from_string(network(SPEC, len(LABELS)))


@pytest.fixture(scope="module")
def tensorrt() -> Library:
    try:
        return load_library()
    except BackendError as error:
        pytest.skip(str(error))


def test_export_fp32(benchmark: BenchmarkFixture, about: About) -> None:
    """From an untrained network to its file."""
    about(maker("torch", Precision.FP32, "torch", "onnx", "onnxscript"))
    assert benchmark.pedantic(made, (SPEC, len(LABELS)), rounds=EXPORTS)


def test_export_fp16(benchmark: BenchmarkFixture, about: About, fp32: onnx.ModelProto) -> None:
    """From the graph in fp32."""
    about(maker("onnxruntime", Precision.FP16, "onnx", "onnxruntime"))
    assert benchmark.pedantic(to_fp16, (fp32,), rounds=CONVERSIONS)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_export_int8(benchmark: BenchmarkFixture, about: About, fp32: onnx.ModelProto, scheme: Scheme) -> None:
    """From the graph in fp32 and made photos: watched, ranges found, quantized."""
    about(maker("onnxruntime", Precision.INT8, "onnx", "onnxruntime"))
    assert benchmark.pedantic(int8, (fp32, scheme), rounds=CONVERSIONS)


@pytest.mark.parametrize("precision", list(Precision))
def test_engine_build(benchmark: BenchmarkFixture, about: About, tensorrt: Library, precision: Precision) -> None:
    """TensorRT for the GPU at hand; TensorRT-RTX for any, which needs none."""
    about(BackendInfo("tensorrt", FILE, precision, tensorrt.name, 0, ((tensorrt.name, tensorrt.version),)))
    graph = Graph(FILE, precision, graph_bytes(precision, scheme=Scheme.TENSORRT), SPEC.shape)
    built = benchmark.pedantic(build_engine, (graph, tensorrt, BuildSettings()), rounds=BUILDS)
    assert len(built.plan) > 1_000_000


def test_training(kept: Kept, about: About, tmp_path: Path) -> None:
    """Seconds an image: cache, augmentation and loader, forward, backward, AdamW. Photos are made."""
    import torch  # noqa: PLC0415

    device = choose_device("auto")
    gpu = device_name(device) if device.type == "cuda" else ""
    size = Size(photos=PHOTOS, epochs=EPOCHS, made=True)
    ours, *_ = three_ways(size, tmp_path, device)
    rates = [ours(epoch) for epoch in range(EPOCHS + 1)][1:]  # the first fills the cache
    info = maker("torch", Precision.FP32, "torch", "torchvision", threads=torch.get_num_threads())
    precision = "bf16" if use_bf16(Amp.AUTO, device) else "fp32"
    about(replace(info, device=gpu), images_a_second=sum(rates) / len(rates), precision=precision)
    kept(1 / rate for rate in rates)
