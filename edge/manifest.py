"""The manifest of a bundle as frozen dataclasses, and its way to bytes and back.

`version` is the SHA-256 of the manifest's own bytes with the version's digits as zeros, and the manifest
holds the SHA-256 of every other file: one number names the whole bundle.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import msgspec

from edge import choices
from edge.errors import BundleError, ImageError
from edge.preprocess import InputSpec

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
NO_VERSION = "0" * 64


Precision = choices.Precision


class Verdict(str, Enum):
    """What parity says of an artifact."""

    PASS = "PASS"  # noqa: S105  a verdict, no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    """So few photos can show neither."""


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle, as it must lie on the disk."""

    file: str
    """Plain name in the bundle's folder."""
    sha256: str
    """64 hex digits."""
    bytes: int


@dataclass(frozen=True)
class OutputSpec:
    """The graph's output "probabilities": float32 [batch, classes], rows sum to 1."""

    temperature: float
    """What the logits were divided by, inside the graph."""
    kind: str = "probabilities"


@dataclass(frozen=True)
class ClassParity:
    """The photos of one class, answered by an artifact and by PyTorch."""

    images: int
    flips: int
    """Whose answers differ."""
    lost: int
    """Which PyTorch alone answers right."""
    gained: int
    """Which the artifact alone answers right."""
    interval: tuple[float, float]
    """95 % score interval of the recall's difference, artifact minus PyTorch, -1 to 1."""


@dataclass(frozen=True)
class Parity:
    """An artifact against PyTorch, on the same preprocessed images."""

    backend: str
    """What ran the artifact: the figures speak for it and for no other."""
    images: int
    agreement: float
    """Share of images with the same top-1 answer, 0 to 1."""
    accuracy: float
    """Share of images that the artifact answers right, 0 to 1."""
    reference_accuracy: float
    """The same for PyTorch."""
    max_difference: float
    """Largest absolute difference of any probability."""
    mean_difference: float
    """Mean absolute difference of all probabilities."""
    lost: int
    """Images that PyTorch alone answers right."""
    gained: int
    """Images that the artifact alone answers right."""
    interval: tuple[float, float]
    """95 % score interval (Tango 1998) of the accuracies' difference, artifact minus PyTorch, -1 to 1."""
    lower_bound: float
    """One-sided 95 % lower bound of the same."""
    tolerance: float
    """Share of the images by which the artifact may be less often right, 0 to 1."""
    mcnemar: float
    """Exact p-value of both being equally often right, 0 to 1."""
    calibration_error: float
    """Expected calibration error of the artifact, 0 to 1."""
    reference_calibration_error: float
    per_class: dict[str, ClassParity]
    """By label, in output order."""
    unanswered: int = 0
    """Images for which it answered what is no number."""
    max_strangeness_difference: float | None = None
    """Largest absolute difference of strangeness over the spread of PyTorch's, which is the distance of its 5th
    and 95th percentile; null: the graph does not answer it."""


@dataclass(frozen=True)
class Remedy:
    """One way to keep accuracy in few bits, judged on the validation photos."""

    name: str
    images: int
    agreement: float
    """Share of images with fp32's top-1 answer, 0 to 1."""
    accuracy: float
    """0 to 1."""
    divergence: float
    """Mean Kullback-Leibler divergence of its probabilities from fp32's, nats."""
    passed: bool
    """Whether it keeps what is asked of a remedy; the first that does is taken."""


@dataclass(frozen=True)
class RejectionClaim:
    """What the rejection threshold promises, and what it rests on."""

    target: float
    """Share of wrong answers among the accepted ones that was asked for, 0 to 1; with costs, their mean cost over
    that of the dearest mistake."""
    bound: float
    """What that share stays below, with `confidence`; above `target` where so few photos can't support it."""
    confidence: float
    """Probability, 0 to 1, that the bound holds, over all draws of the photos."""
    coverage: float
    """Share of the photos that are accepted, strangers counted among the rejected, 0 to 1."""
    images: int
    """Photos that it was measured on, none of which had a part in training."""
    reached: bool
    """Whether the bound is at most the target."""


@dataclass(frozen=True)
class Artifact:
    """One ONNX graph of the bundle."""

    precision: Precision
    runtimes: tuple[str, ...]
    """Engines that take this file: onnxruntime, tensorrt, openvino."""
    file: str
    opset: int
    parity: Parity
    verdict: Verdict
    """Of `parity.backend`, and of no other."""
    reason: str = ""
    """For the verdict, one sentence."""
    failure_allowed: bool = False
    """Whether it failed and was exported with --allow-failed-parity. A bin needs the same flag to run it."""
    remedies: tuple[Remedy, ...] = ()
    """What was tried to keep the accuracy of this precision, in order; the last was taken."""
    reject_threshold: float | None = None
    """An answer below this score is rejected, which is the label's probability or, with costs, what edge.costs
    says; null: nothing is, since no threshold was set."""
    stranger_threshold: float | None = None
    """An answer with more strangeness is rejected; null: the graph does not answer it, or no threshold was set."""
    rejection: RejectionClaim | None = None
    """What `reject_threshold` promises; null: nothing."""


