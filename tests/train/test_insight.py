"""What the network sees in a photo; and on TrashNet, what it tells of labels and of more photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge.errors import TrainError
from edge.images import list_photos
from edge.scores import Truth
from tests.made import KINDS, shared, write_photos
from train.backbone import Classifier, make_classifier
from train.device import use_bf16
from train.insight.curve import learn_curve
from train.insight.draws import alone, places
from train.insight.features import Features, extract
from train.insight.mistakes import Mistake, confident_mistakes
from train.insight.probe import compress
from train.insight.suspects import find_suspects
from train.judge import answer
from train.photos import LabelledFile, Pictures, open_pictures
from train.recipe import Amp, Recipe
from train.weights import load_weights

CPU = torch.device("cpu")
RECIPE = Recipe(img_size=32)


def _pictures(folder: Path) -> Pictures:
    data = write_photos(folder / "photos", 3)
    files = [LabelledFile(path, KINDS.index(path.parent.name)) for path in sorted(data.rglob("*.jpg"))]
    return open_pictures(files, RECIPE, folder / "cache", training=False)


def _network(model: str) -> Classifier:
    torch.manual_seed(0)
    return make_classifier(model, 3).eval()


class TestExtract:
    @pytest.mark.parametrize("model", ["mobilenet_v2", "resnet18", "squeezenet1_1", "mobilenet_v3_small"])
    def test_the_head_makes_the_logits_of_them(self, tmp_path: Path, model: str) -> None:
        pictures, classifier = _pictures(tmp_path), _network(model)
        _, logits = answer(classifier, pictures, CPU)
        features = extract(classifier, pictures, CPU, batch_size=4)
        assert features.dtype == np.float32
        assert features.shape == (9, classifier.head.in_features)
        with torch.inference_mode():
            again = classifier.head(torch.from_numpy(features)).numpy()
        assert np.allclose(again, logits, atol=1e-3 * np.abs(logits).max())

    def test_leaves_the_network_as_it_was(self, tmp_path: Path) -> None:
        pictures, classifier = _pictures(tmp_path), _network("resnet18")
        classifier.train()
        before = {key: value.clone() for key, value in classifier.state_dict().items()}
        extract(classifier, pictures, CPU)
        assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())
        assert not classifier.head._forward_pre_hooks

    def test_half_precision_changes_little(self, tmp_path: Path) -> None:
        pictures, classifier = _pictures(tmp_path), _network("resnet18")
        exact, rough = (extract(classifier, pictures, CPU, bf16=bf16) for bf16 in (False, True))
        assert rough.dtype == np.float32
        assert not np.array_equal(exact, rough)
        assert np.allclose(exact, rough, atol=0.05 * np.abs(exact).max())

    def test_tells_how_far_it_is(self, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        extract(
            _network("resnet18"), _pictures(tmp_path), CPU, batch_size=4, progress=lambda *how: told.append(how)
        )
        assert told == [(4, 9), (8, 9), (9, 9)]

    def test_what_is_no_number_is_refused(self, tmp_path: Path) -> None:
        classifier = _network("resnet18")
        with torch.no_grad():
            next(classifier.body_parameters()).fill_(float("nan"))
        with pytest.raises(TrainError, match="features are not all numbers"):
            extract(classifier, _pictures(tmp_path), CPU)


def test_mistakes_are_ranked_by_confidence() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32)
    found = confident_mistakes(np.array([1, 0, 1, 1]), probabilities)
    assert found == (
        Mistake(1, 0, 1, pytest.approx(0.9)),
        Mistake(3, 1, 0, pytest.approx(0.7)),
        Mistake(0, 1, 0, pytest.approx(0.6)),
    )
    assert confident_mistakes(np.array([0, 1]), probabilities[:2]) == ()


@pytest.fixture(scope="module")
def trashnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Features, Truth]:
    """What the given MobileNetV2 sees in the 2,022 photos, and their labels."""
    archive, weights = shared("data/trashnet.zip"), shared("weights/mobilenet_v2_imagenet.pth")
    cache = tmp_path_factory.mktemp("cache")
    listing = list_photos(archive, cache)
    files = [LabelledFile(photo.path, listing.labels.index(photo.label)) for photo in listing.photos]
    classifier = make_classifier("mobilenet_v2", len(listing.labels))
    load_weights(classifier, "mobilenet_v2", str(weights))
    pictures = open_pictures(files, Recipe(), cache, training=False)
    features = extract(classifier, pictures, CPU, bf16=use_bf16(Amp.AUTO, CPU))
    return compress(features), np.array([file.target for file in files], dtype=np.int64)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_swapped_labels_of_trashnet_are_among_the_first_suspects(
    trashnet: tuple[Features, Truth], seed: int
) -> None:
    """5 % of the labels are swapped; at least 60 % of these photos are among the top 10 % of the suspects."""
    features, labels = trashnet[0], trashnet[1].copy()
    count, rng = len(labels), np.random.default_rng(seed)
    swapped = rng.choice(count, round(0.05 * count), replace=False)
    labels[swapped] = (labels[swapped] + rng.integers(1, 6, len(swapped))) % 6
    suspects = find_suspects(features, labels, alone(count), 6, 0)
    assert np.isin(swapped, suspects.order[: count // 10]).mean() >= 0.6
    assert len(swapped) <= suspects.flagged <= 3 * len(swapped)


@pytest.mark.slow
def test_half_of_trashnet_foretells_the_whole(trashnet: tuple[Features, Truth]) -> None:
    features, labels = trashnet
    whole = learn_curve(features, labels, alone(len(labels)), 6, 0)
    half = places(labels, alone(len(labels)), np.random.default_rng(0)) < 0.5
    its = learn_curve(features[half], labels[half], alone(int(half.sum())), 6, 0)
    assert its.overall.low <= whole.overall.now <= its.overall.high
    assert its.overall.gain > 0.005
    assert its.overall.high - its.overall.low < 0.08
