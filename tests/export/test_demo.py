"""edge-demo, small: the whole way runs. How good it gets is measured by `make proof-demo`."""

import json
from pathlib import Path

import pytest

from edge.bundle import load
from edge.manifest import Verdict
from edge.scores import ClassScores, Scores
from edge.summary import Summary
from export.demo import Demonstrated
from tests.made import command, one_line_error

SMALL = ("--per-class", "8", "--epochs", "1", "--deposits", "3")


def test_the_whole_way_runs_without_data_camera_or_network(tmp_path: Path) -> None:
    away = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = command("edge-demo", *SMALL, "--json", cwd=tmp_path, env=away)
    assert done.returncode in (0, 1), done.stderr  # one epoch on 8 photos is not expected to be good
    shown = json.loads(done.stdout)
    assert shown["deposits"] == shown["decisions"] == 3
    assert (tmp_path / shown["report"]).stat().st_size > 10_000
    assert len((tmp_path / "demo" / "events.jsonl").read_text().splitlines()) == 3
    assert len(load(tmp_path / shown["bundle"]).manifest.artifacts) == 2
    assert shown["passed"] == (done.returncode == 0)
    one_line_error(command("edge-demo", "-o", "demo", cwd=tmp_path), "edge-demo", "demo exists", "-o")


def _shown(truth: str, decisions: str, accuracy: float = 1.0) -> Demonstrated:
    unseen = Scores(10, accuracy, 1.0, {"a": ClassScores(1.0, 1.0, 1.0, 10)}, ((10,),), 0.0, 0.0)
    summary = Summary(1, 1.0, 1.0, 1, 0, {})
    return Demonstrated(Path(), Path(), Verdict.PASS, unseen, tuple(truth), tuple(decisions), summary)


@pytest.mark.parametrize(
    ("truth", "decisions", "right"),
    [
        ("abcd", "abcd", 1.0),
        ("abcd", "abxd", 0.75),
        ("abcd", "acd", 0.75),
        ("abc", "abbc", 0.75),
        ("abcd", "", 0.0),
    ],
)
def test_missed_and_doubled_decisions_count_as_wrong(truth: str, decisions: str, right: float) -> None:
    assert _shown(truth, decisions).decisions_right == right


def test_the_demo_falls_short_below_90_per_cent() -> None:
    assert _shown("aaaaaaaaaa", "aaaaaaaaab").passed
    assert not _shown("aaaaaaaaaa", "aaaaaaaabb").passed
    assert not _shown("a", "a", accuracy=0.89).passed