@dataclass(frozen=True)
class Provenance:
    """Where the model comes from."""

    time: str
    """UTC, ISO 8601."""
    data_digest: str
    """SHA-256 over the digests of all photos of all splits."""
    split_digests: dict[str, str]
    """Role to SHA-256 over its photos' digests; the photos themselves are in split.npz."""
    seed: int
    model: str
    weights: str
    """What training started from."""
    versions: dict[str, str]
    """Library to version."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that is said of a bundle."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: str = NO_VERSION
    labels: tuple[str, ...]
    """In output order."""
    input: InputSpec
    output: OutputSpec
    recommended: Precision
    artifacts: tuple[Artifact, ...]
    provenance: Provenance
    files: tuple[FileEntry, ...] = ()
    signatures: tuple[str, ...] = ()
    """Reserved."""
    costs: tuple[tuple[float, ...], ...] | None = None
    """[true class][answered class], in output order: what each mistake costs; null: all the same."""

    def artifact_of(self, file: str) -> Artifact:
        """Return the artifact whose graph is `file`. Raises BundleError where there is none."""
        for one in self.artifacts:
            if one.file == file:
                return one
        raise BundleError(f"the manifest has no artifact {file}; export the run again")


def to_bytes(manifest: Manifest) -> bytes:
    """Encode as indented JSON, with the version made from the bytes themselves.

    Raises BundleError where a threshold or a cost is no number: JSON would have it as null, which is none.
    """
    _check_numbers(manifest)
    blank = replace(manifest, version=NO_VERSION)
    data = msgspec.json.format(msgspec.json.encode(blank), indent=2) + b"\n"
    return _VERSION.sub(rb"\g<1>" + digest(data).encode(), data, count=1)


def from_bytes(data: bytes) -> Manifest:
    """Decode and verify. Raises BundleError: not JSON, wrong schema, altered bytes, contradictions."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"manifest is larger than the {MAX_MANIFEST_BYTES} bytes that are taken; copy the bundle anew"
        )
    try:
        plain: Any = msgspec.json.decode(data)
        _check_schema(plain)
        manifest = msgspec.convert(plain, Manifest)
    except (msgspec.DecodeError, ImageError, RecursionError, UnicodeDecodeError) as error:
        raise BundleError(f"manifest can't be read ({error}); export the run again") from error
    _check_version(data, manifest.version)
    _check_sense(manifest)
    return manifest


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


_VERSION = re.compile(rb'(\n  "version": ")[0-9a-f]{64}')
"""The version's digits: the only key of that name at the top level of the indented JSON."""


def _check_schema(plain: Any) -> None:
    got = plain.get("schema_version") if isinstance(plain, dict) else None
    if got != SCHEMA_VERSION:
        raise BundleError(
            f"manifest has schema_version {got}, this binsight reads {SCHEMA_VERSION}: "
            "export the run again, or install the binsight that made the bundle"
        )


def _check_version(data: bytes, version: str) -> None:
    blank = _VERSION.sub(rb"\g<1>" + NO_VERSION.encode(), data, count=1)
    if digest(blank) != version:
        raise BundleError("manifest was altered: its bytes do not give its version; copy the bundle anew")


def _check_sense(manifest: Manifest) -> None:
    """Refuse what decodes and still can't be: names that leave the folder, labels or files that contradict."""
    names = [entry.file for entry in manifest.files]
    for name in names:
        if not name or name in {".", "..", MANIFEST} or "/" in name or "\\" in name or "\0" in name:
            raise BundleError(f"manifest names the file {name!r}; expected a plain name inside the bundle")
    if len(set(names)) != len(names) or len(set(manifest.labels)) != len(manifest.labels):
        raise BundleError("manifest names a file or a label twice")
    if len(manifest.labels) < 2:
        raise BundleError(f"manifest has {len(manifest.labels)} labels; expected at least 2")
    missing = [artifact.file for artifact in manifest.artifacts if artifact.file not in names]
    if missing or not manifest.artifacts:
        raise BundleError(f"manifest's files lack the artifacts {missing or '(it has none)'}")
    if manifest.recommended not in {artifact.precision for artifact in manifest.artifacts}:
        raise BundleError(f"manifest recommends {manifest.recommended.value}, which it does not hold")
    _check_numbers(manifest)


def _check_numbers(manifest: Manifest) -> None:
    """Refuse thresholds and costs that nothing can be compared with."""
    for artifact in manifest.artifacts:
        for name in ("reject_threshold", "stranger_threshold"):
            value = getattr(artifact, name)
            if value is not None and not math.isfinite(value):
                raise BundleError(
                    f"{name} of {artifact.file} is {value}; expected a number, or null for none: "
                    "export the run again"
                )
    if manifest.costs is None:
        return
    count = len(manifest.labels)
    if len(manifest.costs) != count or any(len(row) != count for row in manifest.costs):
        raise BundleError(
            f"manifest's costs have rows of {[len(row) for row in manifest.costs]} numbers; expected {count} rows "
            f"of {count}, one for each label: export the run again"
        )
    costs = [cost for row in manifest.costs for cost in row]
    if not all(0 <= cost < math.inf for cost in costs) or not any(costs):
        raise BundleError(
            "manifest's costs hold what is no price; expected numbers of 0 or more, and one above it: "
            "export the run again"
        )
