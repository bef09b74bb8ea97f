from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge import manifest as manifests
from edge.errors import BundleError
from edge.manifest import (
    MAX_MANIFEST_BYTES,
    NO_VERSION,
    FileEntry,
    Manifest,
    RejectionClaim,
    digest,
    from_bytes,
    to_bytes,
)
from edge.preprocess import InputSpec, Resize
from tests.tiny import make_bundle

Plain = dict[str, Any]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_bundle(tmp_path_factory.mktemp("manifest") / "bundle").manifest


def sign(plain: object) -> bytes:
    """Encode with a version that fits: what a careful forger would do."""
    if isinstance(plain, dict):
        plain = {**plain, "version": NO_VERSION}
    data = json.dumps(plain, indent=2).encode() + b"\n"
    return data.replace(NO_VERSION.encode(), digest(data).encode(), 1)


def forged(manifest: Manifest, change: Callable[[Plain], object]) -> bytes:
    plain: Plain = json.loads(to_bytes(manifest))
    change(plain)
    return sign(plain)


class TestRoundTrip:
    def test_bytes_give_the_manifest_back(self, manifest: Manifest) -> None:
        assert from_bytes(to_bytes(manifest)) == manifest
        assert to_bytes(from_bytes(to_bytes(manifest))) == to_bytes(manifest)

    def test_the_forger_of_these_tests_signs_well(self, manifest: Manifest) -> None:
        assert replace(from_bytes(forged(manifest, lambda plain: None)), version="") == replace(
            manifest, version=""
        )

    def test_is_json_that_people_can_read(self, manifest: Manifest) -> None:
        text = to_bytes(manifest).decode()
        assert json.loads(text)["input"] == {
            "height": 32,
            "width": 32,
            "resize": "crop",
            "resize_short": 0,
            "dtype": "uint8",
            "layout": "NHWC",
            "channels": "BGR",
        }
        assert text.count("\n") > 30

    def test_version_is_the_digest_of_the_bytes_with_zeros_in_its_place(self, manifest: Manifest) -> None:
        data = to_bytes(manifest)
        version = json.loads(data)["version"]
        assert digest(data.replace(version.encode(), NO_VERSION.encode())) == version

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "other"},
            {"labels": ("blue", "red", "green")},
            {"input": InputSpec(32, 32, Resize.STRETCH)},
            {"input": InputSpec(32, 33)},
            {"output": manifests.OutputSpec(1.5)},
            {"signatures": ("a",)},
            {"costs": ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (9.0, 1.0, 0.0))},
            {"files": (FileEntry("model.fp32.onnx", "0" * 64, 1),)},
        ],
        ids=str,
    )
    def test_version_changes_with_anything(self, manifest: Manifest, change: dict[str, Any]) -> None:
        assert from_bytes(to_bytes(replace(manifest, **change))).version != manifest.version

    def test_version_that_is_given_does_not_matter(self, manifest: Manifest) -> None:
        assert to_bytes(replace(manifest, version="f" * 64)) == to_bytes(manifest)

    @pytest.mark.parametrize("name", ['a "quoted"\n  "version": "' + "1" * 64, "été 猫", "\x00\x1f"])
    def test_any_text_survives(self, manifest: Manifest, name: str) -> None:
        again = from_bytes(to_bytes(replace(manifest, name=name, labels=(name, "b"))))
        assert (again.name, again.labels) == (name, (name, "b"))


def test_a_manifest_of_before_the_second_output_reads_as_it_did(manifest: Manifest) -> None:
    def strip(plain: Plain) -> None:
        del plain["costs"]
        for artifact in plain["artifacts"]:
            for name in ("stranger_threshold", "rejection"):
                del artifact[name]
            del artifact["parity"]["max_strangeness_difference"]

    old = from_bytes(forged(manifest, strip))
    assert replace(old, version=manifest.version) == manifest
    assert (old.costs, old.artifacts[0].stranger_threshold, old.artifacts[0].rejection) == (None, None, None)


def test_the_claim_travels(manifest: Manifest) -> None:
    claim = RejectionClaim(target=0.02, bound=0.031, confidence=0.95, coverage=0.8, images=303, reached=False)
    artifact = replace(manifest.artifacts[0], rejection=claim, reject_threshold=0.7, stranger_threshold=-3.5)
    again = from_bytes(to_bytes(replace(manifest, artifacts=(artifact,))))
    assert again.artifacts == (artifact,)


