from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.backends import open_backend
from edge.bundle import Bundle
from edge.episodes import Outcome
from edge.event import Deposit, Draft, Latency, Reporter, to_line
from edge.ledger import Numbers
from edge.model import Model
from tests.tiny import make_bundle

NOON = datetime(2026, 5, 1, 14, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
LATENCY = Latency(preprocess=0.5, infer=2.25, total=3.0)


def report(bundle: Bundle, seen: Outcome, age: float = 1.0, file: str = "") -> Draft[Deposit]:
    with open_backend(bundle, "onnxruntime") as backend:
        return Reporter("kitchen-3", now=lambda: NOON).report(Model(bundle, backend), seen, LATENCY, age, file)


def outcome(*scores: float) -> Outcome:
    return Outcome(np.array(scores, dtype=np.float32), 3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("event") / "bundle")


def test_an_event_is_the_contract_field_by_field(bundle: Bundle) -> None:
    numbers = Numbers()
    (made,) = numbers.commit(report(bundle, outcome(0.25, 0.5, 0.25), 41.5))
    line = to_line(made)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    event = json.loads(line)
    assert str(uuid.UUID(event.pop("id")))
    assert str(uuid.UUID(event.pop("epoch"))) == numbers.epoch
    assert event == {
        "specversion": "1.0",
        "type": "binsight.deposit",
        "source": "/bins/kitchen-3",
        "time": "2026-05-01T12:00:00.250Z",
        "sequence": "1",
        "datacontenttype": "application/json",
        "data": {
            "label": "green",
            "confidence": 0.5,
            "decision": "accepted",
            "probabilities": {"blue": 0.25, "green": 0.5, "red": 0.25},
            "frame_age_ms": 41.5,
            "latency_ms": {"preprocess": 0.5, "infer": 2.25, "total": 3.0},
            "frames_seen": 3,
            "bundle": {"name": "tiny", "version": bundle.manifest.version},
            "precision": "fp32",
            "backend": "onnxruntime",
        },
    }


def test_only_a_folder_source_names_a_file(bundle: Bundle) -> None:
    made = report(bundle, outcome(1, 0, 0), 1.0, "a/b.jpg")
    assert made.data.file == "a/b.jpg"


def test_a_rejected_deposit_says_why_and_how_strange_it_is(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "bundle", reject_threshold=0.75, strangeness=True, stranger_threshold=0.25)

    def said(probability: float, strangeness: float) -> dict[str, object]:
        rest = (1 - probability) / 2
        seen = Outcome(np.array((probability, rest, rest), dtype=np.float32), 3, strangeness)
        data: dict[str, object] = msgspec.to_builtins(report(made, seen))["data"]
        return {key: data.get(key) for key in ("decision", "reason", "strangeness")}

    assert said(0.9, 0.125) == {"decision": "accepted", "reason": None, "strangeness": 0.125}
    assert said(0.5, 0.125) == {"decision": "rejected", "reason": "unsure", "strangeness": 0.125}
    assert said(0.9, 0.5) == {"decision": "rejected", "reason": "stranger", "strangeness": 0.5}


def test_with_costs_the_label_is_the_cheapest(tmp_path: Path) -> None:
    costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (50.0, 50.0, 0.0))
    made = make_bundle(tmp_path / "bundle", costs=costs)
    data = report(made, outcome(0.875, 0.0625, 0.0625)).data
    assert (data.label, data.confidence) == ("red", 0.0625)


def test_sequence_counts_within_an_epoch_and_ids_differ(bundle: Bundle) -> None:
    numbers = Numbers()
    drafts = [report(bundle, outcome(1, 0, 0)) for _ in range(3)]
    events = [event for one in drafts for event in numbers.commit(one)]
    assert [event.sequence for event in events] == ["1", "2", "3"]
    assert [event.id for event in events] == [one.id for one in drafts]
    assert len({event.id for event in events}) == 3
    assert len({event.epoch for event in events}) == 1


@pytest.mark.parametrize(
    ("threshold", "confidence", "decision"),
    [(None, 0.4, "accepted"), (0.6, 0.59, "rejected"), (0.625, 0.625, "accepted"), (0.6, 0.9, "accepted")],
)
def test_below_the_threshold_is_rejected(
    tmp_path: Path, threshold: float | None, confidence: float, decision: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", reject_threshold=threshold)
    rest = (1 - confidence) / 2
    event = report(bundle, outcome(confidence, rest, rest))
    assert event.data.decision.value == decision
