"""What a bundle says of itself: the manifest, the page, and the files that tell of the model and do not run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone

import msgspec
import onnx

from edge.backends import Graph
from edge.evaluate import DIGESTS
from edge.images import Role
from edge.manifest import Artifact, Manifest, OutputSpec, Precision, Provenance
from edge.preprocess import preprocess
from export.answers import Answered
from export.photos import Photos, pack_digests
from export.report.page import Judged, Shown, parity_page
from train.checkpoint import About
from train.dataset.split import Split


def make_papers(about: About, split: Split, artifacts: tuple[Artifact, ...]) -> dict[str, bytes]:
    """Return labels, digests of the photos, and what parity found, by file name."""
    return {
        "labels.txt": "".join(f"{label}\n" for label in about.labels).encode(),
        DIGESTS: pack_digests(split),
        "parity.json": json.dumps({"artifacts": msgspec.to_builtins(artifacts)}, indent=1).encode() + b"\n",
    }


def make_page(
    name: str,
    about: About,
    graphs: Sequence[Graph],
    artifacts: tuple[Artifact, ...],
    test: Answered,
    reference: str,
    photos: Photos,
) -> bytes:
    """Return the page that shows people what parity found; `reference` names PyTorch's answers in `test`."""
    sizes = {graph.file: len(graph.model) for graph in graphs}
    shown = Shown(
        name=name,
        labels=about.labels,
        model=about.model,
        truth=test.truth,
        reference=test.by_name[reference],
        artifacts=tuple(Judged(one, sizes[one.file], test.by_name[one.file]) for one in artifacts),
        picture=lambda index: preprocess(photos[index].data, about.input),
    )
    return parity_page(shown)


def make_manifest(
    name: str, about: About, split: Split, artifacts: tuple[Artifact, ...], runtime: dict[str, str]
) -> Manifest:
    """Return the manifest, but for the files; `runtime`: library to version of what judged."""
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
        name=name,
        labels=about.labels,
        input=about.input,
        output=OutputSpec(about.temperature),
        recommended=Precision.FP32,
        artifacts=artifacts,
        provenance=provenance,
        costs=about.pricing.costs,
    )


def parity_rows(artifacts: tuple[Artifact, ...]) -> list[dict[str, object]]:
    """Return what --json says of each artifact's parity."""
    return [
        {
            "file": one.file,
            "precision": one.precision.value,
            **asdict(one.parity),
            "verdict": one.verdict.value,
            "reason": one.reason,
            "failure_allowed": one.failure_allowed,
            "remedies": [asdict(remedy) for remedy in one.remedies],
        }
        for one in artifacts
    ]
