"""The self-test of a trained network: what is planted in its graphs is named, what is whole starts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from benchmarks.prove_starts import clean_starts
from edge.backends import Answers, open_backend
from edge.bundle import Bundle, load
from edge.errors import BundleError, GoldenError, Stage
from edge.golden import GOLDEN, Fault, batches, self_test
from edge.golden_record import read
from edge.manifest import Precision
from export.golden import CLASSES, UNSURE, choose, sign
from export.graph import Answering
from tests.conftest import TinyRun
from train import checkpoint
from train.backbone import make_classifier
from train.zoo import IMAGENET, Normalization

Floats = npt.NDArray[np.floating]
Change = Callable[[onnx.ModelProto], None]


@pytest.fixture(scope="module")
def bundle(tiny_run: TinyRun) -> Bundle:
    return load(tiny_run.bundle)


def constant(model: onnx.ModelProto, name: str, change: Callable[[Floats], Floats]) -> None:
    """Change the one constant whose name ends so."""
    (tensor,) = [one for one in model.graph.initializer if one.name.endswith(name)]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(values.copy()).astype(values.dtype), tensor.name))


def normalization(change: Callable[[Floats, Floats], tuple[Floats | float, Floats | float]]) -> Change:
    """Plant other mean and std: BGR, for levels 0 to 255."""

    def plant(model: onnx.ModelProto) -> None:
        found: dict[str, Floats] = {}
        for name in ("classifier.mean", "classifier.scale"):
            constant(model, name, lambda values, name=name: found.setdefault(name, values))  # type: ignore[misc]
        mean, std = change(found["classifier.mean"], 1 / found["classifier.scale"])
        constant(model, "classifier.mean", lambda values: np.broadcast_to(mean, values.shape))
        constant(model, "classifier.scale", lambda values: np.broadcast_to(1 / np.asarray(std), values.shape))

    return plant


def keep_channels(model: onnx.ModelProto) -> None:
    """Leave out the turn from BGR to RGB before the network."""
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    constant(model, gather.input[1], np.sort)


def take_rgb(model: onnx.ModelProto) -> None:
    keep_channels(model)
    normalization(lambda mean, std: (mean[:, ::-1], std[:, ::-1]))(model)


def reorder(model: onnx.ModelProto) -> None:
    """Put the graph's answers in the order of disc, ring, bars."""
    last = next(node for node in model.graph.node if "probabilities" in node.output)
    last.output[0] = "in order"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 0]), "order"))
    model.graph.node.append(helper.make_node("Gather", ["in order", "order"], ["probabilities"], axis=1))


def negate_a_class(model: onnx.ModelProto) -> None:
    constant(model, "fc.weight", lambda values: values * np.array([[1], [-1], [1]]))


def be_another_model(model: onnx.ModelProto) -> None:
    """Draw all weights anew, each layer's from the spread that it has."""
    rng = np.random.default_rng(0)
    for name in [one.name for one in model.graph.initializer if one.name.endswith("weight")]:
        constant(model, name, lambda values: rng.normal(0, values.astype(np.float32).std(), values.shape))


def be_sure_of_one_class(place: int) -> Change:
    def plant(model: onnx.ModelProto) -> None:
        constant(model, "fc.bias", lambda values: values + 500 * np.eye(3)[place])

    return plant


