"""binsight beside others at the same work: a 1080p frame in memory to an answer, one thread, all in turns.

`make proof-peers`. Ultralytics is AGPL and no dependency: it takes part where whoever runs this has installed it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.made import LABELS, SPEC
from benchmarks.peers.plain import write_plain
from benchmarks.prove_latency import in_turns
from benchmarks.quiet import one_core
from benchmarks.record import ROOT, Row, keep
from benchmarks.sized import FILE, bundle_of, loop_of
from edge.backends import Graph, Options, open_graph
from edge.backends.base import INPUT
from edge.backends.onnxruntime import session_options
from edge.chart import Series, latency_chart
from edge.draw import save_png
from edge.manifest import Precision
from edge.preprocess import fit
from edge.steps import camera_frame
from export.graph import to_onnx
from train.backbone import make_classifier

ROUNDS = 100
PICTURE = ROOT / "docs" / "images" / "peers.png"
OURS, OURS_OPENVINO = "binsight, ONNX Runtime", "binsight, OpenVINO"
BARE, BARE_OPENVINO = "ONNX Runtime, session.run alone", "OpenVINO, infer alone"
TORCHVISION, DNN, ULTRALYTICS = "torchvision, eager", "OpenCV DNN", "Ultralytics predict, ONNX Runtime"
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Step = Callable[[], Any]


def prove_peers() -> bool:
    """Time all in turns; passes where nothing that does the same work is faster."""
    with tempfile.TemporaryDirectory() as name, one_core() as where:
        torch.set_num_threads(1)
        steps = _steps(Path(name))
        times = {peer: np.array(values) for peer, values in in_turns(steps, ROUNDS).items()}
    medians = {peer: float(np.median(values)) for peer, values in times.items()}
    order = sorted(times, key=lambda peer: medians[peer])
    rows: list[Row] = [
        (f"{peer}: median, p99 ms; times ours", f"{medians[peer]:.2f}, {np.percentile(times[peer], 99):.2f}; "
         f"{medians[peer] / medians[OURS]:.2f}", "") for peer in order
    ]  # fmt: skip
    if ULTRALYTICS not in times:
        rows.append((ULTRALYTICS, "not installed here", ""))
    title = f"MobileNetV2 at 224, fp32, a 1080p frame in memory to an answer, one thread, {where}"
    series = [Series(peer, times[peer], best=peer in {OURS, OURS_OPENVINO}) for peer in order]
    save_png(PICTURE, latency_chart("A 1080p frame to an answer: MobileNetV2, fp32, one thread", series))
    keep("peers", f"{title}, {ROUNDS} rounds in turns; {_versions()}. ![All of them](images/peers.png)", rows)
    same_work = {TORCHVISION, DNN, ULTRALYTICS} & {*times}
    return min(medians[OURS], medians[OURS_OPENVINO]) <= min(medians[peer] for peer in same_work)


def _versions() -> str:
    found = []
    for library in ("ultralytics", "torchvision"):
        try:
            found.append(f"{library} {metadata.version(library)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {library}")
    return ", ".join(found)


def _steps(folder: Path) -> Mapping[str, Step]:
    """Return each peer's way from the next frame to probabilities."""
    torch.manual_seed(0)
    classifier = make_classifier("mobilenet_v2", len(LABELS)).eval()
    graph = to_onnx(classifier, 1.0, SPEC).SerializeToString()
    plain = write_plain(classifier.backbone, folder / "plain.onnx", LABELS)
    frames = itertools.cycle([np.roll(camera_frame(1920, 1080), 97 * number, axis=1) for number in range(4)])
    return {
        **_ours(graph, frames),
        **_bare(graph, frames),
        TORCHVISION: _torchvision(classifier.backbone, frames),
        DNN: _opencv(plain, frames),
        **_ultralytics(plain, frames),
    }


def _ours(graph: bytes, frames: Any) -> Mapping[str, Step]:
    """All that edge-run does between a frame and the event: fitting, the graph, the decision, the page's copy."""
    steps: dict[str, Step] = {}
    for name, engine in ((OURS, "onnxruntime"), (OURS_OPENVINO, "openvino")):
        backend = open_graph(Graph(FILE, Precision.FP32, graph, SPEC.shape), engine, Options(threads=1))
        loop = loop_of(bundle_of(len(LABELS)), backend, next(frames))

        def step(loop: Any = loop) -> None:
            loop.source.picture = next(frames)
            loop.run_once()

        steps[name] = step
    return steps


def _bare(graph: bytes, frames: Any) -> Mapping[str, Step]:
    """The engines alone, on a frame that is fitted already: no peer, but what nobody can be faster than."""
    import onnxruntime  # noqa: PLC0415
    import openvino  # noqa: PLC0415

    batch = fit(next(frames), SPEC)[None]
    session = onnxruntime.InferenceSession(graph, session_options(1), providers=["CPUExecutionProvider"])
    core = openvino.Core()
    model = core.read_model(graph, b"")
    model.reshape([1, *SPEC.shape])
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return {BARE: lambda: session.run(None, {INPUT: batch}), BARE_OPENVINO: lambda: request.infer([batch])}


def _torchvision(network: torch.nn.Module, frames: Any) -> Step:
    """What torchvision's own documentation does with a picture."""
    from torchvision.transforms import v2  # noqa: PLC0415

    transform = v2.Compose(
        [
            v2.Resize(256, antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, SPREAD),
        ]
    )

    def step() -> Any:
        picture = cv2.cvtColor(next(frames), cv2.COLOR_BGR2RGB)
        with torch.inference_mode():
            image = transform(torch.from_numpy(picture).permute(2, 0, 1))
            return torch.softmax(network(image[None]), dim=1).numpy()

    return step


def _opencv(plain: Path, frames: Any) -> Step:
    """What OpenCV's own samples do: resize, crop, blob, forward."""
    net = cv2.dnn.readNetFromONNX(str(plain))
    mean = [255 * level for level in MEAN]

    def step() -> Any:
        picture = next(frames)
        width = round(picture.shape[1] * 256 / picture.shape[0])
        small = cv2.resize(picture, (width, 256), interpolation=cv2.INTER_AREA)
        left = (width - 224) // 2
        blob = cv2.dnn.blobFromImage(small[16:240, left : left + 224], 1 / 255, (224, 224), mean, swapRB=True)
        net.setInput(blob / np.array(SPREAD, dtype=np.float32)[None, :, None, None])
        return net.forward()

    return step


def _ultralytics(plain: Path, frames: Any) -> Mapping[str, Step]:
    try:
        from ultralytics import YOLO  # noqa: PLC0415
    except ImportError:
        return {}
    model = YOLO(str(plain), task="classify")
    return {ULTRALYTICS: lambda: model.predict(next(frames), imgsz=224, verbose=False, device="cpu")}
