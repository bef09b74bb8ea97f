"""Every backbone that torchvision has, without its weights; and of timm's, those of each kind of size."""

from __future__ import annotations

import importlib.util
from collections import Counter

import pytest
import torch
import torchvision
from torch import nn

from edge.errors import UsageError
from train import zoo
from train.backbone import Classifier, Head, make_classifier
from train.zoo import (
    DOCUMENTED,
    IMAGENET,
    Listed,
    Weightless,
    check_model,
    check_size,
    list_models,
    published_normalization,
)

NAMES = torchvision.models.list_models(module=torchvision.models)
SIZES = {"maxvit_t": 224, "inception_v3": 96, "vit_h_14": 42}
TIMM_NAMES = (
    "timm:tf_efficientnetv2_b0",
    "timm:vit_tiny_patch16_224",
    "timm:resnet18.a1_in1k",
    "timm:convnext_atto",
)


def _weightless(name: str, img_size: int) -> Classifier:
    with Weightless():
        classifier = make_classifier(name, 7, img_size=img_size)
    return classifier.to("meta").eval()


@pytest.mark.parametrize("name", [*NAMES, *TIMM_NAMES])
def test_every_backbone_has_a_linear_head_and_stages_in_order(name: str) -> None:
    classifier = _weightless(name, size := SIZES.get(name, 64))
    stages = classifier.stages()
    reached: list[int] = []
    features: list[torch.Size] = []
    for number, stage in enumerate(stages):
        for module in stage:
            module.register_forward_pre_hook(lambda *_, number=number: reached.append(number))
    classifier.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].shape))
    with torch.no_grad():
        logits = classifier(torch.empty((2, size, size, 3), dtype=torch.uint8, device="meta"))
    assert type(classifier.head) is Head
    assert logits.shape == (2, 7)
    assert features == [(2, classifier.head.in_features)]
    assert list(dict.fromkeys(reached)) == list(range(len(stages)))
    assert len(stages) >= 5
    _assert_whole(classifier)


def _assert_whole(classifier: Classifier) -> None:
    """Each parameter of the body, and each module with buffers, is in exactly one stage; the head in none."""
    staged = [parameter for stage in classifier.stages() for one in stage for parameter in one.parameters()]
    assert sorted(map(id, staged)) == sorted(map(id, classifier.body_parameters()))
    modules = Counter(id(module) for stage in classifier.stages() for one in stage for module in one.modules())
    bearing = [id(module) for module in classifier.backbone.modules() if list(module.buffers(recurse=False))]
    assert all(modules[one] == 1 for one in bearing)


@pytest.mark.parametrize(
    ("name", "count"),
    [("mobilenet_v2", 19), ("resnet50", 5), ("vit_b_16", 13), ("densenet121", 8), ("efficientnet_v2_s", 8)],
)
def test_stages_are_the_blocks_of_the_paper(name: str, count: int) -> None:
    assert len(_weightless(name, 64).stages()) == count


def test_the_list_needs_no_network_and_no_connection() -> None:
    models = list_models()
    assert tuple(model.name for model in models[: len(DOCUMENTED)]) == DOCUMENTED
    assert {*NAMES, "timm:resnet18"} <= {model.name for model in models}
    assert len({model.name for model in models}) == len(models)
    known = {model.name: model for model in models}
    assert known["resnet50"] == Listed("resnet50", 25557032, pytest.approx(0.80858))
    assert str(known["resnet50"]).split() == ["resnet50", "25.6", "M", "parameters", "80.9%", "on", "ImageNet"]
    assert str(known["timm:resnet18"]) == "timm:resnet18"


def test_without_timm_its_models_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not any(model.name.startswith("timm:") for model in list_models())
    for ask in (check_model, make_classifier_of_two):
        with pytest.raises(UsageError, match=r"pip install 'binsight\[timm\]'"):
            ask("timm:tf_efficientnetv2_b0")
    check_model("resnet18")


def make_classifier_of_two(name: str) -> None:
    make_classifier(name, 2)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet_50", "resnet50"),
        ("timm:tf_efficientnet_v2_b0", "timm:tf_efficientnetv2_b0"),
        ("timm:resnet18.nonsense", "timm:resnet18"),
        ("tf_efficientnetv2_b0", "timm:tf_efficientnetv2_b0"),
        ("fasterrcnn_resnet50_fpn", "list-models"),
        ("???", "mobilenet_v2, mobilenet_v3_small"),
    ],
)
def test_an_unknown_model_offers_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UsageError, match="unknown model") as caught:
        check_model(name)
    assert near in str(caught.value).split("nearest: ")[1]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_traffic_signs_of_32_pixels_are_taken(name: str) -> None:
    check_size(name, 32)


@pytest.mark.parametrize(
    ("name", "size", "near"),
    [
        ("inception_v3", 64, "75"),
        ("vit_b_16", 100, "96, 112"),
        ("vit_b_32", 80, "64, 96"),
        ("maxvit_t", 200, "224"),
        ("resnet18", 31, "32"),
    ],
)
def test_a_size_that_is_not_taken_names_the_nearest_that_are(name: str, size: int, near: str) -> None:
    with pytest.raises(UsageError, match=rf"does not take --img-size {size}; nearest that it takes: {near}$"):
        check_size(name, size)


def test_a_size_that_can_not_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match="'vit_b_16' can't be made for --img-size 100"):
        make_classifier("vit_b_16", 3, img_size=100)


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    for name in ("timm:dpn68", "timm:deit_tiny_distilled_patch16_224"):
        with pytest.raises(UsageError, match="is not one linear layer"), Weightless():
            make_classifier(name, 3)


@pytest.mark.parametrize("name", NAMES)
def test_all_usable_weights_of_a_model_were_normalized_alike(name: str) -> None:
    """So that the normalization follows from the model; VGG16's FEATURES have no numbers in their classifier."""
    for entry in torchvision.models.get_model_weights(name):
        if not entry.name.endswith("FEATURES"):
            transforms = entry.transforms()
            assert published_normalization(name).mean == tuple(transforms.mean)
            assert published_normalization(name).std == tuple(transforms.std)


def test_normalization_is_the_weights_own() -> None:
    half = zoo.Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert published_normalization("resnet18") == IMAGENET
    assert published_normalization("efficientnet_v2_l") == half
    assert published_normalization("timm:vit_tiny_patch16_224") == half
    assert published_normalization("timm:tf_efficientnetv2_b0") == IMAGENET


def test_squeezenet_pools_before_its_head_and_answers_as_published() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.squeezenet1_1(num_classes=4).eval()
    ours = make_classifier("squeezenet1_1", 4).eval()
    ours.backbone.load_state_dict(
        {
            key: value.flatten(1) if key == "classifier.1.weight" else value
            for key, value in theirs.state_dict().items()
        }
    )
    theirs.classifier[2] = nn.Identity()  # the ReLU on the logits
    picture = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(ours.backbone(picture), theirs(picture), atol=1e-5)