FAULTS: dict[str, tuple[Change, Stage, str]] = {
    "mean and std swapped": (
        normalization(lambda mean, std: (std, mean)),
        Stage.NORMALIZATION,
        "mean and std changed places",
    ),
    "no normalization": (
        normalization(lambda mean, std: (0, 255)),
        Stage.NORMALIZATION,
        "levels went in as 0 to 1",
    ),
    "raw levels": (normalization(lambda mean, std: (0, 1)), Stage.NORMALIZATION, "levels went in as 0 to 255"),
    "centred": (normalization(lambda mean, std: (127.5, 127.5)), Stage.NORMALIZATION, "levels went in as -1 to 1"),
    "unscaled": (
        normalization(lambda mean, std: (mean / 255, std / 255)),
        Stage.NORMALIZATION,
        "mean and std for levels 0 to 1 met levels 0 to 255",
    ),
    "mean and std of the other channels": (
        normalization(lambda mean, std: (mean[:, ::-1], std[:, ::-1])),
        Stage.NORMALIZATION,
        "mean and std of red and blue changed places",
    ),
    "channels not turned": (keep_channels, Stage.COLOUR_ORDER, "red and blue changed places before the network"),
    "a graph for RGB": (take_rgb, Stage.COLOUR_ORDER, "takes RGB, not BGR"),
    "labels in another order": (reorder, Stage.LABELS, "'disc' stands where the manifest has 'bars'"),
    "a class negated": (negate_a_class, Stage.ENGINE, "take another --backend or --precision"),
    "another model": (be_another_model, Stage.ENGINE, "take another --backend or --precision"),
    **{
        f"sure of class {place}": (be_sure_of_one_class(place), Stage.ENGINE, "take another --backend")
        for place in range(3)
    },
}


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_graph_is_caught_and_named(bundle: Bundle, fault: str, precision: Precision) -> None:
    change, stage, words = FAULTS[fault]
    file = bundle.artifact(precision).file
    model = onnx.load_from_string(bundle.read(file))
    change(model)
    onnx.checker.check_model(model)
    broken = replace(bundle, contents={**bundle.contents, file: model.SerializeToString()})
    with open_backend(broken, "onnxruntime", precision) as backend, pytest.raises(GoldenError) as caught:
        self_test(broken, backend)
    assert (caught.value.stage, words in str(caught.value)) == (stage, True), caught.value


@pytest.fixture(scope="module")
def module(tiny_run: TinyRun) -> Answering:
    loaded = checkpoint.load(tiny_run.run / checkpoint.BEST)
    return Answering(loaded.classifier, loaded.about.temperature, loaded.strangers).eval()


