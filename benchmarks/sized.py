"""A MobileNetV2 of any size, number of classes and precision, without training: what it answers is noise."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from benchmarks.made import SPEC
from benchmarks.networks import network
from edge.backends import Backend, Graph, Options, open_graph
from edge.bundle import Bundle
from edge.event import Event, Reporter
from edge.loop import Loop
from edge.manifest import Artifact, Manifest, OutputSpec, Parity, Precision, Provenance, Verdict
from edge.model import Model
from edge.preprocess import Pixels, fit
from edge.sources import Counts, Frame
from edge.steps import camera_frame
from export.calibration import Method, find_range, observe
from export.fp16 import to_fp16
from export.graph import OPSET
from export.layers import find_layers
from export.qdq import Plan, Scheme, quantize, tensors_of

FILE = "model.onnx"


def graph_bytes(precision: Precision = Precision.FP32, classes: int = 6, scheme: Scheme = Scheme.CPU) -> bytes:
    """Return the ONNX file, as edge-export makes it: int8 in the form of `scheme`."""
    fp32 = network(SPEC, classes)
    if precision is Precision.FP32:
        return fp32
    model = onnx.load_from_string(fp32)
    return (int8(model, scheme) if precision is Precision.INT8 else to_fp16(model)).SerializeToString()


def int8(model: onnx.ModelProto, scheme: Scheme = Scheme.CPU) -> onnx.ModelProto:
    """Return the graph in int8, calibrated with made photos; without remedies."""
    photos = np.stack([fit(np.roll(camera_frame(640, 480), 40 * number, axis=1), SPEC) for number in range(8)])
    observed = observe(model, tensors_of(model), photos)
    ranges = {name: find_range(one, Method.MIN_MAX, symmetric=scheme.symmetric) for name, one in observed.items()}
    first = frozenset(layer.node for layer in find_layers(model)[:1])  # in float, as edge-export leaves it
    return quantize(model, Plan(scheme, ranges, first))


def bundle_of(classes: int = 6) -> Bundle:
    """Return what a loop has to know of a bundle. It lies nowhere."""
    whole = (0.0, 0.0)
    parity = Parity("onnxruntime", 1, 1.0, 1.0, 1.0, 0.0, 0.0, 0, 0, whole, 0.0, 0.0, 1.0, 0.0, 0.0, {})
    manifest = Manifest(
        name="benchmark",
        labels=tuple(f"class {number}" for number in range(classes)),
        input=SPEC,
        output=OutputSpec(1.0),
        recommended=Precision.FP32,
        artifacts=(Artifact(Precision.FP32, ("onnxruntime",), FILE, OPSET, parity, Verdict.PASS),),
        provenance=Provenance("", "", {}, 0, "mobilenet_v2", "none", {}),
    )
    return Bundle(Path(), manifest, {})


def opened(graph: bytes, threads: int, precision: Precision = Precision.FP32) -> Backend:
    """Open it on ONNX Runtime."""
    return open_graph(Graph(FILE, precision, graph, SPEC.shape), "onnxruntime", Options(threads=threads))


@dataclass
class Deposits:
    """A source that hands out the same picture again and again, each a deposit of its own."""

    picture: Pixels
    single: bool = True
    live: bool = False
    broken: int = 0
    counts: Counts = field(default_factory=Counts)

    def read(self) -> Frame:
        return Frame(self.picture, time.monotonic(), 0.0, "frame")

    def __enter__(self) -> Deposits:
        return self

    def __exit__(self, *_: object) -> None:
        return


class Nowhere:
    """A sink that forgets, so that the disk is not what is measured."""

    def write(self, event: Event) -> None:
        return

    def __enter__(self) -> Nowhere:
        return self

    def __exit__(self, *_: object) -> None:
        return


def loop_of(bundle: Bundle, backend: Backend, picture: Pixels) -> Loop:
    """Return a loop that decides on every frame."""
    model = Model(bundle, backend)
    return Loop(Deposits(picture), model, Reporter("bench"), [Nowhere()], threading.Event())
