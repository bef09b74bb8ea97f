"""Torch to ONNX: uint8 pixels in, calibrated probabilities out, in one file."""

from __future__ import annotations

import onnx
import torch

from edge.backends.onnxruntime import INPUT, OUTPUT
from edge.errors import ExportError
from edge.preprocess import InputSpec
from train.backbone import Classifier, Probabilities

OPSET = 20
"""What TensorRT 10.3 and ONNX Runtime 1.23, the oldest on a bin, both take."""
IR_VERSION = 10
"""The newest that ONNX Runtime 1.23 reads."""
MAX_BATCH = 4096


def to_onnx(classifier: Classifier, temperature: float, spec: InputSpec) -> onnx.ModelProto:
    """Return the fp32 graph: "image" uint8 [batch, H, W, 3] BGR to "probabilities" float32 [batch, classes].

    Raises ExportError where the graph can't be made or is not valid.
    """
    module = Probabilities(classifier.cpu(), temperature).eval()
    example = torch.zeros((2, *spec.shape), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    try:
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
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
