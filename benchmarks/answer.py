"""What a bundle answers to its own photo on this machine, as JSON. prove_install runs it beside edge alone."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from edge.backends import Graph, open_graph
from edge.bundle import load
from edge.golden_record import read
from edge.preprocess import preprocess


def main() -> None:
    """Decode, fit and answer the first photo of golden.npz of the bundle that is named."""
    bundle = load(Path(sys.argv[1]))
    artifact, spec = bundle.manifest.artifacts[0], bundle.manifest.input
    tensor = preprocess(read(bundle, artifact.file).images[0], spec)
    graph = Graph(artifact.file, artifact.precision, bundle.read(artifact.file), spec.shape)
    with open_graph(graph, "onnxruntime") as backend:
        probabilities = backend.infer(tensor[None]).probabilities[0]
    versions = (np.__version__, cv2.__version__, onnxruntime.__version__)
    python = platform.python_version()
    found = {
        "machine": platform.machine(),
        "what": "Python {}, numpy {}, OpenCV {}, ONNX Runtime {}".format(python, *versions),
        "tensor": tensor.tolist(),
        "probabilities": [float(one) for one in probabilities],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
