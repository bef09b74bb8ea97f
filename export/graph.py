"""Torch to ONNX: uint8 pixels in, calibrated probabilities and strangeness out, in one file."""

from __future__ import annotations

from typing import Any

import onnx
import torch
from torch import Tensor, nn

from edge.backends.base import INPUT, OUTPUT, STRANGENESS
from edge.errors import ExportError
from edge.preprocess import InputSpec
from train.backbone import Classifier

OPSET = 20
"""What TensorRT 10.3 and ONNX Runtime 1.23, the oldest on a bin, both take."""
IR_VERSION = 10
"""The newest that ONNX Runtime 1.23 reads."""
MAX_BATCH = 4096


class Answering(nn.Module):
    """What is exported: a classifier with its temperature and, where there is one, its stranger score."""

    def __init__(self, classifier: Classifier, temperature: float, strangers: nn.Module | None = None) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature
        self.strangers = strangers

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Answer uint8 [n, height, width, 3] BGR.

        Returns probabilities float32 [n, classes], the softmax of the logits over the temperature (Guo et al.
        2017), and after them strangeness float32 [n], where there is a score of it.
        """
        features: list[Tensor] = []

        def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            features.append(arguments[0])

        # The head's own input: asking the backbone for features would compute it twice.
        hook = self.classifier.head.register_forward_pre_hook(keep)
        try:
            logits = self.classifier(image)
        finally:
            hook.remove()
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        if self.strangers is None:
            return (probabilities,)
        return probabilities, self.strangers(features[0], logits)


def to_onnx(
    classifier: Classifier, temperature: float, spec: InputSpec, strangers: nn.Module | None = None
) -> onnx.ModelProto:
    """Return the fp32 graph: "image" uint8 [batch, H, W, 3] BGR to "probabilities" float32 [batch, classes].

    With `strangers`, which makes strangeness float32 [n] of features float32 [n, d] and logits float32
    [n, classes], the graph has the second output "strangeness" float32 [batch]. Raises ExportError where the
    graph can't be made or is not valid.
    """
    module = Answering(classifier.cpu(), temperature, strangers).cpu().eval()
    example = torch.zeros((2, *spec.shape), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT] if strangers is None else [OUTPUT, STRANGENESS],
            dynamic_shapes=({0: batch},),
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"the graph can't be made by torch {torch.__version__}: {error}") from error
    assert program is not None  # noqa: S101  dynamo=True always returns one
    model = program.model_proto
    model.ir_version = IR_VERSION
    _forget_origin(model)
    check(model)
    return model


def check(model: onnx.ModelProto) -> None:
    """Raise ExportError unless the graph passes ONNX's full check."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the graph is not valid ONNX: {error}") from error


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold paths of this machine, so that the same model gave other bytes."""
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del holder.metadata_props[:]
        holder.doc_string = ""
