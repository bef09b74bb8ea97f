"""The consumer of docs/events.md, as it stands there."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.event import DROPPED
from edge.ledger import Recorder
from edge.sinks.mqtt_settings import Acknowledge
from tests.broker import Broker, Listener
from tests.edge.test_mqtt import delivering, publish, settings
from tests.events import eventually, open_outbox

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "events.md"


def program() -> str:
    text = GUIDE.read_text()
    return text.partition("<!-- consumer -->\n```python\n")[2].partition("```")[0]


@contextmanager
def consuming(folder: Path, port: int, *options: str) -> Iterator[Path]:
    """Run it, and give the file that it writes, once it hears what is published."""
    (folder / "consumer.py").write_text(program())
    before = subscriptions(folder)
    command = [sys.executable, folder / "consumer.py", "127.0.0.1", str(port), folder / "events.db", *options]
    with (folder / "said").open("a") as said, subprocess.Popen(command, stderr=said) as process:
        try:
            eventually(lambda: subscriptions(folder) > before)
            yield folder / "events.db"
        finally:
            process.kill()
    assert (folder / "said").read_text() == ""


def subscriptions(folder: Path) -> int:
    """Count how often the consumer has subscribed: what is sent before is not for one who adopts."""
    return (folder / "broker" / "log").read_text().count(": consumer ")


def stored(file: Path) -> list[dict[str, Any]]:
    connection = sqlite3.connect(file)
    try:
        rows = connection.execute("SELECT body FROM events ORDER BY epoch, sequence").fetchall()
    finally:
        connection.close()
    return [json.loads(body) for (body,) in rows]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", "log_type subscribe") as broker:
        yield broker


def test_it_is_of_a_size_one_can_read() -> None:
    assert 30 <= len([line for line in program().splitlines() if line.strip()]) <= 45


def test_it_stores_each_event_once_and_lets_the_bin_forget_it(tmp_path: Path, broker: Broker) -> None:
    sink = settings(broker, acknowledge=Acknowledge.APPLICATION, patience=1.0)
    with open_outbox(tmp_path / "outbox.db") as outbox, delivering(outbox, sink) as recorder:
        with consuming(tmp_path, broker.port) as file:
            publish(recorder, 20)
            eventually(lambda: outbox.counters().depth == 0, 30)
        publish(recorder, 20)  # while it is away
        with consuming(tmp_path, broker.port):
            publish(recorder, 20)
            eventually(lambda: outbox.counters().depth == 0, 30)
    assert [int(event["sequence"]) for event in stored(file)] == list(range(1, 61))


def test_it_gets_over_numbers_that_were_dropped(tmp_path: Path, broker: Broker) -> None:
    sink = settings(broker, acknowledge=Acknowledge.APPLICATION, patience=1.0, window=4)
    with open_outbox(tmp_path / "outbox.db", limit=20_000) as outbox:
        publish(Recorder(outbox, "b"), 60)
        last = outbox.counters().last
        with consuming(tmp_path, broker.port) as file, delivering(outbox, sink):
            eventually(lambda: outbox.counters().depth == 0, 30)
    events = stored(file)
    there = {int(event["sequence"]) for event in events}
    (notice,) = (event for event in events if event["type"] == DROPPED)
    gone = {number for first, end in notice["data"]["ranges"] for number in range(first, end + 1)}
    assert there | gone == {*range(1, last + 1)}
    assert not there & gone


def test_with_a_new_file_it_can_adopt_a_bin(tmp_path: Path, broker: Broker) -> None:
    sink = settings(broker, acknowledge=Acknowledge.APPLICATION, patience=1.0)
    with open_outbox(tmp_path / "outbox.db") as outbox, delivering(outbox, sink) as recorder:
        publish(recorder, 5)
        with Listener(broker.port) as listener:
            listener.publish("binsight/b/ack", json.dumps({"epoch": outbox.epoch, "sequence": 5}))
        eventually(lambda: outbox.counters().depth == 0)
        with consuming(tmp_path, broker.port, "adopt") as file:
            publish(recorder, 2)
            eventually(lambda: outbox.counters().depth == 0, 30)
    assert [event["sequence"] for event in stored(file)] == ["6", "7"]
