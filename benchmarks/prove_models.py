"""What each documented backbone weighs and costs on this machine, at 224 pixels with six classes."""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np
import torch
from torch import nn

from benchmarks.record import Row, keep
from edge.backends import Graph, Options, open_graph
from edge.manifest import Precision
from edge.preprocess import InputSpec, Resize
from export.graph import to_onnx
from train.backbone import Classifier, make_classifier
from train.device import choose_device, use_bf16
from train.recipe import Amp
from train.zoo import DOCUMENTED, has_timm, list_models

SIDE, CLASSES, BATCH, STEPS, RUNS = 224, 6, 16, 3, 15
SPEC = InputSpec(SIDE, SIDE, Resize.STRETCH)


def prove_models() -> bool:
    """Measure size, latency and training speed of each; accuracy on ImageNet is what its publisher says."""
    published = {one.name: one for one in list_models()}
    rows: list[Row] = []
    for name in DOCUMENTED:
        if name not in published:
            sys.stderr.write(f"{name} left out: timm is {'there' if has_timm() else 'not installed'}\n")
            continue
        torch.manual_seed(0)
        classifier = make_classifier(name, CLASSES)
        speed = _training_speed(classifier)
        model = to_onnx(classifier.eval(), 1.0, SPEC).SerializeToString()
        latency = _latency(model)
        accuracy = published[name].accuracy
        known = "not published by timm" if accuracy is None else f"{accuracy:.1%} on ImageNet, as published"
        figures = f"{len(model) / 1e6:.1f} MB, {latency:.1f} ms, {speed:.0f} images/s; {known}"
        rows.append((f"`{name}`", figures, ""))
        sys.stderr.write(f"{name}: {figures}\n")
    what = (
        f"fp32 graph, one photo on one thread of ONNX Runtime (median), training at {SIDE} in batches of {BATCH}"
    )
    keep("models", f"The documented backbones: {what}", rows)
    return True


def _training_speed(classifier: Classifier) -> float:
    """Return images a second of whole training steps, everything learning."""
    device = choose_device("auto")
    classifier = classifier.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-5)
    images = torch.randint(0, 256, (BATCH, SIDE, SIDE, 3), dtype=torch.uint8, device=device)
    targets = torch.arange(BATCH, device=device) % CLASSES
    seconds = []
    for _ in range(1 + STEPS):
        begun = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16(Amp.AUTO, device)):
            loss = nn.functional.cross_entropy(classifier(images).float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        float(loss.detach())
        seconds.append(time.perf_counter() - begun)
    return BATCH / median(seconds[1:])


def _latency(model: bytes) -> float:
    """Return the median milliseconds of one photo on one thread."""
    with open_graph(
        Graph("model.fp32.onnx", Precision.FP32, model, SPEC.shape), "onnxruntime", Options(threads=1)
    ) as backend:
        photo = np.random.default_rng(0).integers(0, 256, (1, *SPEC.shape), dtype=np.uint8)
        seconds = []
        for _ in range(3 + RUNS):
            begun = time.perf_counter()
            backend.infer(photo)
            seconds.append(time.perf_counter() - begun)
    return 1e3 * median(seconds[3:])
