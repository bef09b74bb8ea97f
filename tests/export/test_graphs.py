"""The graphs themselves: valid, self-contained, of the precision that they claim, and answering as PyTorch."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edge.preprocess import InputSpec, Resize
from export.fp16 import is_fp16, to_fp16
from export.graph import IR_VERSION, OPSET, Answering, check, to_onnx
from train.backbone import Classifier, make_classifier

SPEC = InputSpec(64, 64, Resize.CROP, 72)


def _trained(name: str) -> Classifier:
    """Random weights with BatchNorm statistics of real activations, so that no layer's output explodes."""
    torch.manual_seed(0)
    classifier = make_classifier(name, 4)
    classifier.train()
    with torch.no_grad():
        for _ in range(4):
            classifier(torch.randint(0, 256, (8, *SPEC.shape), dtype=torch.uint8))
    return classifier.eval()


def _run(model: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(["probabilities"], {"image": batch})[0]
    return answer


LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "mobilenet_v3_small")]


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", *LONG])
def test_every_backbone_answers_as_pytorch_in_fp32_and_fp16(name: str) -> None:
    classifier = _trained(name)
    model = to_onnx(classifier, 1.7, SPEC)
    half = to_fp16(model)
    batch = np.random.default_rng(1).integers(0, 256, (5, *SPEC.shape), dtype=np.uint8)
    with torch.inference_mode():
        expected = Answering(classifier, 1.7)(torch.from_numpy(batch))[0].numpy()
    for size in (1, 5):  # the batch is dynamic
        assert np.abs(_run(model, batch[:size]) - expected[:size]).max() < 1e-4
        assert np.abs(_run(half, batch[:size]) - expected[:size]).max() < 2e-2
    assert not is_fp16(model)
    assert is_fp16(half)
    assert len(half.SerializeToString()) < 0.6 * len(model.SerializeToString())


def test_the_graph_keeps_its_contract() -> None:
    model = to_onnx(_trained("resnet18"), 1.0, SPEC)
    for graph in (model, to_fp16(model)):
        check(graph)
        assert graph.ir_version == IR_VERSION
        assert {entry.domain: entry.version for entry in graph.opset_import}[""] == OPSET
        (image,), (answer,) = graph.graph.input, graph.graph.output
        assert (image.name, answer.name) == ("image", "probabilities")
        assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        assert answer.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        shape = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
        assert shape == ["batch", 64, 64, 3]
        assert not any(tensor.external_data for tensor in graph.graph.initializer)


class Far(nn.Module):
    """Distance to a few points in the features, and the logits' own doubt: all that a stranger score may need."""

    def __init__(self, width: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.register_buffer("points", torch.randn(4, width, generator=draw) * 300)
        self.register_buffer("turn", torch.randn(width, 8, generator=draw))

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        offset = (features.unsqueeze(1) - self.get_buffer("points")) @ self.get_buffer("turn")
        return (offset * offset).sum(dim=2).amin(dim=1) * 1e-3 - torch.logsumexp(logits, dim=1)


def test_the_second_output_answers_as_pytorch_and_computes_the_backbone_once() -> None:
    classifier, far = _trained("resnet18"), Far(512)
    model = to_onnx(classifier, 1.7, SPEC, far)
    half = to_fp16(model)
    batch = np.random.default_rng(1).integers(0, 256, (5, *SPEC.shape), dtype=np.uint8)
    with torch.inference_mode():
        probabilities, strangeness = (
            output.numpy() for output in Answering(classifier, 1.7, far)(torch.from_numpy(batch))
        )
    assert strangeness.min() > 70_000, "in half precision this would be infinite"
    for graph, most in ((model, 1e-4), (half, 1e-2)):
        check(graph)
        assert [output.name for output in graph.graph.output] == ["probabilities", "strangeness"]
        for size in (1, 5):
            session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
            first, second = session.run(None, {"image": batch[:size]})
            assert np.abs(first - probabilities[:size]).max() < 2e-2
            assert (second.dtype, second.shape) == (np.float32, (size,))
            assert np.abs(second / strangeness[:size] - 1).max() < most
        assert sum(node.op_type == "Conv" for node in graph.graph.node) == 20
    assert is_fp16(half)
    assert not is_fp16(model)
    kept = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert onnx.TensorProto.FLOAT in {kind for name, kind in kept.items() if name.endswith("_of_tail")}
    assert len(half.SerializeToString()) < 0.6 * len(model.SerializeToString())
    assert not classifier.head._forward_pre_hooks, "the classifier is left as it was"


def test_the_same_weights_give_the_same_bytes_and_no_path_of_this_machine() -> None:
    classifier = _trained("resnet18")
    data = [to_onnx(classifier, 1.0, SPEC).SerializeToString() for _ in range(2)]
    assert data[0] == data[1]
    assert __file__.rsplit("/", 3)[0].encode() not in data[0]
    assert b".py" not in data[0]


def test_normalization_and_softmax_stay_in_fp32() -> None:
    half = to_fp16(to_onnx(_trained("resnet18"), 1.0, SPEC))
    inferred = onnx.shape_inference.infer_shapes(half)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    by_kind = {node.op_type: node for node in half.graph.node}
    assert types[by_kind["Sub"].output[0]] == onnx.TensorProto.FLOAT
    assert types[by_kind["Softmax"].input[0]] == onnx.TensorProto.FLOAT
    assert types[by_kind["MaxPool"].output[0]] == onnx.TensorProto.FLOAT16