def mean_std(change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Normalization:
    mean, std = change(np.array(IMAGENET.mean), np.array(IMAGENET.std))
    return Normalization(tuple(mean.tolist()), tuple(std.tolist()))


OTHERS = {
    Fault.NONE: IMAGENET,
    Fault.REVERSED: mean_std(lambda mean, std: (mean[::-1], std[::-1])),
    Fault.SWAPPED: Normalization(IMAGENET.std, IMAGENET.mean),
    Fault.UNIT: Normalization((0, 0, 0), (1, 1, 1)),
    Fault.CENTRED: Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    Fault.UNSCALED: mean_std(lambda mean, std: (mean / 255, std / 255)),
    Fault.RAW: mean_std(lambda mean, std: (0 * mean, 0 * std + 1 / 255)),
}


@pytest.mark.parametrize("fault", OTHERS)
def test_a_signature_is_what_a_network_made_so_would_answer(
    bundle: Bundle, module: Answering, fault: Fault
) -> None:
    record = read(bundle, bundle.artifact().file)
    other = make_classifier("resnet18", 3, img_size=32, normalization=OTHERS[fault])
    other.load_backbone(module.classifier.backbone.state_dict())
    answering = Answering(other, module.temperature, module.strangers).eval()
    with torch.inference_mode():
        made = [answering(torch.from_numpy(batch))[0].numpy() for batch in batches(record.tensors)]
    assert record.signatures[fault] == pytest.approx(np.stack(made), abs=2e-4)


def test_the_signature_of_turned_channels_is_that_of_a_network_without_the_turn(
    bundle: Bundle, module: Answering
) -> None:
    record = read(bundle, bundle.artifact().file)
    mean, std = IMAGENET.mean[::-1], IMAGENET.std[::-1]
    other = make_classifier("resnet18", 3, img_size=32, normalization=Normalization(mean, std))
    other.load_backbone(module.classifier.backbone.state_dict())
    answering = Answering(other, module.temperature, module.strangers).eval()
    with torch.inference_mode():
        turned = [np.ascontiguousarray(batch[..., ::-1]) for batch in batches(record.tensors)]
        made = [answering(torch.from_numpy(batch))[0].numpy() for batch in turned]
    assert record.signatures[Fault.CHANNELS] == pytest.approx(np.stack(made), abs=2e-4)


def test_making_signatures_leaves_the_network_as_it_was(bundle: Bundle, module: Answering) -> None:
    tensors = read(bundle, bundle.artifact().file).tensors
    before = sign(module, Fault.NONE, tensors)
    for fault in Fault:
        sign(module, fault, tensors)
    assert np.array_equal(sign(module, Fault.NONE, tensors), before)


def test_every_known_fault_has_a_signature_in_an_exported_bundle(bundle: Bundle) -> None:
    for artifact in bundle.manifest.artifacts:
        assert set(read(bundle, artifact.file).signatures) == set(Fault)


class TestChoose:
    def test_takes_the_least_sure_and_each_class_where_it_shows_best(self) -> None:
        rng = np.random.default_rng(0)
        probabilities = rng.dirichlet([0.3] * 5, 100).astype(np.float32)
        truth = np.repeat(np.arange(5), 20)
        chosen = choose(probabilities, truth)
        assert chosen == sorted(set(chosen))
        assert set(np.argsort(probabilities.max(axis=1))[:UNSURE]) <= set(chosen)
        for label in range(5):
            best = max(np.flatnonzero(truth == label), key=lambda place: probabilities[place, label])
            assert best in chosen
        assert len(chosen) <= UNSURE + 5

    def test_of_many_classes_takes_so_many_and_no_more(self) -> None:
        truth = np.arange(300) % 100
        chosen = choose(np.full((300, 100), 0.01, dtype=np.float32), truth)
        assert CLASSES <= len(chosen) <= CLASSES + UNSURE
        assert {0, 99} <= {int(truth[place]) for place in chosen}

    def test_of_few_photos_takes_all_there_are(self) -> None:
        assert choose(np.eye(2, dtype=np.float32), np.array([1, 1])) == [0, 1]


def test_two_classes_that_change_places_are_told_by_the_photos_chosen(bundle: Bundle) -> None:
    """Any two columns differ by more than the tolerance for some photo."""
    for artifact in bundle.manifest.artifacts:
        expected = read(bundle, artifact.file).expected
        answers: Answers = expected.answers
        for first in range(3):
            for second in range(first):
                off = np.abs(answers.probabilities[:, first] - answers.probabilities[:, second])
                assert off.max() > 10 * expected.tolerance


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_clean_starts_are_not_refused(tiny_run: TinyRun, precision: Precision) -> None:
    """`make proof-starts` makes a thousand of them."""
    starts = clean_starts(tiny_run.bundle, 20, precision=precision)
    assert (starts.count, starts.refused) == (20, ())
    assert starts.median_ms > 0


def test_starts_that_are_refused_are_counted_with_what_was_said(tiny_run: TinyRun, tmp_path: Path) -> None:
    starts = clean_starts(tmp_path / "none", 3)
    assert (starts.count, len(starts.refused)) == (3, 3)
    assert "no bundle" in starts.refused[0]
    assert starts.rows()[0][1] == "3 of 3"


def test_a_flipped_bit_in_any_file_of_an_exported_bundle_is_refused(tiny_run: TinyRun) -> None:
    rng = random.Random(0)
    files = sorted(tiny_run.bundle.iterdir())
    assert {path.name for path in files} >= {"manifest.json", "model.fp32.onnx", "model.fp16.onnx", GOLDEN}
    for path in files:
        size = path.stat().st_size
        for place in (0, size - 1, *(rng.randrange(size) for _ in range(3))):
            bit = 1 << rng.randrange(8)
            flip(path, place, bit)
            try:
                with pytest.raises(BundleError, match=r"manifest|altered"):
                    load(tiny_run.bundle)
            finally:
                flip(path, place, bit)
    load(tiny_run.bundle)


def flip(path: Path, place: int, bit: int) -> None:
    """Flip one bit of the file in place."""
    with path.open("r+b") as file:
        file.seek(place)
        (level,) = file.read(1)
        file.seek(place)
        file.write(bytes([level ^ bit]))
