"""The ONNX files that benchmarks measure, kept until the code or a library that makes them is another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from benchmarks.record import ROOT
from edge.files import replace_bytes
from edge.preprocess import InputSpec

KEPT = ROOT / "runs" / "graphs"
MOST = 12
"""Files that are kept, the newest, of 9 MB each."""
MAKERS = ("export", "train")
"""Packages whose code makes a graph."""
LIBRARIES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnx-ir")


def network(spec: InputSpec, classes: int, seed: int = 0, kept: Path = KEPT) -> bytes:
    """Return MobileNetV2 as edge-export makes it, in fp32 and with random weights: an ONNX file."""
    file = kept / f"{_key(spec, classes, seed)}.onnx"
    if not file.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        replace_bytes(file, made(spec, classes, seed))
        for old in sorted(kept.glob("*.onnx"), key=lambda one: one.stat().st_mtime)[:-MOST]:
            old.unlink(missing_ok=True)
    return file.read_bytes()


def made(spec: InputSpec, classes: int, seed: int = 0) -> bytes:
    """Return the same, made anew: half a minute."""
    import torch  # noqa: PLC0415  heavy, and not needed where the file is there

    from export.graph import to_onnx  # noqa: PLC0415
    from train.backbone import make_classifier  # noqa: PLC0415

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        classifier = make_classifier("mobilenet_v2", classes)
        with torch.no_grad():  # normalization that never saw a picture lets nothing through
            for _ in range(20):
                classifier(torch.randint(0, 256, (8, *spec.shape), dtype=torch.uint8))
        classifier.eval()
    return to_onnx(classifier, 1.0, spec).SerializeToString()


def _key(spec: InputSpec, classes: int, seed: int) -> str:
    asked = [asdict(spec), classes, seed, [metadata.version(name) for name in LIBRARIES]]
    digest = hashlib.sha256(json.dumps(asked).encode())
    for package in MAKERS:
        for source in sorted((ROOT / package).glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:20]
