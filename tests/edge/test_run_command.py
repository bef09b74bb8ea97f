"""edge-run as a real process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import golden
from edge.backends import Answers
from edge.bundle import load, write
from edge.manifest import Verdict
from tests.edge.test_sources import write_video
from tests.tiny import make_bundle, png, solid, with_verdict

COMMAND = Path(sys.executable).parent / "edge-run"
LONG = "demo://?deposits=100000&width=64&height=48"
TIMEOUT = 60


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    inherited = {key: value for key, value in os.environ.items() if key not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, **environment},
    )


def edge_run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    with start(*arguments, **environment) as process:
        out, err = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def check_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit 2, nothing on stdout, and the last line of stderr is the one error."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert errors == [done.stderr.splitlines()[-1]]
    assert errors[0].startswith("edge-run: error: ")
    for word in words:
        assert word in errors[0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("run") / "bundle", reject_threshold=0.9).folder


def test_a_folder_to_a_file(bundle: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, label in (("1.png", "red"), ("2.png", "blue"), ("3.png", "green")):
        (photos / name).write_bytes(png(solid(label)))
    (photos / "2b.png").write_bytes(b"broken")
    (photos / "4.png").write_bytes(png(solid("red") // 2 + solid("green") // 2))
    events = tmp_path / "events.jsonl"

    done = edge_run(bundle, photos, "--events", events, "--bin", "kitchen-3", "--json")

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames"], summary["decisions"], summary["broken"]) == (4, 4, 1)
    assert set(summary["latency_ms"]["infer"]) == {"p50", "p99"}
    assert "2b.png" in done.stderr
    said = lines(events.read_text())
    assert [event["data"]["file"] for event in said] == ["1.png", "2.png", "3.png", "4.png"]
    assert [event["data"]["label"] for event in said[:3]] == ["red", "blue", "green"]
    assert [event["data"]["decision"] for event in said] == ["accepted"] * 3 + ["rejected"]
    assert {event["source"] for event in said} == {"/bins/kitchen-3"}


def test_a_stranger_that_the_network_is_sure_of_is_rejected(bundle: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.png").write_bytes(png(solid("red")))
    (photos / "2.png").write_bytes(png(solid("red") // 5 * 3))  # like no label's colour, and nearest to red
    (photos / "3.png").write_bytes(png(solid("red") // 10 * 8 + solid("green") // 10 * 5))
    plain = [event["data"] for event in lines(edge_run(bundle, photos).stdout)]
    assert [data["decision"] for data in plain] == ["accepted"] * 3
    assert not any("strangeness" in data or "reason" in data for data in plain)

    wary = make_bundle(tmp_path / "wary", reject_threshold=0.95, strangeness=True, stranger_threshold=0.39).folder
    done = edge_run(wary, photos, "--events", tmp_path / "events.jsonl", "--json")
    said = [event["data"] for event in lines((tmp_path / "events.jsonl").read_text())]
    assert [(data["decision"], data.get("reason")) for data in said] == [
        ("accepted", None),
        ("rejected", "stranger"),
        ("rejected", "stranger"),
    ]
    assert said[1]["confidence"] > 0.98
    assert said[0]["strangeness"] == pytest.approx(0, abs=1e-5)
    summary = json.loads(done.stdout)
    assert (summary["decisions"], summary["rejected_unsure"], summary["rejected_stranger"]) == (3, 0, 2)
    assert "3 decisions (2 strangers rejected)" in done.stderr


def test_events_to_stdout_are_json_lines_and_the_table_is_on_stderr(bundle: Path) -> None:
    done = edge_run(bundle, "demo://?deposits=3&width=160&height=120")
    assert done.returncode == 0, done.stderr
    assert [event["sequence"] for event in lines(done.stdout)] == ["1", "2", "3"]
    assert "3 decisions" in done.stderr
    for step in ("watch", "preprocess", "infer", "total"):
        assert f"\n{step} " in done.stderr


@pytest.mark.parametrize("seed", [1, 2])
def test_twelve_deposits_are_twelve_events(bundle: Path, seed: int) -> None:
    done = edge_run(bundle, f"demo://?seed={seed}&width=160&height=120", "--events", "-")
    assert len(lines(done.stdout)) == 12, done.stderr


def test_a_whole_video_and_one_cut_in_the_middle(bundle: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 60)
    done = edge_run(bundle, tmp_path / "v.avi", "--json")
    assert json.loads(done.stdout)["frames"] == 60

    data = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    done = edge_run(bundle, tmp_path / "half.avi")
    check_error(done, "of 60 frames", "truncated", "what was decided so far is written")


def test_a_camera_that_is_not_there(bundle: Path) -> None:
    check_error(edge_run(bundle, "97"), "/dev/video97", "no such device")


@contextmanager
def running(bundle: Path, *arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that has started up."""
    with start(bundle, *arguments, **environment) as process:
        try:
            assert process.stderr
            assert "model.fp32.onnx on CPUExecutionProvider" in process.stderr.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_clean_stop(bundle: Path, tmp_path: Path, signum: signal.Signals) -> None:
    events = tmp_path / "events.jsonl"
    with running(bundle, LONG, "--json", "--events", events) as process:
        process.send_signal(signum)
        out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["decisions"] == len(lines(events.read_text()))
    assert "frames in" in err


def test_max_frames(bundle: Path) -> None:
    assert json.loads(edge_run(bundle, LONG, "--json", "--max-frames", 7).stdout)["frames"] == 7


