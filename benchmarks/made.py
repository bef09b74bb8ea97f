"""A real MobileNetV2 bundle with random weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx

from benchmarks.networks import network
from edge import golden
from edge.backends import Graph, open_graph
from edge.bundle import Bundle, write
from edge.manifest import Artifact, Manifest, OutputSpec, Precision, Provenance, Verdict
from edge.parity import compare
from edge.preprocess import InputSpec, Resize, preprocess
from edge.steps import camera_frame

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
SPEC = InputSpec(224, 224, Resize.CROP, 256)
"""What edge-train uses by default."""


def mobilenet(folder: Path, spec: InputSpec = SPEC, seed: int = 0) -> Bundle:
    """Write MobileNetV2 without training: what it answers is noise, what it costs is not."""
    model = network(spec, len(LABELS), seed)
    (opset,) = (one.version for one in onnx.load_from_string(model).opset_import if not one.domain)
    graph = Graph("model.fp32.onnx", Precision.FP32, model, spec.shape)
    image = cv2.imencode(".jpg", camera_frame(640, 480))[1].tobytes()
    with open_graph(graph, "onnxruntime") as backend:
        answers = backend.infer(preprocess(image, spec)[None])
        parity = compare(backend.info, answers, answers, np.zeros(1, dtype=np.int64), LABELS)
    manifest = Manifest(
        name="benchmark",
        labels=LABELS,
        input=spec,
        output=OutputSpec(1.0),
        recommended=Precision.FP32,
        artifacts=(Artifact(Precision.FP32, ("onnxruntime",), graph.file, opset, parity, Verdict.PASS),),
        provenance=Provenance("", "", {}, 0, "mobilenet_v2", "none", {}),
    )
    expected = {graph.file: golden.Expected(answers, golden.TOLERANCE[Precision.FP32])}
    contents = {graph.file: model, golden.GOLDEN: golden.pack([image], spec, expected)}
    return write(folder, manifest, contents)
