"""A real and small bundle: a graph that tells pictures by their mean colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edge import golden, parity_photos
from edge.backends import Answers, BackendInfo
from edge.bundle import PARITY_PHOTOS, Bundle, write
from edge.manifest import Artifact, Manifest, OutputSpec, Precision, Provenance, Verdict, digest
from edge.parity import compare
from edge.parity_photos import ParityPhotos
from edge.preprocess import InputSpec, Pixels, Resize, preprocess

OPSET, IR_VERSION = 20, 10
GAIN = 4.0
"""Logit per unit of colour: a solid colour of the palette is answered with 0.9 or more."""

COLOURS = {"blue": (255, 0, 0), "green": (0, 255, 0), "red": (0, 0, 255)}
"""Label to BGR. Labels that are not here get colours of their own, see `colour`."""


def make_bundle(
    folder: Path,
    *,
    labels: Sequence[str] = ("blue", "green", "red"),
    size: int = 32,
    resize: Resize = Resize.CROP,
    reject_threshold: float | None = None,
    precisions: Sequence[Precision] = (Precision.FP32,),
    strangeness: bool = False,
    stranger_threshold: float | None = None,
    costs: tuple[tuple[float, ...], ...] | None = None,
    runtimes: tuple[str, ...] = ("onnxruntime",),
    parity_images: int = 0,
) -> Bundle:
    """Write a bundle that answers a picture with the label whose colour is nearest to the picture's mean.

    The graphs of all `precisions` are the same arithmetic: what differs is their name. With `strangeness` they
    answer too how far that mean is from the nearest label's colour. `parity_images`: how many photos of each label
    travel in parity.npz, noise around its colour; 0: there is no such file.
    """
    spec = InputSpec(size, size, resize)
    graph = make_graph(labels, size, strangeness=strangeness)
    files = {f"model.{precision.value}.onnx": graph for precision in precisions}
    images = [png(solid(label, labels, size)) for label in labels]
    tensors = np.stack([preprocess(image, spec) for image in images])
    answers = infer(graph, tensors)
    expected = {
        f"model.{precision.value}.onnx": golden.Expected(
            answers, golden.TOLERANCE[precision], golden.STRANGENESS_TOLERANCE[precision]
        )
        for precision in precisions
    }
    info = BackendInfo("onnxruntime", "", precisions[0], "", 0, ())
    parity = compare(info, answers, answers, np.arange(len(labels), dtype=np.int64), tuple(labels))
    artifacts = tuple(
        Artifact(
            precision=p,
            runtimes=runtimes,
            file=f"model.{p.value}.onnx",
            opset=OPSET,
            parity=parity,
            verdict=Verdict.PASS,
            reject_threshold=reject_threshold,
            stranger_threshold=stranger_threshold,
        )
        for p in precisions
    )
    data_digest = digest(b"".join(images))
    provenance = Provenance(
        time="2026-01-01T00:00:00Z",
        data_digest=data_digest,
        split_digests={"test": data_digest},
        seed=0,
        model="mean-colour",
        weights="none: the colours are written into the graph",
        versions={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    )
    manifest = Manifest(
        name="tiny",
        labels=tuple(labels),
        input=spec,
        output=OutputSpec(temperature=1.0),
        recommended=precisions[0],
        files=(),
        artifacts=artifacts,
        provenance=provenance,
        costs=costs,
    )
    # Of the known faults it can have one: its only normalization is to divide by 255.
    raw = make_graph(labels, size, strangeness=strangeness, white=1.0)
    signatures = {
        fault: np.stack([infer(faulty, batch).probabilities for batch in golden.batches(tensors)])
        for fault, faulty in ((golden.Fault.NONE, graph), (golden.Fault.RAW, raw))
    }
    contents = {**files, golden.GOLDEN: golden.pack(images, spec, expected, signatures)}
    if parity_images:
        contents[PARITY_PHOTOS] = _parity_photos(graph, labels, size, parity_images)
    return write(folder, manifest, contents)


def _parity_photos(graph: bytes, labels: Sequence[str], size: int, each: int) -> bytes:
    rng = np.random.default_rng(0)
    tensors = [
        np.clip(solid(label, labels, size) + rng.normal(0, 20, (size, size, 3)), 0, 255).astype(np.uint8)
        for label in labels
        for _ in range(each)
    ]
    truth = np.repeat(np.arange(len(labels), dtype=np.int64), each)
    return parity_photos.pack(ParityPhotos(tuple(tensors), truth, infer(graph, np.stack(tensors))))


def with_verdict(bundle: Bundle, folder: Path, verdict: Verdict, reason: str) -> Path:
    """Write the bundle anew with this verdict of all its artifacts, and return its folder."""
    artifacts = tuple(replace(one, verdict=verdict, reason=reason) for one in bundle.manifest.artifacts)
    return write(folder, replace(bundle.manifest, artifacts=artifacts), bundle.contents).folder


def make_graph(labels: Sequence[str], size: int, *, strangeness: bool = False, white: float = 255.0) -> bytes:
    """Return the ONNX file: cast, mean over the picture, distance to every label's colour, softmax.

    The second output is the least of those distances, where black and white are 1.73 apart. `white`: the level
    that is taken for 1.
    """
    colours = np.array([colour(label, labels) for label in labels], dtype=np.float32) / 255
    # -|x - c|^2 without |x|^2, which softmax does not see: 2 x.c - |c|^2
    weights, bias = GAIN * 2 * colours.T, -GAIN * (colours**2).sum(axis=1)
    initializers = [
        numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes"),
        numpy_helper.from_array(np.array(white, dtype=np.float32), "white"),
        numpy_helper.from_array(weights.astype(np.float32), "weights"),
        numpy_helper.from_array(bias.astype(np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["colour"]),
        helper.make_node("Gemm", ["colour", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, 3])
    answers = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(labels)])]
    if strangeness:
        answers.append(helper.make_tensor_value_info("strangeness", TensorProto.FLOAT, ["batch"]))
        initializers.append(numpy_helper.from_array(colours, "palette"))
        initializers.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "second"))
        initializers.append(numpy_helper.from_array(np.array([2], dtype=np.int64), "third"))
        nodes += [
            helper.make_node("Unsqueeze", ["colour", "second"], ["one colour"]),
            helper.make_node("Sub", ["one colour", "palette"], ["offsets"]),
            helper.make_node("ReduceL2", ["offsets", "third"], ["distances"], keepdims=0),
            helper.make_node("ReduceMin", ["distances", "second"], ["strangeness"], keepdims=0),
        ]
    graph = helper.make_graph(nodes, "tiny", [image], answers, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def infer(graph: bytes, batch: Pixels) -> Answers:
    """Answer uint8 [n, height, width, 3], by ONNX Runtime itself."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return Answers(*session.run(None, {"image": batch}))


def colour(label: str, labels: Sequence[str]) -> tuple[int, int, int]:
    """Return the label's BGR: its own for blue, green and red, else one from the corners of the colour cube."""
    if set(labels) <= set(COLOURS):
        return COLOURS[label]
    number = list(labels).index(label)
    if number >= 8:
        return (number * 5, 128, 128)
    return (255 * (number & 1), 255 * (number >> 1 & 1), 255 * (number >> 2 & 1))


def solid(label: str, labels: Sequence[str] = tuple(COLOURS), size: int = 32) -> Pixels:
    """Return a picture that is nothing but the label's colour: uint8 [size, size, 3], BGR."""
    return np.full((size, size, 3), colour(label, labels), dtype=np.uint8)


def png(image: Pixels) -> bytes:
    """Encode without loss."""
    return cv2.imencode(".png", image)[1].tobytes()
