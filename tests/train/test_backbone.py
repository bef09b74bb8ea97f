import copy

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from edge.errors import UsageError
from edge.preprocess import InputSpec
from export.graph import Answering, to_onnx
from train.backbone import Classifier, Head, make_classifier
from train.zoo import IMAGENET, Normalization

SIZE = 64


def _pictures(count: int = 4, size: int = SIZE) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


@pytest.mark.parametrize("normalization", [IMAGENET, Normalization((0.5, 0.4, 0.3), (0.5, 0.25, 0.2))])
def test_the_graphs_input_is_what_torchvision_would_have_made_of_the_picture(normalization: Normalization) -> None:
    """BGR levels in; RGB, scaled and normalized at the backbone."""
    classifier = make_classifier("resnet18", 3, normalization=normalization).eval()
    bgr = _pictures(2, 32)
    usual = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(normalization.mean), list(normalization.std))]
    )
    with torch.inference_mode():
        expected = classifier.backbone(usual(bgr.flip(-1).permute(0, 3, 1, 2)))
        assert torch.allclose(classifier(bgr), expected, atol=1e-4)
        assert not torch.allclose(classifier(bgr.flip(-1)), expected, atol=1e-2)  # RGB in place of BGR shows


def test_probabilities_are_a_softmax_at_the_temperature() -> None:
    classifier = make_classifier("resnet18", 4).eval()
    picture = _pictures(1, 32)
    with torch.inference_mode():
        expected = torch.softmax(classifier(picture) / 2.5, dim=1)
        assert torch.equal(Answering(classifier, 2.5)(picture)[0], expected)


@pytest.mark.parametrize(
    ("name", "published"),
    [("mobilenet_v2", 0.2), ("resnet18", 0.0), ("timm:tf_efficientnetv2_b0", 0.2), ("squeezenet1_1", 0.5)],
)
def test_dropout_moves_into_the_head(name: str, published: float) -> None:
    classifier = make_classifier(name, 3)
    assert classifier.head.dropout == published
    assert make_classifier(name, 3, dropout=0.7).head.dropout == 0.7
    assert all(module.p == 0 for module in classifier.modules() if isinstance(module, nn.Dropout))


def test_the_head_drops_features_in_training_only() -> None:
    torch.manual_seed(0)
    head = Head(nn.Linear(1000, 2, bias=False), 0.25)
    head.weight.data.fill_(1.0)
    features = torch.ones(1, 1000)
    head.eval()
    assert head(features).tolist() == [[1000.0, 1000.0]]
    head.train()
    kept = head(features)[0, 0].item() * 0.75  # what is kept is scaled up
    assert 690 < kept < 810
    assert kept == pytest.approx(round(kept))
    assert list(head.state_dict()) == ["weight", "bias"]


def _state(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in classifier.backbone.state_dict().items()}


def _steps(classifier: Classifier, count: int = 3) -> None:
    """Train with all that moves weights without a gradient: decay and momentum, over all parameters."""
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    for step in range(count):
        classifier.eval()
        classifier.train()  # as Lightning does around validation
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(_pictures(size=32)), torch.tensor([0, 1, 2, step % 3])).backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "timm:tf_efficientnetv2_b0", "vit_b_32"])
@pytest.mark.parametrize("open_stages", [0, 2])
def test_frozen_means_bit_equal_weights_and_statistics(name: str, open_stages: int) -> None:
    torch.manual_seed(0)
    classifier = make_classifier(name, 3, img_size=32)
    _steps(classifier, 1)  # what learnt before has gradients left
    stages = classifier.stages()
    classifier.freeze(open_stages)
    before = _state(classifier)
    _steps(classifier)
    after = _state(classifier)
    names = {id(value): key for key, value in classifier.backbone.state_dict(keep_vars=True).items()}
    learning = {
        names[id(value)]
        for module in (classifier.head, *(one for stage in stages[len(stages) - open_stages :] for one in stage))
        for value in (*module.parameters(), *module.buffers())
        if id(value) in names
    }
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed <= learning
    assert {key for key in learning if key.endswith(("running_mean", "num_batches_tracked"))} <= changed
    assert {key for key in learning if key.startswith(f"{classifier.head_path}.")} <= changed
    assert (len(changed) > 2) == (open_stages > 0)


def test_frozen_parts_stay_in_evaluation_mode_until_thawed() -> None:
    classifier = make_classifier("mobilenet_v2", 3)
    classifier.freeze(1)
    copied = copy.deepcopy(classifier)
    for one in (classifier, copied):
        one.train()
        norms = [module.training for module in one.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms == [False] * 51 + [True]
        assert one.training
        assert one.head.training
        assert not any(module.training for module in one.eval().modules())
    classifier.freeze(None)
    assert all(module.training for module in classifier.modules())
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_more_stages_than_there_are_means_all_and_fewer_than_none_is_refused() -> None:
    classifier = make_classifier("resnet18", 3)
    classifier.freeze(100)
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    with pytest.raises(UsageError, match="-1 stages can't learn"):
        classifier.freeze(-1)


@pytest.mark.parametrize("name", ["mnasnet0_5", "squeezenet1_1"])
def test_a_plain_copy_of_the_weights_loads(name: str) -> None:
    """MNASNet looks at the version that a state dict carries, and a checkpoint does not."""
    one, other = (make_classifier(name, 3).eval() for _ in range(2))
    other.load_backbone(_state(one))
    assert all(torch.equal(value, _state(other)[key]) for key, value in _state(one).items())
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_backbone({})


def _settled(name: str) -> Classifier:
    """Random weights with BatchNorm statistics of real activations, so that no layer's output explodes."""
    torch.manual_seed(0)
    classifier = make_classifier(name, 4, img_size=SIZE).train()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of what was seen
    with torch.no_grad():
        classifier(_pictures(8))
    return classifier.eval()


@pytest.mark.parametrize(
    "name", ["timm:tf_efficientnetv2_b0", pytest.param("efficientnet_v2_s", marks=pytest.mark.slow)]
)
def test_the_graph_answers_as_pytorch(name: str) -> None:
    classifier = _settled(name)
    model = to_onnx(classifier, 1.5, InputSpec(SIZE, SIZE)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    pictures = _pictures(5)
    with torch.inference_mode():
        expected = Answering(classifier, 1.5)(pictures)[0].numpy()
    assert expected.std(axis=0).max() > 1e-3  # the answers tell the pictures apart
    for count in (1, 5):
        (answer, *_) = session.run(None, {"image": pictures[:count].numpy()})
        assert np.abs(answer - expected[:count]).max() < 1e-4
