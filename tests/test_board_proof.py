"""The proof of a board, run on this machine: what it did, what it could not do, and what it makes of a fault."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge import parity_photos
from edge.backends.base import Answers
from edge.bundle import PARITY_PHOTOS, Bundle, write
from edge.doctor.machine import Machine
from tests.tiny import make_bundle

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "deploy" / "board_proof.py"
SHORT = ("--minutes", "0.05", "--seconds", "2", "--rounds", "5")
MODES = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN >\n"


def prove(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *words], cwd=folder, capture_output=True, text=True, timeout=900, check=False
    )


def results(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]], str]:
    """The proof, its steps by name, and its page."""
    proof = json.loads((folder / "board-proof.json").read_text())
    return proof, {step["name"]: step for step in proof["steps"]}, (folder / "board-proof.html").read_text()


def with_other_answers(bundle: Bundle, folder: Path) -> Bundle:
    """The same, but PyTorch is said to have answered with the next label each time."""
    photos = parity_photos.read(bundle)
    wrong = Answers(photos.reference.probabilities[:, [1, 2, 0]])
    truth = wrong.probabilities.argmax(axis=1)
    packed = parity_photos.pack(replace(photos, reference=wrong, truth=truth))
    return write(folder, bundle.manifest, {**bundle.contents, PARITY_PHOTOS: packed})


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("board_proof")


def test_a_machine_is_proven(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "runs" / "first" / "bundle", parity_images=20)
    done = prove(tmp_path, *SHORT, "--soak", "0.05", "--power-modes", "all")
    assert done.returncode == 0, done.stderr
    proof, steps, page = results(tmp_path / "runs" / "board-proof")
    assert proof["passed"] is True
    assert proof["bundle"]["version"] == bundle.manifest.version
    assert steps["doctor"]["found"]["runs"] is True
    assert steps["parity fp32 onnxruntime"]["found"]["verdict"] == "PASS"
    assert steps["parity int8 tensorrt"]["why"] == "the bundle has no graph for it"
    assert steps["latency in power mode 0"]["result"] == "not possible here"
    assert steps["latency"]["found"]["rows"][0]["p50_ms"] > 0
    for name in ("work", "soak"):
        found = steps[name]["found"]
        assert found["frames"] > 0
        samples = found["samples"]
        assert max(one["resident_mib"] for one in samples) > 20
        assert all(one["available_mib"] > 0 for one in samples)
    assert all(name in page for name in steps)
    assert page.count("the bundle has no graph for it") == 1, "one line for all that have one reason"
    assert "A bin at work for 0.1 minutes" in page
    assert "All that was possible here passed." in page
    assert page.count("<polyline") >= 4
    assert "http" not in page


def test_a_fault_is_told_and_the_rest_is_tried(tmp_path: Path) -> None:
    good = make_bundle(tmp_path / "good", parity_images=20)
    bad = with_other_answers(good, tmp_path / "bad")
    done = prove(tmp_path, bad.folder, *SHORT, "-o", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    proof, steps, page = results(tmp_path / "out")
    assert proof["passed"] is False
    failed = {name for name, step in steps.items() if step["result"] == "failed"}
    assert failed == {"parity fp32 onnxruntime", "latency"}
    assert steps["parity fp32 onnxruntime"]["found"]["verdict"] == "FAIL"
    assert steps["parity fp32 onnxruntime"]["why"]
    assert steps["work"]["result"] == "done"
    assert "Failed: parity fp32 onnxruntime, latency." in page
    assert '<td class="failed">failed</td>' in page
    assert page.count("\n.failed {") == 1, "nothing takes its colour away again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no bundle was named and none lies in runs/*/bundle; make one: edge-demo, edge-export"),
        (("nothing",), "is no bundle"),
        (("--power-modes", "fast"), "--power-modes is 'fast', expected all"),
        (("--minutes", "0"), "no number above 0"),
        (("--rounds", "0"), "no number above 0"),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, words: Sequence[str], said: str) -> None:
    done = prove(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


class Jetson:
    """Files and answers of nvpmodel."""

    def __init__(self, root: Path, refused: int | None = None) -> None:
        self.asked: list[str] = []
        self._status, self._refused = root / "var/lib/nvpmodel/status", refused
        for path, text in ((root / "etc/nvpmodel.conf", MODES), (self._status, "pmode:0001")):
            path.parent.mkdir(parents=True)
            path.write_text(text)
        self.machine = Machine(root, ask=self._ask)

    def _ask(self, words: Sequence[str]) -> str | None:
        self.asked.append(" ".join(words))
        if int(words[-1]) == self._refused:
            return None
        self._status.write_text(f"pmode:{int(words[-1]):04}")
        return ""


def test_the_power_mode_returns_whatever_happens(tmp_path: Path, script: ModuleType) -> None:
    board = Jetson(tmp_path)
    with pytest.raises(KeyboardInterrupt), script.powered(board.machine, 2):  # noqa: PT012
        assert board.asked == ["nvpmodel -m 2"]
        raise KeyboardInterrupt
    assert board.asked == ["nvpmodel -m 2", "nvpmodel -m 1"]
    with script.powered(board.machine, 1):
        pass
    assert len(board.asked) == 2


def test_a_mode_that_can_not_be_taken_is_no_failure(tmp_path: Path, script: ModuleType) -> None:
    plan = script.Plan(make_bundle(tmp_path / "bundle"), modes="all", machine=Jetson(tmp_path, refused=2).machine)
    assert script.wanted(plan) == [0, 1, 2]
    step = script.attempt("latency", lambda: script.latency(plan, 2))
    assert step.result is script.Result.IMPOSSIBLE
    assert "nvpmodel -m 2 leaves mode 1" in step.why


def test_a_mode_that_does_not_return_is_a_failure(tmp_path: Path, script: ModuleType) -> None:
    with (
        pytest.raises(script.FailedError, match="is 2 and was 1: sudo nvpmodel -m 1"),
        script.powered(Jetson(tmp_path, refused=1).machine, 2),
    ):
        pass


def test_a_step_that_does_not_end_is_given_up_with_all_that_it_started(tmp_path: Path, script: ModuleType) -> None:
    code = (
        "import pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    plan = script.Plan(make_bundle(tmp_path / "bundle"), limit_s=5)
    said = script.attend(plan, (Path(sys.executable).name, "-c", code))
    assert said.code is None
    assert "given up after 5 s" in said.complaint
    child = Path("/proc") / (tmp_path / "child").read_text() / "stat"
    end = time.monotonic() + 60
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("ignored", [False, True], ids=["", "nohup"])
def test_a_terminal_that_goes_ends_it_in_order(tmp_path: Path, ignored: bool) -> None:
    bundle = make_bundle(tmp_path / "bundle", parity_images=20)
    words = [sys.executable, str(SCRIPT), str(bundle.folder), *SHORT, "-o", str(tmp_path / "out")]
    # Whoever began the tests may have it ignored, which is inherited.
    before = "trap '' HUP; exec " if ignored else "exec env --default-signal=HUP "
    line = f"{before}{shlex.join(words)}"
    proof = subprocess.Popen(["sh", "-c", line], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert proof.stderr is not None
    with proof, proof.stderr as said:
        assert said.readline().startswith("doctor: ")
        proof.send_signal(signal.SIGHUP)
        if ignored:
            assert said.readline().startswith("parity ")
            proof.terminate()
        assert "interrupted" in said.read()
    assert proof.returncode == 130


def test_what_failed_stands_out(script: ModuleType) -> None:
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", importlib.import_module("board_page").STYLE)
    plain = [its for names, its in rules if names.strip() == ".failed"]
    assert len(plain) == 1
    assert "#a3410b" in plain[0]


def test_growth_is_told_without_the_beginning(script: ModuleType) -> None:
    def held(seconds: float) -> float:
        return 100 + seconds / 1800 if seconds >= 600 else seconds / 6

    samples = [script.Sample(float(s), {}, (), held(s), None, None, None) for s in range(0, 7200, 10)]
    assert script.growth(samples) == pytest.approx(2.0)
    assert script.growth(samples[:2]) is None


def test_a_curve_is_where_its_values_are(script: ModuleType) -> None:
    draw = importlib.import_module("board_page").curve
    samples = [{"seconds": float(s), "celsius": {"cpu": 40.0 + s, "gpu": 30.0}} for s in range(41)]
    drawn = draw("heat", samples, lambda one: max(one["celsius"].values()))
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", drawn)]
    assert len(points) == 41
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[20] == pytest.approx(
        ((points[0][0] + points[-1][0]) / 2, (points[0][1] + points[-1][1]) / 2), abs=0.2
    )
    assert points[0][1] > points[-1][1]
    assert all(f">{level}<" in drawn for level in ("40.0", "60.0", "80.0"))
    assert "not told by this machine" in draw("heat", samples, lambda one: None)
