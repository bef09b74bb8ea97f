"""Drafts of events, and what several tests of their way share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.decision import Decision
from edge.event import DEPOSIT, BundleName, Deposit, Draft, Latency, draft
from edge.outbox import Outbox, OutboxSettings
from edge.pending import Pending


def deposit(label: str = "can", decision: Decision = Decision.ACCEPTED) -> Deposit:
    return Deposit(
        label=label,
        confidence=1.0,
        decision=decision,
        probabilities={"can": 1.0, "cup": 0.0},
        frame_age_ms=1.0,
        latency_ms=Latency(0.1, 0.2, 0.3),
        frames_seen=1,
        bundle=BundleName("tiny", "0" * 64),
        precision="fp32",
        backend="onnxruntime",
    )


def a_draft(label: str = "can") -> Draft[Deposit]:
    return draft(deposit(label), DEPOSIT, "b")


def open_outbox(path: Path, *sinks: str, **settings: Any) -> Outbox:
    clock = settings.pop("clock", None)
    more = {"clock": clock} if clock else {}
    return Outbox.open(OutboxSettings(path, **settings), sinks or ("mqtt",), "b", **more)


def bodies(path: Path, sink: str = "mqtt", after: int = 0) -> list[dict[str, Any]]:
    """Return what still waits."""
    with Pending(path, sink) as pending:
        return [json.loads(row.body) for row in pending.rows(after, 1_000_000)]


def eventually(true: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait for another process or thread, and return what was true."""
    import time

    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s")
        time.sleep(0.01)
    return found
