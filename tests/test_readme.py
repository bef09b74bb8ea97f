"""The README's commands run, and the two commands that it promises are there."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.waste import write_dataset
from tests.made import BIN, pack

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
QUICK = "--model resnet18 --weights none --img-size 32 --epochs 1"
"""Added to the README's training, which would fetch ImageNet weights and take its time."""


def _commands() -> list[str]:
    blocks = re.findall(r"<!-- run -->\n```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def test_the_way_from_photos_to_a_running_bin(tmp_path: Path) -> None:
    write_dataset(tmp_path / "photos", 8, seed=0)
    pack(tmp_path / "photos", tmp_path / "photos.zip")
    write_dataset(tmp_path / "more-photos", 2, seed=1)
    shutil.copytree(tmp_path / "more-photos" / "can", tmp_path / "unsorted")
    lines = _commands()
    way = "edge-data edge-train edge-export edge-eval edge-bench edge-eval edge-predict edge-run"
    assert [line.split()[0] for line in lines] == way.split()
    for line in lines:
        words = shlex.split(line, comments=True) + (QUICK.split() if line.startswith("edge-train") else [])
        done = subprocess.run(
            [BIN / words[0], *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        # An untrained network may fail parity in half precision, where one flip is a tenth of so few photos.
        assert done.returncode in ((0, 1) if words[0] == "edge-export" else (0,)), (line, done.stderr)
    for name in ("confusion.png", "answers.png", "runs/first/report.html"):
        assert (tmp_path / name).stat().st_size > 1000
    assert (tmp_path / "events.jsonl").read_text().count('"binsight.deposit"') >= 10


@pytest.mark.parametrize("target", ["demo", "test", "setup", "check", "bench", "proof"])
def test_make_has_the_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