def set_in(*keys: str | int, value: object) -> Callable[[Plain], None]:
    def change(plain: Any) -> None:
        for key in keys[:-1]:
            plain = plain[key]
        plain[keys[-1]] = value

    return change


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "word"),
        [
            (set_in("schema_version", value=2), "schema_version 2"),
            (set_in("schema_version", value="1"), "schema_version 1"),
            (set_in("schema_version", value=None), "schema_version None"),
            (set_in("files", 0, "file", value="../x"), "'../x'"),
            (set_in("files", 0, "file", value="/etc/passwd"), "/etc/passwd"),
            (set_in("files", 0, "file", value="a/b"), "'a/b'"),
            (set_in("files", 0, "file", value="..\\x"), "plain name"),
            (set_in("files", 0, "file", value=".."), "'..'"),
            (set_in("files", 0, "file", value="."), "'.'"),
            (set_in("files", 0, "file", value=""), "''"),
            (set_in("files", 0, "file", value="a\0b"), "plain name"),
            (set_in("files", 0, "file", value="manifest.json"), "manifest.json"),
            (set_in("labels", value=["a", "a"]), "twice"),
            (set_in("labels", value=["a"]), "1 labels"),
            (set_in("labels", value=[]), "0 labels"),
            (set_in("labels", value="ab"), "labels"),
            (set_in("recommended", value="fp8"), "fp8"),
            (set_in("recommended", value="int8"), "recommends int8"),
            (set_in("artifacts", value=[]), "none"),
            (set_in("artifacts", 0, "file", value="model.int4.onnx"), "model.int4.onnx"),
            (set_in("artifacts", 0, "verdict", value="MAYBE"), "MAYBE"),
            (
                set_in("costs", value=[[0.0, 1.0], [1.0, 0.0]]),
                "costs have rows of [2, 2] numbers; expected 3 rows of 3",
            ),
            (set_in("costs", value=[[0.0]] * 3), "costs have rows of [1, 1, 1]"),
            (set_in("costs", value=[[0.0, 1.0, None]] * 3), "costs"),
            (set_in("artifacts", 0, "stranger_threshold", value="far"), "stranger_threshold"),
            (set_in("artifacts", 0, "rejection", value={"target": 0.02}), "rejection"),
            (set_in("input", "height", value=0), "input size"),
            (set_in("input", "height", value=1e300), "height"),
            (set_in("input", "dtype", value="float32"), "float32"),
            (set_in("input", "resize", value="warp"), "warp"),
            (set_in("input", "resize_short", value=-3), "resize_short is -3"),
            (set_in("output", "temperature", value=None), "temperature"),
            (set_in("output", value=[]), "output"),
            (lambda plain: plain.pop("provenance"), "provenance"),
            (lambda plain: plain["files"].append(plain["files"][0]), "twice"),
        ],
    )
    def test_what_decodes_and_can_not_be(
        self, manifest: Manifest, change: Callable[[Plain], object], word: str
    ) -> None:
        with pytest.raises(BundleError) as caught:
            from_bytes(forged(manifest, change))
        assert word in str(caught.value)

    @pytest.mark.parametrize("name", ["reject_threshold", "stranger_threshold"])
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_threshold_that_is_no_number_is_not_written_as_none(
        self, manifest: Manifest, name: str, value: float
    ) -> None:
        change: dict[str, Any] = {name: value}
        artifact = replace(manifest.artifacts[0], **change)
        with pytest.raises(BundleError, match=rf"{name} of model.fp32.onnx is -?(nan|inf); expected a number"):
            to_bytes(replace(manifest, artifacts=(artifact,)))

    @pytest.mark.parametrize("cost", [math.nan, math.inf, -1.0, 0.0])
    def test_costs_that_are_no_prices_are_not_written(self, manifest: Manifest, cost: float) -> None:
        with pytest.raises(BundleError, match="costs hold what is no price"):
            to_bytes(replace(manifest, costs=((0.0, cost, 0.0),) * 3))

    def test_a_threshold_too_large_for_a_float_is_refused(self, manifest: Manifest) -> None:
        data = json.dumps(json.loads(to_bytes(manifest)), indent=2).encode() + b"\n"
        assert data.count(b'"stranger_threshold": null') == 1
        huge = data.replace(b'"stranger_threshold": null', b'"stranger_threshold": 1e999')
        version = manifest.version.encode()
        blank = huge.replace(version, NO_VERSION.encode())
        with pytest.raises(BundleError, match="out of range"):
            from_bytes(blank.replace(NO_VERSION.encode(), digest(blank).encode(), 1))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0",
            b"null",
            b"[]",
            b"1",
            b'"text"',
            b"{",
            b"\xff\xfe{}",
            b'{"schema_version": 1}',
            b'{"schema_version": 1e999}',
            b'{"schema_version": ' + b"1" * 5000 + b"}",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"[" * 100_000 + b"]" * 100_000,
            b'{"schema_version": 1, "name": "\\ud800"}',
        ],
        ids=lambda data: repr(data[:24]),
    )
    def test_what_is_no_manifest(self, data: bytes) -> None:
        with pytest.raises(BundleError):
            from_bytes(data)

    def test_too_large_is_said_before_it_is_parsed(self, manifest: Manifest) -> None:
        padded = to_bytes(manifest) + b" " * MAX_MANIFEST_BYTES
        with pytest.raises(BundleError, match="larger than"):
            from_bytes(padded)

    def test_altered_bytes(self, manifest: Manifest) -> None:
        data = to_bytes(manifest)
        for altered in (data + b"\n", data.rstrip(), b" " + data, data.replace(b"tiny", b"tinY")):
            with pytest.raises(BundleError, match="altered"):
                from_bytes(altered)

    def test_version_in_capitals(self, manifest: Manifest) -> None:
        version = manifest.version
        data = to_bytes(manifest).replace(version.encode(), version.upper().encode())
        with pytest.raises(BundleError, match="altered"):
            from_bytes(data)

    def test_a_version_deeper_down_does_not_stand_for_the_manifests(self, manifest: Manifest) -> None:
        provenance = replace(manifest.provenance, versions={"version": "a" * 64})
        data = to_bytes(replace(manifest, provenance=provenance))
        assert from_bytes(data).provenance.versions == {"version": "a" * 64}
        with pytest.raises(BundleError, match="altered"):
            from_bytes(data.replace(b"a" * 64, b"b" * 64))

    def test_errors_end_with_what_to_do(self, manifest: Manifest, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="export the run again"):
            from_bytes(b"{")
