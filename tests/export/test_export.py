"""From a run to a bundle, in this process and as a command."""

import io
import json
import pickle
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge import drift_record, parity_photos
from edge.appearance import appearance
from edge.backends import open_backend
from edge.bundle import Bundle, load
from edge.decision import Reason
from edge.drift import row_of
from edge.episodes import Outcome
from edge.errors import DataError, ExportError
from edge.images import Role
from edge.manifest import Artifact, Precision, Verdict
from edge.model import Model
from edge.preprocess import decode, fit, preprocess
from export import graphs, proof
from export.cli import command as export_command
from export.run import export
from tests.conftest import TinyRun
from tests.made import BIN, command, one_line_error, pack
from tests.pages import Elements, assert_asks_nothing_of_others
from train import checkpoint
from train.dataset.split import read_split
from train.strangers import fit_strangers


def test_the_bundle_holds_all_that_is_promised(tiny_run: TinyRun) -> None:
    bundle = load(tiny_run.bundle)
    manifest = bundle.manifest
    assert set(bundle.contents) == {
        *("model.fp32.onnx", "model.fp16.onnx", "golden.npz", "labels.txt", "drift.npz"),
        *("parity.html", "parity.json", "parity.npz", "split.npz"),
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


def test_the_parity_photos_are_the_test_photos_as_the_graph_sees_them(tiny_run: TinyRun) -> None:
    bundle = load(tiny_run.bundle)
    photos = parity_photos.read(bundle)
    entries = read_split(tiny_run.run / "split.json").roles[Role.TEST]
    assert [bundle.manifest.labels[index] for index in photos.truth] == [one.label for one in entries]
    assert photos.reference.probabilities.shape == (18, 3)
    for tensor, one in zip(photos.tensors, entries, strict=True):
        data = (tiny_run.data / one.file).read_bytes()
        np.testing.assert_array_equal(tensor, preprocess(data, bundle.manifest.input))
    trained = json.loads((tiny_run.run / "metrics.json").read_text())
    assert np.mean(photos.reference.probabilities.argmax(axis=1) == photos.truth) == trained["accuracy"]


def test_what_a_bin_is_compared_with_is_what_each_graph_says_of_photos_that_did_not_train(
    tiny_run: TinyRun,
) -> None:
    """As the bin itself would see these photos, one by one."""
    bundle = load(tiny_run.bundle)
    split = read_split(tiny_run.run / "split.json")
    entries = [one for role in (Role.VAL, Role.TEST) for one in split.roles[role]]
    recorded = drift_record.read(bundle)
    assert {*recorded} == {"model.fp32.onnx", "model.fp16.onnx"}
    for precision in (Precision.FP32, Precision.FP16):
        with open_backend(bundle, "onnxruntime", precision) as backend:
            model = Model(bundle, backend)
            assert model.photos is not None
            assert len(model.photos) == len(entries) > 30
            for entry, row in zip(entries, model.photos, strict=True):
                picture = decode((tiny_run.data / entry.file).read_bytes())
                seen = model.answer(picture, time.monotonic).seen
                choice = model.decide(Outcome(seen.probabilities, 1, seen.strangeness))
                index = 3 if choice.reason is Reason.STRANGER else choice.index
                expected = row_of(index, choice.confidence, appearance(fit(picture, bundle.manifest.input)))
                np.testing.assert_allclose(row, expected[0], atol=1e-3)
    assert len({*recorded["model.fp32.onnx"][:, 0]}) >= 3


@pytest.mark.slow
def test_of_many_test_photos_some_of_each_class_travel(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "MOST", 9)
    bundle = export(tiny_run.run, tmp_path / "bundle", (), tiny_run.cache).bundle
    photos = parity_photos.read(bundle)
    assert len(photos.tensors) == 9
    assert set(np.bincount(photos.truth)) == {3}
    assert bundle.manifest.artifacts[0].parity.images == 18
    with open_backend(bundle, "onnxruntime") as backend:
        got = np.concatenate([backend.infer(tensor[None]).probabilities for tensor in photos.tensors])
    np.testing.assert_allclose(got, photos.reference.probabilities, atol=1e-4)


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


@pytest.mark.slow
def test_the_error_asked_for_may_be_another_than_the_runs(tiny_run: TinyRun, tmp_path: Path) -> None:
    done = command("edge-export", tiny_run.run, "-o", tmp_path / "bundle", "--max-error", "0.4", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["artifacts"]
    assert (row["target"], row["reached"], row["images"]) == (0.4, True, 18)
    assert 0 < row["reject_threshold"] <= 1
    assert row["bound"] <= 0.4
    for wrong in ("0", "1", "2 %"):
        one_line_error(command("edge-export", tiny_run.run, "--max-error", wrong), "edge-export", "--max-error")


def _spoil(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Plant a fault: the head's weights multiplied in the fp16 graph."""
    honest = graphs.to_fp16

    def spoiled(model: onnx.ModelProto) -> onnx.ModelProto:
        half = honest(model)
        (weights,) = [tensor for tensor in half.graph.initializer if tensor.name.endswith("fc.weight")]
        values = onnx.numpy_helper.to_array(weights) * np.float16(factor)
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return half

    monkeypatch.setattr(graphs, "to_fp16", spoiled)


def _export_spoiled(
    tiny_run: TinyRun, folder: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> dict[Precision, Artifact]:
    """Export with that fault, and return what the disk holds."""
    _spoil(monkeypatch, factor)
    assert not export(tiny_run.run, folder, (Precision.FP16,), tiny_run.cache).passed
    return {one.precision: one for one in load(folder).manifest.artifacts}


def test_a_graph_that_answers_otherwise_fails_and_is_marked(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = _export_spoiled(tiny_run, tmp_path / "bundle", monkeypatch, -1.0)
    verdicts = {precision: one.verdict for precision, one in artifacts.items()}
    assert verdicts == {Precision.FP32: Verdict.PASS, Precision.FP16: Verdict.FAIL}
    html = (tmp_path / "bundle" / "parity.html").read_text(encoding="utf-8")
    assert_asks_nothing_of_others(html)
    flips = sum(one.flips for one in artifacts[Precision.FP16].parity.per_class.values())
    assert len(Elements(html).all("img")) == flips > 0
    assert "No answer differs: all 18 photos" in Elements(html).text, "of fp32"
    assert artifacts[Precision.FP16].reason == "bars, disc, ring: certainly worse by more than 5 points"
    assert not any(one.failure_allowed for one in artifacts.values())
    fp16 = (tmp_path / "bundle", "--precision", "fp16")
    own = command("edge-eval", *fp16, "--parity", "--json")
    assert (own.returncode, json.loads(own.stdout)["verdict"]) == (1, "FAIL")
    one_line_error(command("edge-eval", *fp16, tiny_run.data), "edge-eval", "FAIL", "--allow-failed-parity")
    assert command("edge-eval", *fp16, tiny_run.data, "--allow-failed-parity").returncode == 0


@pytest.mark.slow
def test_a_failure_that_is_allowed_exits_0_and_is_marked(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _spoil(monkeypatch, -1.0)
    arguments = [str(tiny_run.run), "-o", str(tmp_path / "bundle"), "--fp16"]
    assert export_command.main([*arguments, "--allow-failed-parity"], standalone_mode=False) == 0
    marked = {one.precision: one.failure_allowed for one in load(tmp_path / "bundle").manifest.artifacts}
    assert marked == {Precision.FP32: False, Precision.FP16: True}
    out = capsys.readouterr().out
    assert out.splitlines()[2].endswith(" FAIL (allowed)")
    shutil.rmtree(tmp_path / "bundle")
    assert export_command.main(arguments, standalone_mode=False) == 1
    assert capsys.readouterr().out.splitlines()[2].endswith(" FAIL")


@pytest.mark.slow
def test_another_tolerance_is_kept_for_all_but_fp32(tiny_run: TinyRun, tmp_path: Path) -> None:
    arguments = (tiny_run.run, "--fp16", "-o", tmp_path / "bundle")
    done = command("edge-export", *arguments, "--tolerance", "2.5", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["tolerance"] for row in json.loads(done.stdout)["parity"]] == [0.01, 0.025]
    own = command("edge-eval", tmp_path / "bundle", "--parity", "--precision", "fp16", "--json")
    assert json.loads(own.stdout)["tolerance"] == 0.025
    for wrong in ("0", "101", "2 %"):
        one_line_error(command("edge-export", *arguments, "--tolerance", wrong), "edge-export", "--tolerance")


def test_an_artifact_that_answers_no_numbers_is_written_and_marked(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an overflow of half precision would."""
    spoiled = _export_spoiled(tiny_run, tmp_path / "bundle", monkeypatch, np.inf)[Precision.FP16]
    assert (spoiled.verdict, spoiled.parity.agreement) == (Verdict.FAIL, 0.0)


@pytest.mark.slow
def test_the_command_prints_a_table_and_takes_the_newest_run(tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.run, tmp_path / "runs" / "old", ignore=shutil.ignore_patterns("bundle"))
    done = command("edge-export", "--fp16", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PASS") == 2
    assert done.stdout.count("no answer differs, and no probability by more than") == 2
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
        *("max_difference", "verdict", "lower_bound", "interval", "mcnemar", "per_class", "tolerance", "reason"),
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


def test_a_place_that_cannot_be_written_is_told_before_the_work(tiny_run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = command("edge-export", tiny_run.run, "-o", tmp_path / "file" / "bundle", cwd=tmp_path)
    one_line_error(done, "edge-export", "can't be written", "-o")


def test_a_photo_in_two_roles_is_an_error(tiny_run: TinyRun, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.run, tmp_path / "run", ignore=shutil.ignore_patterns("bundle"))
    path = tmp_path / "run" / "split.json"
    split = json.loads(path.read_text())
    judge = split["roles"]["test"][0]
    split["roles"]["train"].append({**judge, "file": "bars/copy.jpg"})
    path.write_text(json.dumps(split))
    done = command("edge-export", tmp_path / "run", "--int8", cwd=tmp_path)
    one_line_error(done, "edge-export", judge["file"], "bars/copy.jpg", "in two roles")


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    one_line_error(command("edge-export", cwd=tmp_path), "edge-export", "no run below", "edge-train")
    one_line_error(command("edge-export", tmp_path, cwd=tmp_path), "edge-export", "best.pt", "can't be read")
    one_line_error(command("edge-export", "nowhere", cwd=tmp_path), "edge-export", "best.pt", "can't be read")
    assert not (tmp_path / "nowhere").exists()


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
