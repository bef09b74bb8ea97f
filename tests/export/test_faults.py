"""Faults planted between the trained model and its graphs: the gate at export lets none of them through."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge.manifest import Artifact, Precision, Verdict
from edge.preprocess import Pixels
from export import graphs
from export.graphs import make_graphs
from export.photos import Photos
from export.run import export
from tests.conftest import TinyRun
from train.backbone import Classifier
from train.checkpoint import Loaded


def _red_for_blue(net: Classifier) -> None:
    net.get_buffer("to_rgb").copy_(net.get_buffer("to_rgb").flip(0))


def _mean_for_std(net: Classifier) -> None:
    mean, scale = net.get_buffer("mean").clone(), net.get_buffer("scale").clone()
    net.get_buffer("mean").copy_(1 / scale)
    net.get_buffer("scale").copy_(1 / mean)


def _labels_permuted(net: Classifier) -> None:
    for parameter in net.head.parameters():
        parameter.copy_(parameter.roll(1, dims=0).clone())


def _class_negated(net: Classifier) -> None:
    net.head.weight[1] *= -1


@pytest.mark.parametrize(
    ("plant", "verdicts"),
    [
        (_red_for_blue, (Verdict.INCONCLUSIVE, Verdict.FAIL)),  # 18 photos of shapes, whose colours tell little
        (_mean_for_std, (Verdict.FAIL,)),
        (_labels_permuted, (Verdict.FAIL,)),
        (_class_negated, (Verdict.FAIL,)),
    ],
)
def test_a_fault_in_the_graph_does_not_pass(
    tiny_run: TinyRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[Classifier], None],
    verdicts: tuple[Verdict, ...],
) -> None:
    honest = graphs.to_onnx

    def faulty(net: Classifier, *rest: object) -> onnx.ModelProto:
        spoilt = copy.deepcopy(net)
        with torch.no_grad():
            plant(spoilt)
        return honest(spoilt, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(graphs, "to_onnx", faulty)
    exported = export(tiny_run.run, tmp_path / "bundle", (), tiny_run.cache)
    (artifact,) = exported.bundle.manifest.artifacts
    assert artifact.verdict in verdicts, artifact.reason
    assert exported.passed == (artifact.verdict is not Verdict.FAIL)


@pytest.fixture(scope="module")
def int8(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Both int8 graphs of the tiny run."""
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    manifest = export(tiny_run.run, folder, (Precision.INT8,), tiny_run.cache).bundle.manifest
    return {one.file: one for one in manifest.artifacts}


def test_int8_is_two_graphs_each_for_its_engine_and_each_judged(int8: dict[str, Artifact]) -> None:
    assert {file: one.runtimes for file, one in int8.items()} == {
        "model.fp32.onnx": ("onnxruntime", "tensorrt", "openvino"),
        "model.int8.onnx": ("onnxruntime", "openvino"),
        "model.int8.trt.onnx": ("tensorrt",),
    }
    for file in ("model.int8.onnx", "model.int8.trt.onnx"):
        one = int8[file]
        assert one.verdict is not Verdict.FAIL, one.reason
        assert one.parity.tolerance == 0.03
        assert one.parity.backend == "onnxruntime"
        assert one.remedies[0].name == "min-max"
        assert one.remedies[-1].passed
        assert 0 < one.parity.max_difference < 0.2
        assert one.rejection is not None


def test_int8_calibrated_on_noise_does_not_pass(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = graphs._tensors

    def noise(photos: Photos, most: int, loaded: Loaded) -> Pixels:
        tensors = honest(photos, most, loaded)
        if most != graphs.PHOTOS:
            return tensors
        return np.random.default_rng(0).integers(0, 4, tensors.shape).astype(np.uint8)

    monkeypatch.setattr(graphs, "_tensors", noise)
    exported = export(tiny_run.run, tmp_path / "bundle", (Precision.INT8,), tiny_run.cache)
    verdicts = {one.file: one.verdict for one in exported.bundle.manifest.artifacts}
    assert verdicts.pop("model.fp32.onnx") is Verdict.PASS
    assert Verdict.PASS not in verdicts.values()


def test_too_few_photos_to_calibrate_are_an_error(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.photos import open_photos
    from train import checkpoint
    from train.dataset.split import read_split

    split = read_split(tiny_run.run / "split.json")
    few = dataclasses.replace(split, roles={role: photos[:5] for role, photos in split.roles.items()})
    loaded = checkpoint.load(tiny_run.run / checkpoint.BEST)
    monkeypatch.setattr(graphs, "to_onnx", lambda *_: onnx.ModelProto())
    with pytest.raises(graphs.ExportError, match="5 training photos and 5 validation photos can't calibrate"):
        make_graphs(loaded, (Precision.INT8,), lambda role: open_photos(few, role, tiny_run.data, tiny_run.cache))
