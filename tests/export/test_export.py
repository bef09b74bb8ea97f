"""From a run to a bundle, in this process and as a command."""

import io
import json
import pickle
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge.backends import open_backend
from edge.bundle import Bundle, load
from edge.errors import DataError, ExportError
from edge.images import Role
from edge.manifest import Artifact, Precision, Verdict
from edge.preprocess import preprocess
from export import run as exporting
from export.run import export
from tests.conftest import TinyRun
from tests.made import BIN, command, one_line_error, pack
from train import checkpoint
from train.dataset.split import read_split
from train.strangers import fit_strangers


def test_the_bundle_holds_all_that_is_promised(tiny_run: TinyRun) -> None:
    bundle = load(tiny_run.bundle)
    manifest = bundle.manifest
    assert set(bundle.contents) == {
        *("model.fp32.onnx", "model.fp16.onnx", "golden.npz", "labels.txt", "parity.json", "split.npz")
    }
    assert manifest.labels == ("bars", "disc", "ring")
    assert (manifest.input.height, manifest.input.resize_short) == (32, 0)
    assert manifest.recommended is Precision.FP32
    for artifact in manifest.artifacts:
        assert artifact.verdict is Verdict.PASS
        assert artifact.parity.images == 18
        assert artifact.parity.agreement == 1.0
    assert manifest.artifacts[0].parity.max_difference <= 1e-4
    trained = json.loads((tiny_run.run / "metrics.json").read_text())
    assert manifest.artifacts[0].parity.accuracy == trained["accuracy"]
    assert manifest.output.temperature == trained["temperature"]
    split = read_split(tiny_run.run / "split.json")
    assert manifest.provenance.data_digest == split.data_digest
    assert manifest.provenance.split_digests["test"] == split.digest(Role.TEST)


def test_the_golden_images_are_photos_as_they_came_from_the_disk(tiny_run: TinyRun) -> None:
    photos = {path.read_bytes() for path in tiny_run.data.rglob("*.jpg")}
    with np.load(io.BytesIO(load(tiny_run.bundle).read("golden.npz")), allow_pickle=False) as golden:
        count = len(golden["tensors"])
        assert 4 <= count <= 8
        assert golden["tensors"].shape[1:] == (32, 32, 3)
        assert all(golden[f"image_{number}"].tobytes() in photos for number in range(count))


