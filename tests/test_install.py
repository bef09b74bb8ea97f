"""What a bin gets: `pip install '.[cpu]'` into an empty environment, and nothing of training."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.declared import oldest
from benchmarks.versions import find
from tests import tiny

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "torchvision", "lightning", "onnx", "onnxscript", "matplotlib", "pytest")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"edge", "train", "export"}
    assert {"train/report/page.html", "export/report/parity.html", "export/report/parity.css"} <= set(names)
    assert {f"edge/web/static/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    assert {"edge/gauge.onnx", *(f"{top}/py.typed" for top in tops)} <= set(names)
    sources = {
        str(path.relative_to(ROOT)) for top in tops for path in (ROOT / top).rglob("*.py") if path.is_file()
    }
    assert {name for name in names if name.endswith(".py")} == sources


def test_a_bin_runs_without_torch_and_onnx(wheel: Path, tmp_path: Path) -> None:
    """With the oldest versions that it claims, where the Python for them is there; else with those of today."""
    oldest_python = find("oldest")
    subprocess.run([oldest_python or sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    pins = oldest("cpu") if oldest_python else []

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*map(str, words)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    run(python, "-m", "pip", "install", "--quiet", f"{wheel}[cpu]", *pins)
    found = run(python, "-c", f"import importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])")
    assert found.stdout.strip() == "[]"
    run(python, "-c", "import edge")
    bundle = tiny.make_bundle(tmp_path / "bundle")
    done = run(python.parent / "edge-run", bundle.folder, "demo://?deposits=2", "--events", "events.jsonl")
    assert "decisions" in done.stderr
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2
    run(python.parent / "edge-predict", bundle.folder, _picture(tmp_path))
    (tmp_path / "photos").mkdir()
    refused = subprocess.run(
        [python.parent / "edge-train", "photos"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "pip install 'binsight[train]'" in refused.stderr


def _picture(folder: Path) -> Path:
    path = folder / "red.png"
    path.write_bytes(tiny.png(tiny.solid("red")))
    return path
