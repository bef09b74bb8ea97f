"""From a run to a bundle that has proven itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import onnx

from edge import bundle as bundles
from edge import golden
from edge.backends import Answers, Backend, Graph, open_backend, open_graph
from edge.bundle import Bundle
from edge.errors import ExportError
from edge.evaluate import DIGESTS
from edge.files import is_taken
from edge.images import Role
from edge.manifest import Artifact, Manifest, OutputSpec, Precision, Provenance, Verdict
from edge.preprocess import preprocess
from export.answers import Answered, answer, by_torch
from export.fp16 import to_fp16
from export.graph import OPSET, Answering, to_onnx
from export.limits import measure
from export.parity import compare, judge, spread
from export.photos import Photos, open_photos, pack_digests, spread_out
from train import checkpoint
from train.checkpoint import About, Loaded
from train.dataset.split import SPLIT_FILE, Split, read_split

BUNDLE = "bundle"
"""Name of the bundle in its run."""
REFERENCE_BACKEND = "onnxruntime"
"""What judges parity here. A device judges its own backend itself."""
REFERENCE = "PyTorch"
"""What the graphs are compared with, among the names of their files."""
GOLDEN_IMAGES = 8


@dataclass(frozen=True)
class Exported:
    """A bundle on the disk."""

    bundle: Bundle

    @property
    def passed(self) -> bool:
        """Whether every artifact answers as the trained model did."""
        return all(one.verdict is Verdict.PASS for one in self.bundle.manifest.artifacts)


def export(
    run: Path,
    output: Path | None,
    precisions: tuple[Precision, ...],
    cache: Path,
    *,
    data: Path | None = None,
    max_error: float | None = None,
) -> Exported:
    """Export the best weights of `run` as a bundle, judge each graph on the test photos, and write it.

    `output`: the bundle's folder, in the run by default. `precisions` come beside fp32, which is always
    made. `data`: the photos, where they no longer lie where the run recorded them. `cache`: where zips are
    unpacked. `max_error`: what the rejection thresholds are to keep, 0 to 1; the run's by default. A bundle that
    fails parity is written too, and says so. Raises BinsightError.
    """
    target = output or run / BUNDLE
    if is_taken(target):
        raise ExportError(f"{target} exists; name another folder with -o, or remove it")
    loaded = checkpoint.load(run / checkpoint.BEST)
    about = loaded.about if max_error is None else replace(loaded.about, max_error=max_error)
    split = read_split(run / SPLIT_FILE)
    if split.labels != about.labels:
        raise ExportError(f"{run}: labels of the split {split.labels} are not the model's {about.labels}")
    photos = open_photos(split, Role.TEST, data, cache)
    graphs = _make_graphs(loaded, precisions)
    backends = [open_graph(graph, REFERENCE_BACKEND) for graph in graphs]
    engines = {backend.info.file: backend.infer for backend in backends}
    reference = by_torch(Answering(loaded.classifier, about.temperature, loaded.strangers).eval())
    test = answer(photos, about.input, {**engines, REFERENCE: reference})
    strange: Mapping[str, Answers] = {}
    if loaded.strangers is not None:
        strange = answer(open_photos(split, Role.VAL, data, cache), about.input, engines).by_name
    artifacts = tuple(_artifact(backend, test, strange.get(backend.info.file), about) for backend in backends)
    contents = {
        **{graph.file: graph.model for graph in graphs},
        golden.GOLDEN: _golden(photos, about, test.by_name[REFERENCE], backends),
        **_papers(about, split, artifacts),
    }
    manifest = _manifest(run, about, split, artifacts, dict(backends[0].info.versions))
    return Exported(_prove(bundles.write(target, manifest, contents)))


def _papers(about: About, split: Split, artifacts: tuple[Artifact, ...]) -> dict[str, bytes]:
    """Return the files that tell of the model and do not run."""
    return {
        "labels.txt": "".join(f"{label}\n" for label in about.labels).encode(),
        DIGESTS: pack_digests(split),
        "parity.json": json.dumps({"artifacts": msgspec.to_builtins(artifacts)}, indent=1).encode() + b"\n",
    }


def _prove(written: Bundle) -> Bundle:
    """Run the self-test of every artifact that bins will be asked to trust."""
    for artifact in written.manifest.artifacts:
        if artifact.verdict is Verdict.PASS:
            with open_backend(written, REFERENCE_BACKEND, artifact.precision) as backend:
                golden.self_test(written, backend)
    return written


def _make_graphs(loaded: Loaded, precisions: tuple[Precision, ...]) -> list[Graph]:
    about = loaded.about
    models = {Precision.FP32: to_onnx(loaded.classifier, about.temperature, about.input, loaded.strangers)}
    if Precision.FP16 in precisions:
        models[Precision.FP16] = to_fp16(models[Precision.FP32])
    return [
        Graph(f"model.{precision.value}.onnx", precision, model.SerializeToString(), about.input.shape)
        for precision, model in models.items()
    ]


def _artifact(backend: Backend, test: Answered, validation: Answers | None, about: About) -> Artifact:
    got = test.by_name[backend.info.file]
    parity = compare(backend, test.by_name[REFERENCE], got, test.truth)
    limits = measure(got, test.truth, None if validation is None else validation.strangeness, about)
    return Artifact(
        precision=backend.info.precision,
        runtimes=(REFERENCE_BACKEND,),
        file=backend.info.file,
        opset=OPSET,
        parity=parity,
        verdict=judge(parity),
        reject_threshold=limits.reject_threshold,
        stranger_threshold=limits.stranger_threshold,
        rejection=limits.rejection,
    )


def _golden(photos: Photos, about: About, reference: Answers, backends: list[Backend]) -> bytes:
    """Pack photos from all classes, and those the model is least sure of: a sure answer hides a shift."""
    unsure = np.argsort(reference.probabilities.max(axis=1))[: GOLDEN_IMAGES // 2]
    chosen = {*spread_out(GOLDEN_IMAGES // 2, len(photos)), *map(int, unsure)}
    images = [photos[index].data for index in sorted(chosen)]
    tensors = np.stack([preprocess(data, about.input) for data in images])
    unit = 0.0 if reference.strangeness is None else spread(reference.strangeness)
    expected = {
        backend.info.file: golden.Expected(
            backend.infer(tensors),
            golden.TOLERANCE[backend.info.precision],
            golden.STRANGENESS_TOLERANCE[backend.info.precision] * unit,
        )
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
        costs=about.pricing.costs,
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
