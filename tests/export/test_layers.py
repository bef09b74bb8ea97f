import numpy as np
import pytest
import torch

from edge.preprocess import InputSpec, Resize
from export.graph import to_onnx
from export.layers import find_layers, path_to_probabilities, weights_of
from tests.export.nets import SIDE, graph, photos
from train.backbone import Classifier, make_classifier
from train.strangers import fit_strangers

SPEC = InputSpec(SIDE, SIDE, Resize.STRETCH)


def test_every_convolution_of_mobilenet_is_a_layer_and_the_head_is_none() -> None:
    layers = find_layers(graph())
    assert [layer.operator for layer in layers] == ["Conv"] * 52
    heads = [node for node in graph().graph.node if node.op_type == "Gemm"]
    assert len(heads) == 1
    assert heads[0].name not in {layer.node for layer in layers}


def test_a_layer_and_its_activation_are_one() -> None:
    made = {output: node for node in graph().graph.node for output in node.output}
    ends = [made[layer.output].op_type for layer in find_layers(graph())]
    assert ends.count("Clip") == 35  # stem, depthwise and expanding ones; what projects has no activation
    assert ends.count("Conv") == 17


def _untrained(name: str) -> Classifier:
    net = make_classifier(name, 4, img_size=SIDE).train()
    with torch.no_grad():
        net(torch.from_numpy(photos(8)))  # without BatchNorm's means there are no biases
    return net.eval()


@pytest.mark.parametrize("name", ["resnet18", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_outputs_lie_along_the_axis_that_is_named(name: str) -> None:
    model = to_onnx(_untrained(name), 1.0, SPEC)
    for layer in find_layers(model):
        outputs = weights_of(model, layer.weight).shape[layer.axis]
        assert weights_of(model, layer.bias).shape == (outputs,)


def test_what_only_strangeness_needs_is_not_on_the_way_to_the_probabilities() -> None:
    net = _untrained("resnet18")
    weight, bias = (one.detach().numpy() for one in net.head.parameters())
    features = np.random.default_rng(0).normal(size=(40, weight.shape[1])).astype(np.float32)
    strangers = fit_strangers(features, weight, bias)
    plain, wary = to_onnx(net, 1.0, SPEC), to_onnx(net, 1.0, SPEC, strangers)
    assert len(path_to_probabilities(wary)) == len(plain.graph.node) < len(wary.graph.node)
    assert [layer.weight for layer in find_layers(wary)] == [layer.weight for layer in find_layers(plain)]