@pytest.fixture(scope="module")
def wary(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny run with a stranger score, and its bundle."""
    folder = tmp_path_factory.mktemp("wary")
    shutil.copytree(tiny_run.run, folder / "run", ignore=shutil.ignore_patterns("bundle"))
    path = folder / "run" / checkpoint.BEST
    loaded = checkpoint.load(path)
    weight, bias = (one.detach().numpy() for one in loaded.classifier.head.parameters())
    strangers = fit_strangers(_features(tiny_run, loaded), weight, bias)
    checkpoint.save(path, loaded.classifier, replace(loaded.about, stranger_rejects=0.1), strangers)
    return export(folder / "run", None, (Precision.FP16,), tiny_run.cache).bundle


def _features(tiny_run: TinyRun, loaded: checkpoint.Loaded) -> np.ndarray:
    """What the head sees of the training photos: float32 [photos, 512]."""
    seen: list[np.ndarray] = []
    hook = loaded.classifier.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy()))
    with torch.inference_mode():
        for one in read_split(tiny_run.run / "split.json").roles[Role.TRAIN]:
            picture = preprocess((tiny_run.data / one.file).read_bytes(), loaded.about.input)
            loaded.classifier(torch.from_numpy(picture[None]))
    hook.remove()
    return np.concatenate(seen)


def test_every_artifact_has_thresholds_of_its_own_and_says_what_they_promise(wary: Bundle) -> None:
    for artifact in wary.manifest.artifacts:
        claim = artifact.rejection
        assert claim is not None
        assert artifact.reject_threshold is not None
        assert artifact.stranger_threshold is not None
        assert (claim.target, claim.images, claim.reached) == (0.02, 18, False)
        assert 0.02 < claim.bound < 1
        assert artifact.parity.max_strangeness_difference is not None
        assert artifact.parity.max_strangeness_difference < 0.05
    full, half = wary.manifest.artifacts
    assert full.stranger_threshold != half.stranger_threshold
    assert full.parity.max_strangeness_difference < half.parity.max_strangeness_difference  # type: ignore[operator]


def test_what_the_claim_says_is_what_edge_eval_finds(wary: Bundle, tiny_run: TinyRun, tmp_path: Path) -> None:
    for one in read_split(tiny_run.run / "split.json").roles[Role.TEST]:
        target = tmp_path / "photos" / one.file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_run.data / one.file, target)
    result = json.loads(command("edge-eval", wary.folder, tmp_path / "photos", "--json").stdout)
    claim = wary.manifest.artifacts[0].rejection
    assert claim is not None
    assert result["coverage"] == pytest.approx(claim.coverage)


def test_a_run_without_a_stranger_score_gives_graphs_of_one_output(tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))
    path = tmp_path / "run" / checkpoint.BEST
    loaded = checkpoint.load(path)
    checkpoint.save(path, loaded.classifier, loaded.about)
    bundle = export(tmp_path / "run", None, (), tiny_run.cache).bundle
    (artifact,) = bundle.manifest.artifacts
    assert (artifact.stranger_threshold, artifact.parity.max_strangeness_difference) == (None, None)
    with open_backend(bundle) as backend:
        assert not backend.info.strangeness


def test_the_error_asked_for_may_be_another_than_the_runs(tiny_run: TinyRun, tmp_path: Path) -> None:
    done = command("edge-export", tiny_run.run, "-o", tmp_path / "bundle", "--max-error", "0.4", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["artifacts"]
    assert (row["target"], row["reached"], row["images"]) == (0.4, True, 18)
    assert 0 < row["reject_threshold"] <= 1
    assert row["bound"] <= 0.4
    for wrong in ("0", "1", "2 %"):
        one_line_error(command("edge-export", tiny_run.run, "--max-error", wrong), "edge-export", "--max-error")


def _export_spoiled(
    tiny_run: TinyRun, folder: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> dict[Precision, Artifact]:
    """Export with a planted fault, the head's weights multiplied in the fp16 graph; return what the disk holds."""
    honest = exporting.to_fp16

    def spoiled(model: onnx.ModelProto) -> onnx.ModelProto:
        half = honest(model)
        (weights,) = [tensor for tensor in half.graph.initializer if tensor.name.endswith("fc.weight")]
        values = onnx.numpy_helper.to_array(weights) * np.float16(factor)
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return half

    monkeypatch.setattr(exporting, "to_fp16", spoiled)
    assert not export(tiny_run.run, folder, (Precision.FP16,), tiny_run.cache).passed
    return {one.precision: one for one in load(folder).manifest.artifacts}


def test_a_graph_that_answers_otherwise_fails_and_is_marked(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = _export_spoiled(tiny_run, tmp_path / "bundle", monkeypatch, -1.0)
    verdicts = {precision: one.verdict for precision, one in artifacts.items()}
    assert verdicts == {Precision.FP32: Verdict.PASS, Precision.FP16: Verdict.FAIL}


def test_an_artifact_that_answers_no_numbers_is_written_and_marked(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an overflow of half precision would."""
    spoiled = _export_spoiled(tiny_run, tmp_path / "bundle", monkeypatch, np.inf)[Precision.FP16]
    assert (spoiled.verdict, spoiled.parity.agreement) == (Verdict.FAIL, 0.0)


def test_the_command_prints_a_table_and_takes_the_newest_run(tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.run, tmp_path / "runs" / "old", ignore=shutil.ignore_patterns("bundle"))
    done = command("edge-export", "--fp16", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PASS") == 2
    assert "100.00%" in done.stdout
    assert done.stdout.count("among these at most") == 2
    assert "so few photos can't support the 2.00% asked for" in done.stdout
    assert load(tmp_path / "runs" / "old" / "bundle").manifest.name == "old"
    again = command("edge-export", "--fp16", cwd=tmp_path)
    one_line_error(again, "edge-export", "exists", "-o")


def test_json_holds_what_the_contract_names(tiny_run: TinyRun, tmp_path: Path) -> None:
    done = command("edge-export", tiny_run.run, "-o", tmp_path / "bundle", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["bundle"] == str(tmp_path / "bundle")
    assert set(result["artifacts"][0]) >= {"precision", "runtimes", "file", "bytes"}
    assert set(result["parity"][0]) >= {
        *("file", "precision", "backend", "images", "agreement", "accuracy", "reference_accuracy"),
        *("max_difference", "verdict"),
    }
    assert [row["precision"] for row in result["parity"]] == ["fp32"]


def test_edge_eval_on_the_test_photos_gives_pytorchs_accuracy_exactly(tiny_run: TinyRun, tmp_path: Path) -> None:
    for one in read_split(tiny_run.run / "split.json").roles[Role.TEST]:
        target = tmp_path / "photos" / one.file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_run.data / one.file, target)
    done = command("edge-eval", tiny_run.bundle, tmp_path / "photos", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    trained = json.loads((tiny_run.run / "metrics.json").read_text())
    assert (result["images"], result["accuracy"]) == (18, trained["accuracy"])
    assert result["confusion"] == trained["confusion"]


def test_edge_eval_leaves_out_what_trained_the_model(tiny_run: TinyRun) -> None:
    done = command("edge-eval", tiny_run.bundle, tiny_run.data, "--json")
    result = json.loads(done.stdout)
    assert (result["images"], result["trained_on"], result["validated_on"]) == (36, 84, 18)


def test_photos_that_have_moved_are_named_with_data(tiny_run: TinyRun, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny_run.run, moved, ignore=shutil.ignore_patterns("bundle"))
    text = (moved / "split.json").read_text()
    (moved / "split.json").write_text(text.replace(str(tiny_run.data), str(tmp_path / "gone")))
    with pytest.raises(DataError, match=r"not at hand.*--data"):
        export(moved, None, (), tmp_path)
    archive = pack(tiny_run.data, tmp_path / "photos.zip")
    assert export(moved, None, (), tmp_path / "cache", data=archive).passed


def test_photos_that_have_changed_are_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    other = tmp_path / "photos"
    shutil.copytree(tiny_run.data, other)
    first = read_split(tiny_run.run / "split.json").roles[Role.TEST][0].file
    with (other / first).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match=f"{first} has changed"):
        export(tiny_run.run, tmp_path / "bundle", (), tmp_path, data=other)
    assert not (tmp_path / "bundle").exists()


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code ran",))


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(
    tiny_run: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_run.run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))
    (tmp_path / "run" / checkpoint.BEST).write_bytes(pickle.dumps(_Code()))
    with pytest.raises(ExportError, match="no checkpoint of plain tensors"):
        export(tmp_path / "run", None, (), tmp_path)
    assert "code ran" not in capsys.readouterr().out


def test_labels_that_do_not_match_the_head_are_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))
    path = tmp_path / "run" / checkpoint.BEST
    content = torch.load(path, weights_only=True)
    content["about"]["labels"] = ["bars", "disc"]
    torch.save(content, path)
    with pytest.raises(ExportError, match="contradicts itself"):
        export(tmp_path / "run", None, (), tmp_path)


@pytest.mark.parametrize("option", ["--int8", "--tensorrt"])
def test_what_a_later_release_brings_is_an_unknown_option(option: str, tmp_path: Path) -> None:
    one_line_error(command("edge-export", option, cwd=tmp_path), "edge-export", option)


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    one_line_error(command("edge-export", cwd=tmp_path), "edge-export", "no run below", "edge-train")
    one_line_error(command("edge-export", tmp_path, cwd=tmp_path), "edge-export", "best.pt", "can't be read")


def test_a_full_disk_leaves_no_half_bundle(tiny_run: TinyRun, tmp_path: Path) -> None:
    """A limit on file size is a disk that refuses in the middle: 100 blocks of 1024 bytes."""
    script = f'ulimit -f 100; exec "{BIN / "edge-export"}" "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(tiny_run.run), "-o", str(tmp_path / "bundle")],
        capture_output=True,
        text=True,
        check=False,
    )
    one_line_error(done, "edge-export", "can't be written")
    assert list(tmp_path.iterdir()) == []
