"""What was committed and what arrived, and what all proofs of that do to a broker."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.record import Row
from edge.delivery import Delivery
from edge.sinks.mqtt import Mqtt
from edge.sinks.mqtt_settings import Acknowledge, MqttSettings
from tests.broker import Broker, Listener
from tests.events import open_outbox

PATIENCE_S = 120.0
"""For what waits to be delivered at the end."""


@dataclass
class Tally:
    """What was committed, and what arrived: of one outbox, so that a number stands for one event."""

    committed: dict[int, str] = field(default_factory=dict)
    """Number to id."""
    arrived: list[tuple[int, str]] = field(default_factory=list)
    last: int = 0
    """The outbox's newest number: all up to it were committed, whoever heard of it. 0: nobody asked."""

    @property
    def count(self) -> int:
        """How many were committed."""
        return max(self.last, len(self.committed))

    def lost(self) -> int:
        there = {*self.arrived}
        numbers = {number for number, _ in there}
        unheard = sum(number not in numbers for number in range(1, self.last + 1) if number not in self.committed)
        return unheard + sum((number, id_) not in there for number, id_ in self.committed.items())

    def twice(self) -> int:
        return len(self.arrived) - len({*self.arrived})

    def strange(self) -> int:
        """Numbers that came with two ids."""
        ids: dict[int, set[str]] = {}
        for number, id_ in self.arrived:
            ids.setdefault(number, set()).add(id_)
        return sum(len(known) > 1 for known in ids.values())

    def rows(self, what: str, target: str) -> list[Row]:
        """Return the figures for docs/measurements.md."""
        return [
            (f"{what}: committed events lost", f"{self.lost()} of {self.count}", target),
            (f"{what}: came twice", f"{self.twice() / max(1, len(self.arrived)):.1%}", ""),
            (f"{what}: numbers with two ids", str(self.strange()), "0"),
        ]


@contextmanager
def killed_meanwhile(broker: Broker, number: int, at: set[int], rng: random.Random, most: float) -> Iterator[None]:
    """Kill the broker within `most` seconds and start it again, where `number` is one of `at`."""
    killer = threading.Thread(target=_restart, args=(broker, rng.uniform(0, most)))
    if number in at:
        killer.start()
    yield
    if number in at:
        killer.join()


def drain(path: Path, port: int, acknowledge: str) -> int:
    """Deliver what waits, in this process, and return the newest number."""
    settings = MqttSettings("127.0.0.1", port, acknowledge=Acknowledge(acknowledge), patience=5.0)
    with open_outbox(path) as outbox:
        delivery = Delivery(Mqtt(settings, "b"), path, "b", print)
        delivery.start()
        end = time.monotonic() + PATIENCE_S
        while outbox.counters().depth and time.monotonic() < end:
            time.sleep(0.1)
        delivery.close()
        return outbox.counters().last


def heard(listener: Listener) -> list[tuple[int, str]]:
    """Return all that came, once the broker holds nothing any more."""
    last = -1
    while last < len(listener.messages):
        last = len(listener.messages)
        time.sleep(2)
    return [(int(event["sequence"]), event["id"]) for event in listener.events()]


def _restart(broker: Broker, after: float) -> None:
    time.sleep(after)
    broker.end()
    broker.start()
