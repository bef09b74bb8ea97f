"""From a run to a bundle that has proven itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch

from edge import bundle as bundles
from edge import golden
from edge.backends import Backend, Graph, Probabilities, open_backend, open_graph
from edge.bundle import Bundle
from edge.errors import ExportError
from edge.evaluate import DIGESTS
from edge.files import is_taken
from edge.images import Role
from edge.manifest import Artifact, Manifest, OutputSpec, Precision, Provenance, Verdict
from edge.preprocess import Pixels, preprocess
from edge.scores import Truth
from export.fp16 import to_fp16
from export.graph import OPSET, to_onnx
from export.parity import compare, judge
from export.photos import TestPhotos, open_test_photos, pack_digests, spread
from train import backbone, checkpoint
from train.checkpoint import About
from train.dataset.split import SPLIT_FILE, Split, read_split

BUNDLE = "bundle"
"""Name of the bundle in its run."""
REFERENCE_BACKEND = "onnxruntime"
"""What judges parity here. A device judges its own backend itself."""
GOLDEN_IMAGES = 8
BATCH = 16


@dataclass(frozen=True)
class Exported:
    """A bundle on the disk."""

    bundle: Bundle

    @property
    def passed(self) -> bool:
        """Whether every artifact answers as the trained model did."""
        return all(one.verdict is Verdict.PASS for one in self.bundle.manifest.artifacts)


@dataclass(frozen=True)
class _Answers:
    truth: Truth
    reference: Probabilities
    """PyTorch's, float32 [images, classes]."""
    by_file: dict[str, Probabilities]


def export(
    run: Path, output: Path | None, precisions: tuple[Precision, ...], cache: Path, *, data: Path | None = None
) -> Exported:
    """Export the best weights of `run` as a bundle, judge each graph on the test photos, and write it.

    `output`: the bundle's folder, in the run by default. `precisions` come beside fp32, which is always
    made. `data`: the photos, where they no longer lie where the run recorded them. `cache`: where zips are
    unpacked. A bundle that fails parity is written too, and says so. Raises BinsightError.
    """
    target = output or run / BUNDLE
    if is_taken(target):
        raise ExportError(f"{target} exists; name another folder with -o, or remove it")
    classifier, about = checkpoint.load(run / checkpoint.BEST)
    split = read_split(run / SPLIT_FILE)
    if split.labels != about.labels:
        raise ExportError(f"{run}: labels of the split {split.labels} are not the model's {about.labels}")
    photos = open_test_photos(split, data, cache)
    models = _make_models(classifier, about, precisions)
    graphs = [
        Graph(f"model.{precision.value}.onnx", precision, model.SerializeToString(), about.input.shape)
        for precision, model in models.items()
    ]
    backends = [open_graph(graph, REFERENCE_BACKEND) for graph in graphs]
    reference = backbone.Probabilities(classifier, about.temperature).eval()
    answers = _answer_all(photos, about, reference, backends)
    artifacts = tuple(_artifact(backend, answers) for backend in backends)
    contents = {
        **{graph.file: graph.model for graph in graphs},
        golden.GOLDEN: _golden(photos, about, answers, backends),
        "labels.txt": "".join(f"{label}\n" for label in about.labels).encode(),
        DIGESTS: pack_digests(split),
        "parity.json": json.dumps({"artifacts": msgspec.to_builtins(artifacts)}, indent=1).encode() + b"\n",
    }
    written = bundles.write(
        target, _manifest(run, about, split, artifacts, dict(backends[0].info.versions)), contents
    )
    for artifact in artifacts:
        if artifact.verdict is not Verdict.PASS:
            continue  # it is marked: no bin will be asked to trust it
        with open_backend(written, REFERENCE_BACKEND, artifact.precision) as backend:
            golden.self_test(written, backend)
    return Exported(written)


def _make_models(
    classifier: backbone.Classifier, about: About, precisions: tuple[Precision, ...]
) -> dict[Precision, onnx.ModelProto]:
    models = {Precision.FP32: to_onnx(classifier, about.temperature, about.input)}
    if Precision.FP16 in precisions:
        models[Precision.FP16] = to_fp16(models[Precision.FP32])
    return models


def _batches(photos: TestPhotos, about: About) -> Iterator[tuple[Pixels, list[int]]]:
    for start in range(0, len(photos), BATCH):
        chosen = [photos[index] for index in range(start, min(start + BATCH, len(photos)))]
        tensors = np.stack([preprocess(photo.data, about.input) for photo in chosen])
        yield tensors, [photo.target for photo in chosen]


def _answer_all(photos: TestPhotos, about: About, reference: torch.nn.Module, backends: list[Backend]) -> _Answers:
    """Run PyTorch and every backend over the same tensors, batch by batch."""
    truth: list[int] = []
    torch_answers: list[Probabilities] = []
    answers: dict[str, list[Probabilities]] = {backend.info.file: [] for backend in backends}
    with torch.inference_mode():
        for tensors, targets in _batches(photos, about):
            truth.extend(targets)
            torch_answers.append(reference(torch.from_numpy(tensors)).numpy())
            for backend in backends:
                answers[backend.info.file].append(backend.infer(tensors))
    return _Answers(
        np.array(truth, dtype=np.int64),
        np.concatenate(torch_answers),
        {file: np.concatenate(parts) for file, parts in answers.items()},
    )


def _artifact(backend: Backend, answers: _Answers) -> Artifact:
    parity = compare(backend, answers.reference, answers.by_file[backend.info.file], answers.truth)
    return Artifact(
        precision=backend.info.precision,
        runtimes=(REFERENCE_BACKEND,),
        file=backend.info.file,
        opset=OPSET,
        parity=parity,
        verdict=judge(parity),
    )


def _golden(photos: TestPhotos, about: About, answers: _Answers, backends: list[Backend]) -> bytes:
    """Pack photos from all classes, and those the model is least sure of: a sure answer hides a shift."""
    unsure = np.argsort(answers.reference.max(axis=1))[: GOLDEN_IMAGES // 2]
    chosen = {*spread(GOLDEN_IMAGES // 2, len(photos)), *map(int, unsure)}
    images = [photos[index].data for index in sorted(chosen)]
    tensors = np.stack([preprocess(data, about.input) for data in images])
    expected = {
        backend.info.file: golden.Expected(backend.infer(tensors), golden.TOLERANCE[backend.info.precision])
        for backend in backends
    }
    return golden.pack(images, about.input, expected)


def _manifest(
    run: Path, about: About, split: Split, artifacts: tuple[Artifact, ...], runtime: dict[str, str]
) -> Manifest:
    provenance = Provenance(
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data_digest=split.data_digest,
        split_digests={role.value: split.digest(role) for role in Role},
        seed=about.seed,
        model=about.model,
        weights=about.weights,
        versions={**about.versions, "onnx": onnx.__version__, **runtime},
    )
    return Manifest(
        name=run.absolute().name,
        labels=about.labels,
        input=about.input,
        output=OutputSpec(about.temperature),
        recommended=Precision.FP32,
        artifacts=artifacts,
        provenance=provenance,
    )


def parity_rows(exported: Exported) -> list[dict[str, object]]:
    """Return what --json says of each artifact's parity."""
    return [
        {
            "file": one.file,
            "precision": one.precision.value,
            **asdict(one.parity),
            "verdict": one.verdict.value,
        }
        for one in exported.bundle.manifest.artifacts
    ]
