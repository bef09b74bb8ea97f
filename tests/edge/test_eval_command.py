"""edge-eval as a real process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.bundle import PARITY_PHOTOS, Bundle, load, write
from edge.manifest import Precision, Verdict
from edge.parity_photos import ParityPhotos
from edge.parity_photos import pack as pack_photos
from edge.preprocess import decode
from tests.conftest import TinyRun
from tests.edge.test_evaluate import all_photos, digests, put, with_split
from tests.made import BIN, command, one_line_error, pack
from tests.tiny import infer, make_bundle, make_graph, png, solid, with_verdict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(
        tmp_path_factory.mktemp("eval") / "bundle",
        reject_threshold=0.9,
        precisions=(Precision.FP32, Precision.INT8),
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight photos; one blue photo lies among the red ones."""
    folder = tmp_path / "data"
    for label, count in (("blue", 3), ("green", 2), ("red", 3)):
        for number in range(count):
            shown = "blue" if (label, number) == ("red", 2) else label
            put(folder / label / f"{number}.png", shown, shade=3 * number + len(label))
    return folder


def edge_eval(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return command("edge-eval", *arguments, timeout=60, **options)


def as_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


class TestAnswers:
    def test_table(self, made: Bundle, data: Path) -> None:
        done = edge_eval(made.folder, data)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].split() == ["class", "precision", "recall", "f1", "photos"]
        assert lines[1].split() == ["blue", "0.750", "1.000", "0.857", "3"]
        assert lines[2].split() == ["green", "1.000", "1.000", "1.000", "2"]
        assert lines[3].split() == ["red", "1.000", "0.667", "0.800", "3"]
        assert lines[4] == "accuracy 87.50% on 8 photos; 0 that trained the model left out, 0 unreadable"
        assert lines[5].startswith("fp32 on CPUExecutionProvider: p50 ")
        assert lines[5].endswith("accepted 100.0%, of which right 87.50%")
        assert len(lines) == 6
        assert done.stderr == ""

    def test_json_has_every_key_of_the_contract_and_stdout_nothing_else(self, made: Bundle, data: Path) -> None:
        result = as_json(edge_eval(made.folder, data, "--json"))
        assert (result["images"], result["accuracy"]) == (8, pytest.approx(7 / 8))
        assert result["per_class"]["red"] == {
            "precision": 1.0,
            "recall": pytest.approx(2 / 3),
            "f1": pytest.approx(0.8),
            "support": 3,
        }
        assert list(result["per_class"]) == ["blue", "green", "red"]
        assert (result["precision"], result["backend"]) == ("fp32", "onnxruntime")
        assert (result["coverage"], result["accepted_accuracy"]) == (1.0, pytest.approx(7 / 8))
        assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]
        assert result["confusion"] == [[3, 0, 0], [0, 2, 0], [1, 0, 2]]

    def test_what_is_rejected_is_counted_by_reason(self, data: Path, tmp_path: Path) -> None:
        (data / "red" / "dark.png").write_bytes(png(solid("red") // 5 * 3))
        (data / "red" / "unsure.png").write_bytes(png(solid("red") // 20 * 17 + solid("green") // 20 * 9))
        bundle = make_bundle(
            tmp_path / "bundle", reject_threshold=0.97, strangeness=True, stranger_threshold=0.5
        ).folder
        result = as_json(edge_eval(bundle, data, "--json"))
        assert (result["rejected_unsure"], result["rejected_stranger"]) == (1, 0)
        bundle = make_bundle(
            tmp_path / "strict", reject_threshold=0.97, strangeness=True, stranger_threshold=0.3
        ).folder
        result = as_json(edge_eval(bundle, data, "--json"))
        assert (result["rejected_unsure"], result["rejected_stranger"]) == (0, 2)
        assert result["coverage"] == pytest.approx(8 / 10)
        assert "rejected: 0 as unsure, 2 as strangers" in edge_eval(bundle, data).stdout

    def test_precision_and_backend_are_what_was_asked_for(self, made: Bundle, data: Path) -> None:
        arguments = ("--json", "--precision", "int8", "--backend", "onnxruntime", "--threads", "1")
        result = as_json(edge_eval(made.folder, data, *arguments))
        assert (result["precision"], result["backend"], result["accuracy"]) == ("int8", "onnxruntime", 7 / 8)

    def test_photos_that_trained_are_left_out(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        split = digests(train=[(data / "red" / "2.png").read_bytes()], val=[(data / "red" / "1.png").read_bytes()])
        bundle = with_split(made, tmp_path / "bundle", split)
        done = edge_eval(bundle, data)
        assert "accuracy 100.00% on 7 photos; 1 that trained the model left out" in done.stdout
        assert "1 of them chose the model's epoch" in done.stdout
        result = as_json(edge_eval(bundle, data, "--json"))
        assert (result["images"], result["trained_on"], result["validated_on"]) == (7, 1, 1)

    def test_broken_images_are_named_and_counted(self, made: Bundle, data: Path) -> None:
        broken = data / "red" / "broken.jpg"
        broken.write_bytes(b"broken")
        done = edge_eval(made.folder, data)
        assert done.returncode == 0
        assert f"left out {broken}: not an image" in done.stderr
        assert "on 8 photos; 0 that trained the model left out, 1 unreadable" in done.stdout
        result = as_json(edge_eval(made.folder, data, "--json"))
        assert (result["images"], [one["file"] for one in result["unreadable"]]) == (8, [str(broken)])

    def test_a_zip_is_unpacked_into_the_cache_only(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        archive = pack(data, tmp_path / "photos.zip")
        work = tmp_path / "work"
        work.mkdir()
        environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        result = as_json(edge_eval(made.folder, archive, "--json", cwd=work, env=environment))
        assert (result["images"], result["accuracy"]) == (8, 7 / 8)
        assert len(list((tmp_path / "cache" / "binsight" / "data").iterdir())) == 1
        assert list(work.iterdir()) == []

    def test_plot_draws_the_matrix(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        done = edge_eval(made.folder, data, "--plot", tmp_path / "matrix.png")
        assert done.returncode == 0, done.stderr
        picture = decode((tmp_path / "matrix.png").read_bytes())
        assert min(picture.shape[:2]) > 100
        assert len({tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}) > 10
        assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def with_parity_photos(bundle: Bundle, folder: Path, images: int, wrong: int = 0, tolerance: float = 0.03) -> Path:
    """Write the bundle anew with photos of which the first `wrong` show what the graph takes for another label.

    PyTorch's answers are those to photos of the right colour, and the artifacts are held to `tolerance`.
    """
    labels = bundle.manifest.labels
    truth = np.arange(images) % len(labels)
    right = [solid(labels[index]) for index in truth]
    shown = [solid(labels[(index + 1) % len(labels)]) for index in truth[:wrong]] + right[wrong:]
    reference = infer(bundle.read("model.fp32.onnx"), np.stack(right))
    artifacts = tuple(
        replace(one, parity=replace(one.parity, tolerance=tolerance)) for one in bundle.manifest.artifacts
    )
    photos = pack_photos(ParityPhotos(shown, truth, reference))
    manifest = replace(bundle.manifest, artifacts=artifacts)
    return write(folder, manifest, {**bundle.contents, PARITY_PHOTOS: photos}).folder


class TestParity:
    def test_what_the_export_found_is_found_again_on_the_same_device(self, tiny_run: TinyRun) -> None:
        for artifact in load(tiny_run.bundle).manifest.artifacts:
            precision = artifact.precision.value
            result = as_json(edge_eval(tiny_run.bundle, "--parity", "--precision", precision, "--json"))
            expected = json.loads(msgspec.json.encode(artifact.parity))
            assert {key: result[key] for key in expected} == expected
            assert (result["verdict"], result["reason"]) == ("PASS", artifact.reason)
            assert (result["file"], result["precision"]) == (artifact.file, precision)
            assert (result["backend"], result["provider"]) == ("onnxruntime", "CPUExecutionProvider")
            assert set(result["versions"]) == {"onnxruntime"}

    def test_table(self, made: Bundle, tmp_path: Path) -> None:
        done = edge_eval(with_parity_photos(made, tmp_path / "bundle", 300, wrong=2), "--parity")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        figures = {line[:24].strip(): line[24:] for line in lines[: lines.index("")]}
        assert figures["photos"] == "300"
        assert figures["agreement with PyTorch"] == "99.33%"
        assert figures["accuracy"] == "99.33%, PyTorch 100.00%"
        assert figures["difference"].startswith("-0.67 points, 95 % interval -2.40 to +")
        assert figures["lower bound"].endswith("points at 95 %; must be above -3.00")
        assert figures["McNemar"] == "p 0.500: 2 lost, 0 gained"
        assert figures["probabilities"].startswith("differ by 1.0e+00 at most")
        assert " against PyTorch" in figures["calibration error"]
        classes = [line.split() for line in lines[lines.index("") + 1 :]]
        assert classes[0][:5] == ["class", "photos", "flips", "lost", "gained"]
        assert [row[:5] for row in classes[1:4]] == [
            ["blue", "100", "1", "1", "0"],
            ["green", "100", "1", "1", "0"],
            ["red", "100", "0", "0", "0"],
        ]
        assert lines[-2].startswith(
            "model.fp32.onnx (fp32), backend onnxruntime: CPUExecutionProvider, onnxruntime "
        )
        assert re.fullmatch(r"PASS: at most \d\.\d\d points of accuracy are lost, with 95 % confidence", lines[-1])
        assert done.stderr == ""

    def test_a_loss_fails_with_exit_1(self, made: Bundle, tmp_path: Path) -> None:
        bundle = with_parity_photos(made, tmp_path / "bundle", 300, wrong=12)
        done = edge_eval(bundle, "--parity")
        assert done.returncode == 1
        assert done.stdout.splitlines()[-1] == "FAIL: 4.00 points of accuracy are lost, allowed 3.00"
        result = edge_eval(bundle, "--parity", "--json")
        assert (result.returncode, json.loads(result.stdout)["verdict"]) == (1, "FAIL")

    def test_the_tolerance_is_the_one_that_the_export_was_held_to(self, made: Bundle, tmp_path: Path) -> None:
        bundle = with_parity_photos(made, tmp_path / "bundle", 300, wrong=12, tolerance=0.08)
        result = as_json(edge_eval(bundle, "--parity", "--json"))
        assert (result["tolerance"], result["verdict"]) == (0.08, "PASS")

    def test_so_few_photos_that_nothing_is_shown_is_said_and_no_failure(
        self, made: Bundle, tmp_path: Path
    ) -> None:
        done = edge_eval(with_parity_photos(made, tmp_path / "bundle", 60, wrong=1), "--parity")
        assert done.returncode == 0
        assert done.stdout.splitlines()[-1].startswith(
            "INCONCLUSIVE: 60 photos can't show that less than 3.00 points"
        )

    def test_what_failed_at_export_is_judged_without_a_flag(self, made: Bundle, tmp_path: Path) -> None:
        failed = load(with_verdict(made, tmp_path / "failed", Verdict.FAIL, "3 points are lost"))
        bundle = with_parity_photos(failed, tmp_path / "bundle", 300)
        assert as_json(edge_eval(bundle, "--parity", "--json"))["verdict"] == "PASS"

    def test_a_graph_that_answers_otherwise_than_its_record_is_not_judged(
        self, made: Bundle, tmp_path: Path
    ) -> None:
        photos = load(with_parity_photos(made, tmp_path / "photos", 30))
        other = make_graph(("red", "green", "blue"), 32)
        spoiled = write(tmp_path / "bundle", photos.manifest, {**photos.contents, "model.fp32.onnx": other}).folder
        one_line_error(edge_eval(spoiled, "--parity"), "edge-eval", "self-test failed")
        assert edge_eval(spoiled, "--parity", "--precision", "int8").returncode == 0

    def test_arguments_that_can_not_go_with_it(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        one_line_error(edge_eval(made.folder, data, "--parity"), "edge-eval", "leave DATA and --plot out")
        one_line_error(
            edge_eval(made.folder, "--parity", "--plot", "a.png"), "edge-eval", "leave DATA and --plot out"
        )
        one_line_error(edge_eval(made.folder, "--parity"), "edge-eval", "has no parity.npz; export the run again")


class TestVerdict:
    def test_what_failed_is_refused_unless_it_is_allowed(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        bundle = with_verdict(made, tmp_path / "bundle", Verdict.FAIL, "3 points are lost")
        done = edge_eval(bundle, data)
        one_line_error(done, "edge-eval", "model.fp32.onnx", "FAIL (3 points are lost)", "--allow-failed-parity")
        done = edge_eval(bundle, data, "--allow-failed-parity", "--json")
        assert as_json(done)["images"] == 8
        where = "edge-eval: model.fp32.onnx on CPUExecutionProvider"
        assert done.stderr == f"{where}: parity with PyTorch is FAIL (3 points are lost)\n"

    def test_what_was_not_shown_is_warned_of(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        bundle = with_verdict(made, tmp_path / "bundle", Verdict.INCONCLUSIVE, "18 photos can't show it")
        done = edge_eval(bundle, data, "--json")
        assert as_json(done)["images"] == 8
        assert "Provider: parity with PyTorch is INCONCLUSIVE (18 photos can't show it)" in done.stderr
        assert len(done.stderr.splitlines()) == 1


class TestErrors:
    def test_all_photos_trained(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        bundle = with_split(made, tmp_path / "bundle", digests(train=all_photos(data)))
        one_line_error(edge_eval(bundle, data), "edge-eval", "all 8 photos", "trained this model")

    def test_unknown_class(self, made: Bundle, data: Path) -> None:
        put(data / "cyan" / "1.png", "blue")
        one_line_error(edge_eval(made.folder, data), "edge-eval", "cyan", "blue, green, red")

    def test_input(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        one_line_error(edge_eval(tmp_path, data), "edge-eval", "is no bundle", "make one with edge-export")
        one_line_error(edge_eval(made.folder, tmp_path / "none"), "edge-eval", "none does not exist")

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (("--presision", "fp32"), "--precision"),
            (("--precision", "fp8"), "'fp8'"),
            (("--backend", "tpu"), "'tpu'"),
            (("--threads", "-1"), "-1"),
            (("--precision", "fp16"), "no fp16 graph"),
        ],
    )
    def test_options(self, made: Bundle, data: Path, arguments: tuple[str, ...], word: str) -> None:
        done = edge_eval(made.folder, data, *arguments)
        one_line_error(done, "edge-eval", word)
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""

    def test_missing_argument(self, made: Bundle) -> None:
        done = edge_eval(made.folder)
        one_line_error(done, "edge-eval", "DATA is missing", "--parity")
        assert len(done.stderr.splitlines()) == 1

    def test_plot_that_can_not_be_written(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        done = edge_eval(made.folder, data, "--plot", tmp_path / "none" / "matrix.png")
        one_line_error(done, "edge-eval", "No such file or directory")

    def test_debug_shows_the_traceback(self, data: Path, tmp_path: Path) -> None:
        done = edge_eval(tmp_path, data, "--debug")
        assert done.returncode == 2
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("edge-eval: error: ")


class TestAsACommand:
    def test_help_has_an_example(self) -> None:
        done = edge_eval("--help")
        assert done.returncode == 0
        assert "Examples:" in done.stdout
        assert "edge-eval runs/photos-mobilenet_v2/bundle --parity" in done.stdout
        assert done.stderr == ""

    def test_version(self) -> None:
        done = edge_eval("--version")
        assert done.returncode == 0
        assert "binsight" in done.stdout

    def test_works_in_a_folder_with_the_users_own_modules(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        work = users_folder(tmp_path / "work")
        result = as_json(edge_eval(made.folder, data, "--json", cwd=work))
        assert result["images"] == 8

    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, made: Bundle, data: Path, signum: signal.Signals) -> None:
        os.mkfifo(data / "red" / "pipe.png")  # the command waits there until the signal comes
        with subprocess.Popen(
            [BIN / "edge-eval", made.folder, data], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                with (data / "red" / "pipe.png").open("wb"):  # opens when the command reads
                    process.send_signal(signum)
                    out, err = process.communicate(timeout=30)
            finally:
                process.kill()
        assert process.returncode == 128 + signum
        assert (out, err) == ("", "edge-eval: interrupted\n")


def users_folder(folder: Path) -> Path:
    """A folder with the user's own train.py, export.py and edge/, which must not be taken for ours."""
    (folder / "edge").mkdir(parents=True)
    for name in ("train.py", "export.py", "edge/__init__.py", "edge/cli.py"):
        (folder / name).write_text("raise SystemExit('the user\\'s own module was imported')\n")
    return folder
