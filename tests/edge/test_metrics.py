"""What Prometheus gets, and what it is told to do with it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.board import LABELS, Board
from edge.drift import Against
from edge.metrics import Metrics
from edge.snapshot import Part, Vitals, Waiting
from edge.sources.base import Counts
from edge.thermal import MOST, Thermal
from tests.boards import SERVED, a_decision, a_drift, tell_frame

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PICTURE = np.zeros((120, 160, 3), dtype=np.uint8)
HOT = Thermal({f"zone-{n}": 50.0 + n for n in range(MOST)}, ("cpu",), {f"oc{n}": n for n in range(4)})

ALERT_TEST = """
rule_files: [{rules}]
evaluation_interval: 10m
tests:
  - interval: 10m
    input_series:
      - series: 'binsight_standstill{{instance="a", part="camera"}}'
        values: '0 0 1 1 1 1'
      - series: 'binsight_decisions_total{{instance="a", label="can", decision="rejected"}}'
        values: '0+1x80'
      - series: 'binsight_decisions_total{{instance="a", label="can", decision="accepted"}}'
        values: '0+1x80'
      - series: 'binsight_drifted{{instance="a", of="warmth", against="itself"}}'
        values: '0 0 1 1 1'
      - series: 'binsight_drifted{{instance="a", of="warmth", against="bundle"}}'
        values: '1+0x200'
    alert_rule_test:
      - {{eval_time: 20m, alertname: Drifted}}
      - eval_time: 40m
        alertname: Drifted
        exp_alerts:
          - exp_labels: {{instance: a, of: warmth, against: itself, severity: look}}
            exp_annotations: {{summary: 'a: warmth has drifted from what it was at this bin'}}
      - {{eval_time: 12h, alertname: UnlikeItsPhotos}}
      - eval_time: 25h
        alertname: UnlikeItsPhotos
        exp_alerts:
          - exp_labels: {{instance: a, of: warmth, against: bundle, severity: look}}
            exp_annotations: {{summary: 'a: warmth is not that of the photos that judged its bundle'}}
      - {{eval_time: 20m, alertname: BinStandsStill}}
      - eval_time: 40m
        alertname: BinStandsStill
        exp_alerts:
          - exp_labels: {{instance: a, part: camera, severity: page}}
            exp_annotations: {{summary: 'a: camera stands still'}}
      - eval_time: 12h
        alertname: MuchRejected
        exp_alerts:
          - exp_labels: {{instance: a, severity: look}}
            exp_annotations: {{summary: 'a rejects 50% of what is thrown in'}}
