"""NVIDIA's own builder takes every graph that we make for it. TensorRT-RTX builds without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge.backends import Graph, graph_of
from edge.backends.trt.build import BuildSettings, Built, build_engine
from edge.backends.trt.library import Library, load_library
from edge.errors import BackendError
from edge.manifest import Precision
from edge.preprocess import InputSpec, Resize
from export.calibration import Method, Observed, find_range, observe
from export.fp16 import to_fp16
from export.graph import to_onnx
from export.layers import find_layers
from export.qdq import Plan, Scheme, quantize, tensors_of
from export.run import export
from tests.conftest import TinyRun
from train.backbone import make_classifier
from train.strangers import fit_strangers
from train.zoo import DOCUMENTED

pytest.importorskip("tensorrt_rtx", reason="needs the package tensorrt-rtx", exc_type=ImportError)

SIDES = {"mobilenet_v2": 224}
"""What a bin runs by default comes at its own size, the others at the least that they take, to be quick."""
QUICK = ("mobilenet_v2", "resnet18")
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in DOCUMENTED]
LEAST, CLASSES, PHOTOS = 32, 4, 2
MOST = 8
DTYPES = {Precision.FP32: "float32", Precision.FP16: "float16", Precision.INT8: "int8"}
SMALL = "resnet18"


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


@lru_cache(maxsize=2)
def fp32(name: str) -> onnx.ModelProto:
    """Return the graph of an untrained net, with temperature and stranger score as a run has them."""
    torch.manual_seed(0)
    side = SIDES.get(name, LEAST)
    classifier = make_classifier(name, CLASSES, img_size=side).eval()
    head = classifier.head
    features = np.random.default_rng(0).normal(size=(240, head.in_features)).astype(np.float32)
    strangers = fit_strangers(features, head.weight.detach().numpy(), head.bias.detach().numpy())
    return to_onnx(classifier, 1.5, InputSpec(side, side, Resize.CROP), strangers)


@lru_cache(maxsize=2)
def observed(name: str) -> Mapping[str, Observed]:
    side = SIDES.get(name, LEAST)
    photos = np.random.default_rng(0).integers(0, 256, (PHOTOS, side, side, 3), dtype=np.uint8)
    return observe(fp32(name), tensors_of(fp32(name)), photos)


def int8(name: str, scheme: Scheme = Scheme.TENSORRT, in_float: int = 0) -> onnx.ModelProto:
    """Return the int8 graph, with the first `in_float` layers left in float."""
    ranges = {
        one: find_range(its, Method.MIN_MAX, symmetric=scheme.symmetric) for one, its in observed(name).items()
    }
    kept = frozenset(layer.node for layer in find_layers(fp32(name))[:in_float])
    return quantize(fp32(name), Plan(scheme, ranges, kept, observed(name)))


def graph(name: str, precision: Precision) -> Graph:
    make = {Precision.FP32: fp32, Precision.FP16: lambda one: to_fp16(fp32(one)), Precision.INT8: int8}
    return _graph(make[precision](name), precision, SIDES.get(name, LEAST))


def _graph(model: onnx.ModelProto, precision: Precision, side: int = LEAST) -> Graph:
    return Graph(f"model.{precision.value}.onnx", precision, model.SerializeToString(), (side, side, 3))


def build(one: Graph, library: Library) -> Built:
    return build_engine(one, library, BuildSettings(max_batch=MOST))


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("name", NAMES)
def test_the_builder_takes_every_documented_backbone(library: Library, name: str, precision: Precision) -> None:
    built = build(graph(name, precision), library)
    assert len(built.plan) > 1_000_000
    layers = len(find_layers(fp32(name)))
    assert len(built.layers.computing) == layers + 1, "and the last, which makes the logits"
    in_int8 = precision is Precision.INT8
    assert built.layers.count(DTYPES[precision]) == (layers if in_int8 else layers + 1)


@pytest.mark.parametrize("asked", list(Precision))
@pytest.mark.parametrize("given", list(Precision))
def test_a_graph_of_another_precision_than_it_claims_is_refused(
    library: Library, given: Precision, asked: Precision
) -> None:
    one = replace(graph(SMALL, given), precision=asked, file="claims.onnx")
    if given is asked:
        assert build(one, library).plan
        return
    found = rf"claims.onnx was to be {asked.value} and has 2[01] {DTYPES[given]}"
    with pytest.raises(BackendError, match=rf"{found}.*\(first: node_Conv_\d+\): export the run again"):
        build(one, library)


def test_the_layers_that_the_export_leaves_in_float_are_let_pass(library: Library) -> None:
    some = build(_graph(int8(SMALL, in_float=8), Precision.INT8), library)
    assert (some.layers.count("int8"), some.layers.count("float32")) == (12, 9)
    with pytest.raises(BackendError, match="has 12 float32, 9 int8"):
        build(_graph(int8(SMALL, in_float=11), Precision.INT8), library)


def test_the_builder_refuses_the_graph_for_cpus(library: Library) -> None:
    """Which is why there are two of them."""
    with pytest.raises(
        BackendError, match=r"refused by TensorRT's parser: node '\w+', operator QuantizeLinear: .*zero point"
    ):
        build(_graph(int8(SMALL, Scheme.CPU), Precision.INT8), library)


def test_the_builder_takes_what_a_run_exports(library: Library, tiny_run: TinyRun, tmp_path: Path) -> None:
    wanted = (Precision.FP16, Precision.INT8)
    bundle = export(tiny_run.run, tmp_path / "bundle", wanted, tiny_run.cache).bundle
    for precision in Precision:
        one = graph_of(bundle, "tensorrt", precision)
        assert one.precision is precision
        assert build(one, library).plan
    assert graph_of(bundle, "tensorrt", Precision.INT8).file == "model.int8.trt.onnx"
