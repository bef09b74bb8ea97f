import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from edge.errors import UsageError
from train.backbone import HEADS, IMAGENET_MEAN, IMAGENET_STD, Probabilities, make_classifier


def test_the_graphs_input_is_what_torchvision_would_have_made_of_the_picture() -> None:
    """BGR levels in; RGB, scaled and normalized at the backbone."""
    classifier = make_classifier("resnet18", 3).eval()
    bgr = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    usual = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD))]
    )
    with torch.inference_mode():
        expected = classifier.backbone(usual(bgr.flip(-1).permute(0, 3, 1, 2)))
        assert torch.allclose(classifier(bgr), expected, atol=1e-4)
        assert not torch.allclose(classifier(bgr.flip(-1)), expected, atol=1e-2)  # RGB in place of BGR shows


def test_probabilities_are_a_softmax_at_the_temperature() -> None:
    classifier = make_classifier("resnet18", 4).eval()
    picture = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = torch.softmax(classifier(picture) / 2.5, dim=1)
        assert torch.equal(Probabilities(classifier, 2.5)(picture), expected)


@pytest.mark.parametrize("name", HEADS)
def test_every_backbone_gets_its_head_and_freezes_all_else(name: str) -> None:
    classifier = make_classifier(name, 5)
    assert classifier.head.out_features == 5
    classifier.freeze_body()
    learning = [key for key, value in classifier.backbone.named_parameters() if value.requires_grad]
    assert learning == [f"{HEADS[name]}.weight", f"{HEADS[name]}.bias"]
    assert not any(module.training for module in classifier.modules() if isinstance(module, torch.nn.BatchNorm2d))
    classifier.thaw_body()
    assert all(value.requires_grad for value in classifier.parameters())


def test_an_unknown_model_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'resnet_50'; nearest: .*resnet50"):
        make_classifier("resnet_50", 3)