"""


def promtool(*words: str | Path, text: bytes = b"") -> None:
    """Run the program on `text`, or skip the test."""
    if not shutil.which("promtool"):
        pytest.skip("no promtool here; apt-get install prometheus")
    done = subprocess.run(["promtool", *map(str, words)], input=text, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@pytest.fixture
def text() -> bytes:
    """A bin that has all there can be, and more labels than are told apart."""
    board = Board('kitchen "3"\n')
    board.serves(SERVED)
    for number in range(LABELS + 20):
        for reason in ("", "unsure", "stranger"):
            board.decision(a_decision({f'<{number}> "quoted"\\': 0.9}, reason), PICTURE)
    for _ in range(3):
        tell_frame(board, PICTURE)
    board.camera("blurred", ("blurred", "odd one"))
    board.drift(a_drift(("warmth", Against.ITSELF)))
    board.vitals(Vitals(Counts(90, 7, 2), 4, 8, Waiting(3, 900, 4.0, 5, 6), 1, {"mqtt": True, "webhook": False}))
    board.enter(Part.CAMERA)
    return Metrics(board.snapshot, lambda: HOT).text()


def values(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def test_promtool_finds_no_fault_and_few_series(text: bytes) -> None:
    promtool("check", "metrics", text=text)
    assert 150 < len(values(text)) <= 200
    empty = Metrics(Board("b").snapshot, Thermal).text()
    promtool("check", "metrics", text=empty)


def test_the_figures_are_the_boards(text: bytes) -> None:
    found = values(text)

    def value(name: str, **labels: str) -> float:
        return found[f"binsight_{name}", frozenset(labels.items())]

    assert value("info", bin='kitchen "3"\n') == 1
    assert value("frames_total") == 3
    assert value("frames_dropped_total", cause="skipped") == 7
    assert value("frames_dropped_total", cause="broken") == 4
    assert value("frames_dropped_total", cause="outdated") == 8
    assert value("camera_reopened_total") == 2
    assert value("decisions_total", label='<0> "quoted"\\', decision="rejected") == 2
    assert value("decisions_total", label="(others)", decision="accepted") == 20
    assert value("rejections_total", reason="stranger") == LABELS + 20
    assert value("step_duration_seconds_bucket", step="infer", le="0.01") == 0
    assert value("step_duration_seconds_bucket", step="infer", le="0.02") == 3
    assert value("step_duration_seconds_bucket", step="infer", le="+Inf") == 3
    assert value("step_duration_seconds_count", step="infer") == 3
    assert 0.033 <= value("step_duration_seconds_sum", step="infer") < 0.06
    assert value("outbox_events") == 3
    assert 4.0 <= value("outbox_age_seconds") < 60
    assert value("events_lost_total", cause="refused") == 6
    assert value("unwritten_events") == 1
    assert value("sink_connected", sink="webhook") == 0
    assert value("camera_state", state="blurred") == value("camera_state", state="odd one") == 1
    assert value("camera_state", state="dark") == 0
    assert value("drift_index", of="warmth", against="itself") == 0.4173
    assert value("drifted", of="warmth", against="itself") == 1
    assert value("drifted", of="warmth", against="bundle") == value("drifted", of="tint", against="itself") == 0
    assert value("temperature_celsius", zone="zone-1") == 51
    assert value("throttled") == 1
    assert value("throttle_events_total", source="oc3") == 3
    assert value("standstill", part="camera") == 0
    assert found["process_resident_memory_bytes", frozenset()] > 1e6


def test_what_is_shipped_for_prometheus_holds(text: bytes, tmp_path: Path) -> None:
    told = {name for name, _ in values(text)}
    asked = set(re.findall(r"\b(?:binsight|process)_\w+", (DEPLOY / "alerts.yml").read_text()))
    assert len(asked) > 10
    assert asked <= told
    promtool("check", "rules", DEPLOY / "alerts.yml")
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus.yml")
    (tmp_path / "test.yml").write_text(ALERT_TEST.format(rules=DEPLOY / "alerts.yml"))
    promtool("test", "rules", tmp_path / "test.yml")


def test_the_guide_has_every_metric_with_its_labels_and_no_other(text: bytes) -> None:
    rows = re.findall(
        r"^\| (`(?:binsight|process)_.*?) \|", (ROOT / "docs" / "fleet.md").read_text(), re.MULTILINE
    )
    told: dict[str, set[str]] = {}
    for row in rows:
        first = ""
        for name, labels in re.findall(r"`(\w+)(?:\{([\w,]+)\})?`", row):
            first = first or name
            told[first.rpartition("_")[0] + name if name.startswith("_") else name] = {
                *filter(None, labels.split(","))
            }
    found: dict[str, set[str]] = {}
    for name, labels in values(text):
        if not name.endswith(("_bucket", "_count", "_sum")):
            found.setdefault(name, set()).update(key for key, _ in labels)
        elif name.endswith("_sum"):
            found[name.removesuffix("_sum")] = {key for key, _ in labels}
    ours = {name: labels for name, labels in found.items() if name.startswith("binsight_")}
    assert {name: labels for name, labels in told.items() if name.startswith("binsight_")} == ours
    assert {*told} <= {*found}
    for guide in (ROOT / "docs").glob("*.md"):
        named = {*re.findall(r"`((?:binsight|process)_\w+)`", guide.read_text())}
        assert named <= {*found}, guide.name
