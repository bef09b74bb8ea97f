"""edge-bench as a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge.bundle import Bundle, load, write
from edge.manifest import Precision
from tests.edge.test_eval_command import users_folder, with_parity_photos
from tests.edge.test_evaluate import put
from tests.made import BIN, command, one_line_error
from tests.tiny import make_bundle, make_graph

QUICK = ("--rounds", "10", "--threads", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bench-command")
    bare = make_bundle(folder / "bare", precisions=(Precision.FP32, Precision.INT8))
    return load(with_parity_photos(bare, folder / "bundle", 300))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for label, shown in (("blue", "blue"), ("green", "green"), ("red", "blue")):
        put(tmp_path / "data" / label / "1.png", shown, shade=len(label))
    return tmp_path / "data"


def edge_bench(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return command("edge-bench", *arguments, timeout=120, **options)


def as_json(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_table_and_recommendation(made: Bundle, tmp_path: Path) -> None:
    done = edge_bench(made.folder, *QUICK, "--plot", tmp_path / "bench.png")
    assert (done.returncode, done.stderr) == (0, "")
    picture = cv2.imread(str(tmp_path / "bench.png"))
    assert picture.shape[0] > 400  # distributions and, below them, accuracy over latency
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["format", "backend", "MB", "accuracy", "agrees", "p50", "p99", "FPS", "verdict"]
    rows = [line.split() for line in lines[1 : lines.index("")] if "onnxruntime" in line]
    assert [(row[0], row[3], row[4], row[-1]) for row in rows] == [
        (kind, "100.0%", "100.0%", "PASS") for kind in ("fp32", "int8")
    ]
    assert "p50 and p99: milliseconds of inference, one photo at a time, 10 rounds in turns" in lines
    assert "verdict, agreement and accuracy: on this device, on 300 photos that had no part in training" in lines
    assert "skipped tensorrt: the bundle has no graph for it; export the run again" in lines
    assert lines[-2].startswith("recommended: ")
    assert lines[-1].startswith(f"  edge-run {made.folder} SOURCE --precision ")
    assert lines[-1].endswith(" --threads 1")


def test_json_has_every_key_of_the_contract_and_stdout_nothing_else(made: Bundle) -> None:
    result = as_json(edge_bench(made.folder, *QUICK, "--json"))
    assert result["bundle"] == {"name": "tiny", "version": made.manifest.version}
    rows = {row["precision"]: row for row in result["rows"] if row["backend"] == "onnxruntime"}
    assert list(rows) == ["fp32", "int8"]
    row = rows["int8"]
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["fps"] > 0
    assert row["megabytes"] == pytest.approx(len(made.read("model.int8.onnx")) / 1e6)
    assert (row["accuracy"], row["agreement"], row["verdict"]) == (1.0, 1.0, "PASS")
    assert (row["file"], row["provider"], row["threads"]) == ("model.int8.onnx", "CPUExecutionProvider", 1)
    assert (row["images"], row["rounds"], row["as_exported"]) == (300, 10, False)
    assert "onnxruntime" in row["versions"]
    assert {"device", "reason"} <= set(row)
    assert {"precision": None, "backend": "tensorrt"}.items() <= next(
        one for one in result["skipped"] if one["backend"] == "tensorrt"
    ).items()
    assert result["recommended"] in [{key: row[key] for key in ("precision", "backend")} for row in result["rows"]]
    assert result["images"] == 300


def test_accuracy_on_photos_that_are_named(made: Bundle, data: Path) -> None:
    result = as_json(edge_bench(made.folder, "--data", data, *QUICK, "--json"))
    assert [row["accuracy"] for row in result["rows"]] == [pytest.approx(2 / 3)] * len(result["rows"])
    assert (result["images"], result["trained_on"], result["unreadable"]) == (3, 0, 0)
    done = edge_bench(made.folder, "--data", data, *QUICK)
    assert f"accuracy: on 3 photos of {data}; 0 that trained the model left out, 0 unreadable" in done.stdout


def test_without_parity_photos_it_says_whose_figures_they_are(tmp_path: Path) -> None:
    done = edge_bench(make_bundle(tmp_path / "bundle").folder, *QUICK)
    assert done.returncode == 0
    assert "verdict, agreement and accuracy: as exported, on 3 photos" in done.stdout


def test_nothing_to_recommend_exits_1(made: Bundle, tmp_path: Path) -> None:
    other = make_graph(("red", "green", "blue"), 32)
    graphs = {"model.fp32.onnx": other, "model.int8.onnx": other}
    bundle = write(tmp_path / "bundle", made.manifest, {**made.contents, **graphs}).folder
    done = edge_bench(bundle, *QUICK)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("recommended: none, since no row passed (")
    assert "fp32 on onnxruntime: FAIL: self-test failed in " in done.stdout
    result = as_json(edge_bench(bundle, *QUICK, "--json"), 1)
    assert result["recommended"] is None
    assert (result["images"], {row["accuracy"] for row in result["rows"]}) == (0, {None})


class TestErrors:
    def test_input(self, made: Bundle, data: Path, tmp_path: Path) -> None:
        one_line_error(edge_bench(tmp_path), "edge-bench", "is no bundle", "make one with edge-export")
        missing = edge_bench(made.folder, "--data", tmp_path / "none")
        one_line_error(missing, "edge-bench", "none does not exist")
        put(data / "cyan" / "1.png", "blue")
        done = edge_bench(made.folder, "--data", data)
        one_line_error(done, "edge-bench", "cyan", "blue, green, red")
        assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)

    @pytest.mark.parametrize(
        "arguments", [("--rounds", "0"), ("--seconds", "-1"), ("--threads", "-1"), ("--workspace", "0")]
    )
    def test_options(self, made: Bundle, arguments: tuple[str, str]) -> None:
        one_line_error(edge_bench(made.folder, *arguments), "edge-bench", arguments[0])


def test_help_has_an_example() -> None:
    done = edge_bench("--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert "edge-bench runs/photos-mobilenet_v2/bundle --data more-photos.zip" in done.stdout


def test_works_in_a_folder_with_the_users_own_modules(made: Bundle, tmp_path: Path) -> None:
    work = users_folder(tmp_path / "work")
    assert as_json(edge_bench(made.folder, *QUICK, "--json", cwd=work))["recommended"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(made: Bundle, data: Path, signum: signal.Signals) -> None:
    os.mkfifo(data / "red" / "pipe.png")  # the command waits there until the signal comes
    with subprocess.Popen(
        [BIN / "edge-bench", made.folder, "--data", data],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            pipe = open_when_read(data / "red" / "pipe.png", process)
            process.send_signal(signum)
            out, err = process.communicate(timeout=30)
            os.close(pipe)
        finally:
            process.kill()
    assert process.returncode == 128 + signum
    assert (out, err) == ("", "edge-bench: interrupted\n")


def open_when_read(pipe: Path, process: subprocess.Popen[str]) -> int:
    """Open a pipe for writing once the process reads from it."""
    while process.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.01)
    pytest.fail(f"it ended with {process.returncode} and never read {pipe}")
