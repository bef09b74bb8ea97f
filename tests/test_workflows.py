"""The workflows of CI, ours and the one that docs offer, and the drawing of what they keep."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.history import draw, read

ROOT = Path(__file__).resolve().parent.parent
OURS = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
USERS = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "latency.md").read_text(), re.DOTALL)[0])


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", [OURS, USERS])
def test_every_job_has_a_machine_a_bound_and_pinned_actions(workflow: dict[str, Any]) -> None:
    assert workflow[True]  # "on", which YAML 1.1 takes for a truth value
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert 0 < job["timeout-minutes"] <= 90
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/checkout@v5"))


def test_ours_runs_what_the_makefile_has_on_every_python_that_is_promised() -> None:
    commands = [step["run"] for step in steps(OURS) if "run" in step]
    assert commands == ["make check", "make test", "make gate", "make bench", "make wheel"]
    for one in commands:
        done = subprocess.run([*one.split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert OURS["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]


def test_history_draws_each_figure_over_its_commits(tmp_path: Path) -> None:
    for number, commit in enumerate(("aaaaaaa1", "bbbbbbb2")):
        info = {"id": commit, "time": f"2026-11-2{number}T00:00:00+00:00"}
        one = {"step": "decide", "over": "pinned Python", "ratio": 1.0 + number, "interval": [0.9, 2.1]}
        row = {"precision": "fp32", "backend": "onnxruntime", "device": "a CPU", "steps": [one]}
        (tmp_path / f"{commit}.json").write_text(json.dumps({"commit_info": info, "rows": [row]}))
    points = read(tmp_path)
    assert [(one.commit, one.value, one.low, one.high) for one in points] == [
        ("aaaaaaa", 1.0, 0.9, 2.1),
        ("bbbbbbb", 2.0, 0.9, 2.1),
    ]
    draw(points, tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 5000
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json was not written by"):
        read(tmp_path)