def test_a_reader_that_has_gone_is_no_error(bundle: Path) -> None:
    with running(bundle, LONG) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["sequence"] == "1"
        process.stdout.close()
        assert process.wait(timeout=TIMEOUT) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo://", "--presicion", "fp32"], ["--presicion", "--precision"]),
        (["demo://", "--precision", "int8"], ["no int8 graph", "it has: fp32"]),
        (["demo://", "--events", "-", "--json"], ["--events -", "--json"]),
        (["demo://", "--bin", "a/b"], ["--bin", "'a/b'"]),
        (["demo://", "--max-frames", "0"], ["--max-frames"]),
        (["demo://?depsits=3"], ["depsits", "deposits"]),
        (["demo://", "--show"], ["--show", "DISPLAY"]),
        (["demo://?deposits=1", "--events", "/dev/full"], ["/dev/full", "No space left on device"]),
        ([], ["SOURCE"]),
    ],
)
def test_wrong_arguments_are_one_line(bundle: Path, arguments: list[str], words: list[str]) -> None:
    check_error(edge_run(bundle, *arguments), *words)


def test_a_full_stdout_is_one_line(bundle: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, bundle, "demo://?deposits=1"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
        )
    check_error(done, "stdout", "No space left on device")


def test_a_flipped_byte_in_the_bundle(bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bundle"
    shutil.copytree(bundle, broken)
    data = bytearray((broken / "model.fp32.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (broken / "model.fp32.onnx").write_bytes(data)
    check_error(edge_run(broken, "demo://"), "model.fp32.onnx was altered")


def test_a_device_that_does_not_answer_as_the_export_did(bundle: Path, tmp_path: Path) -> None:
    good = load(bundle)
    images = [png(solid(label)) for label in good.manifest.labels]
    wrong = golden.Expected(Answers(np.full((3, 3), 1 / 3, dtype=np.float32)), tolerance=1e-3)
    record = golden.pack(images, good.manifest.input, {"model.fp32.onnx": wrong})
    write(tmp_path / "bundle", good.manifest, {**good.contents, golden.GOLDEN: record})
    check_error(edge_run(tmp_path / "bundle", "demo://"), "self-test failed in engine")


def test_what_failed_parity_is_refused_unless_it_is_allowed(bundle: Path, tmp_path: Path) -> None:
    failed = with_verdict(load(bundle), tmp_path / "bundle", Verdict.FAIL, "3 points are lost")
    done = edge_run(failed, "demo://?deposits=1")
    check_error(
        done, "model.fp32.onnx", "parity with PyTorch is FAIL (3 points are lost)", "--allow-failed-parity"
    )
    assert len(done.stderr.splitlines()) == 1
    done = edge_run(failed, "demo://?deposits=1", "--allow-failed-parity")
    assert (done.returncode, len(lines(done.stdout))) == (0, 1)
    assert (
        "edge-run: model.fp32.onnx on CPUExecutionProvider: parity with PyTorch is FAIL (3 points are lost)"
        in done.stderr.splitlines()
    )


def test_what_parity_could_not_show_runs_with_one_line_of_warning(bundle: Path, tmp_path: Path) -> None:
    reason = "18 photos can't show it; 268 like them would"
    unknown = with_verdict(load(bundle), tmp_path / "bundle", Verdict.INCONCLUSIVE, reason)
    done = edge_run(unknown, "demo://?deposits=1")
    assert (done.returncode, len(lines(done.stdout))) == (0, 1)
    assert done.stderr.count("INCONCLUSIVE") == 1
    assert done.stderr.startswith(
        f"edge-run: model.fp32.onnx on CPUExecutionProvider: parity with PyTorch is INCONCLUSIVE ({reason})\n"
    )
    assert "INCONCLUSIVE" not in edge_run(bundle, "demo://?deposits=1").stderr


def test_help_has_an_example_and_needs_no_engine() -> None:
    done = edge_run("--help")
    assert done.returncode == 0
    assert "edge-run bundle 0 --events events.jsonl" in done.stdout
    code = "import sys, edge.cli.run; print('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


@pytest.fixture
def display() -> Iterator[str]:
    if not shutil.which("Xvfb"):
        pytest.skip("no Xvfb here; apt-get install xvfb")
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        try:
            with os.fdopen(reader) as numbers:
                yield f":{numbers.readline().strip()}"
        finally:
            server.terminate()


def test_show_opens_a_window(bundle: Path, display: str) -> None:
    done = edge_run(bundle, LONG, "--show", "--json", "--max-frames", 20, DISPLAY=display)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 20


def test_show_on_a_display_that_does_not_answer(bundle: Path) -> None:
    check_error(edge_run(bundle, "demo://", "--show", DISPLAY=":987"), "--show can't open a window", ":987")


def test_each_line_on_stderr_may_be_an_object(bundle: Path, tmp_path: Path) -> None:
    done = edge_run(bundle, "demo://?deposits=1&width=64&height=48", "--log-format", "json", "--bin", "b7")
    assert done.returncode == 0, done.stderr
    begin, end = lines(done.stderr)
    assert set(begin) == {"time", "level", "logger", "bin", "message"}
    assert (begin["level"], begin["bin"]) == ("info", "b7")
    assert "model.fp32.onnx on CPUExecutionProvider" in begin["message"]
    assert "1 decisions" in end["message"]
    wrong = edge_run(bundle, "rtsp://user:hush@127.0.0.1:1/x", "--log-format", "json", "--events", tmp_path)
    assert wrong.returncode == 2
    assert lines(wrong.stderr)[-1]["level"] == "error"
    assert "hush" not in wrong.stderr
