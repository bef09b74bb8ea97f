"""The benchmarks' own ground: what stands beside a figure, and graphs that are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import networks, pictures
from benchmarks.history import read
from edge.preprocess import InputSpec, Resize
from tests.tiny import make_bundle

ROOT = Path(__file__).resolve().parent.parent
SMALL = InputSpec(32, 32, Resize.STRETCH)


def test_a_benchmark_tells_what_its_figure_depends_on(tmp_path: Path) -> None:
    asked = ["benchmarks/test_preprocess.py", "-k", "file and vga and jpg"]
    options = ["--benchmark-enable", "--benchmark-only", "--benchmark-max-time=0.05", "-q"]
    file = tmp_path / "benchmarks.json"
    command = [sys.executable, "-m", "pytest", *asked, *options, f"--benchmark-json={file}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (one,) = json.loads(file.read_text())["benchmarks"]
    told = {"device", "power", "backend", "provider", "precision", "threads", "versions", "bundle"}
    assert told <= one["extra_info"].keys()
    assert {"python", "numpy", "opencv-python"} <= one["extra_info"]["versions"].keys()
    (point,) = read(tmp_path)
    assert point.unit == "ms"
    assert 0 < point.low <= point.value <= point.high


def test_a_graph_is_kept_until_what_makes_it_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, ...]] = []

    def make(*asked: object) -> bytes:
        made.append(asked)
        return str(len(made)).encode()

    monkeypatch.setattr(networks, "made", make)
    ask = [(SMALL, 6, 0), (SMALL, 6, 0), (SMALL, 7, 0), (SMALL, 6, 1), (InputSpec(64, 32, Resize.STRETCH), 6, 0)]
    assert [networks.network(*one, tmp_path) for one in ask] == [b"1", b"1", b"2", b"3", b"4"]
    monkeypatch.setattr(networks, "MAKERS", ("export",))
    assert networks.network(SMALL, 6, 0, tmp_path) == b"5"
    monkeypatch.setattr(networks, "LIBRARIES", ("torch",))
    assert networks.network(SMALL, 6, 0, tmp_path) == b"6"
    monkeypatch.setattr(networks, "MOST", 2)
    assert networks.network(SMALL, 8, 0, tmp_path) == b"7"
    assert len([*tmp_path.iterdir()]) == 2


def test_pictures_are_of_the_bundle_that_the_demo_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, asked = tmp_path / "demo", []

    def run(words: list[str | Path], check: bool) -> None:
        asked.append([str(word) for word in words[1:]])
        make_bundle(demo / "run" / "bundle")

    monkeypatch.setattr(pictures.subprocess, "run", run)
    for _ in range(2):  # the second finds it
        assert pictures.bundle_of(demo) == demo / "run" / "bundle"
    assert asked == [["-o", str(demo)]]
    with pytest.raises(SystemExit, match=f"bundle is no bundle.* remove {tmp_path}"):
        pictures.bundle_of(tmp_path)
