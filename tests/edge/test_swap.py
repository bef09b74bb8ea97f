"""A new bundle takes over between two deposits, or is refused and the old one goes on."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge import swap as swaps
from edge.backends import Options
from edge.bundle import Bundle
from edge.daemon import RunSettings, started
from edge.intake import IntakeSettings
from edge.model import Model
from edge.serving import Serving
from edge.swap import Swap, files
from tests.tiny import make_bundle

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 60


def link(path: Path, target: Path) -> None:
    """Point a link elsewhere, with no moment between."""
    new = path.with_name("new-link")
    new.symlink_to(target)
    new.replace(path)


def until(done: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + TIMEOUT
    while not (got := done()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return got


class Bin:
    """A bundle behind a link, what serves, and what was refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = make_bundle(folder / "first")
        self.path = folder / "current"
        self.path.symlink_to(self.first.folder)
        self.again = threading.Event()
        self.refused: list[str] = []
        options = Options(threads=1, cache=folder / "cache")
        serving = Serving(self.first, "onnxruntime", None, options, allow_failed=False)
        self.model = Model(self.first, serving.open())
        self.swap = Swap(self.path, files(self.path), serving, self.model, self.again, self.refused.append)

    def taken(self) -> Model:
        take = lambda: self.swap.poll(self.model)  # noqa: E731
        self.model = until(take, f"nothing took over; refused: {self.refused}")
        return self.model


@pytest.fixture
def bin_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bin]:
    monkeypatch.setattr(swaps, "LOOK_S", 0.05)
    made = Bin(tmp_path)
    with made.swap:
        yield made
    made.model.close()


def second(bin_: Bin, name: str = "second", **options: Any) -> Bundle:
    return make_bundle(bin_.folder / name, reject_threshold=0.9, **options)


def test_a_new_target_of_the_link_takes_over_and_back(bin_: Bin) -> None:
    other = second(bin_)
    for target in (other, bin_.first, other):
        link(bin_.path, target.folder)
        assert bin_.taken().bundle.manifest.version == target.manifest.version
    assert not bin_.refused


def test_what_gave_way_is_closed_beside_what_serves(bin_: Bin) -> None:
    before, closed = bin_.model.backend, []
    close = before.close
    before.close = lambda: (closed.append(threading.current_thread()), close())[1]  # type: ignore[method-assign, func-returns-value]
    link(bin_.path, second(bin_).folder)
    bin_.taken()
    until(lambda: closed, "it is still open")
    assert closed[0] is not threading.main_thread()


def test_what_does_not_close_does_not_end_the_thread(bin_: Bin, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("stuck")

    bin_.model.backend.close = fail  # type: ignore[method-assign]
    other = second(bin_)
    for target in (other, bin_.first):
        link(bin_.path, target.folder)
        assert bin_.taken().bundle.manifest.version == target.manifest.version
    assert "fault in binsight after a swap: RuntimeError: stuck" in caplog.text


def test_nothing_happens_while_nothing_changes(bin_: Bin) -> None:
    bin_.again.set()
    time.sleep(0.5)
    assert bin_.swap.poll(bin_.model) is None
    assert not bin_.refused


def test_what_is_half_copied_waits_until_it_is_whole(bin_: Bin, monkeypatch: pytest.MonkeyPatch) -> None:
    other = second(bin_)
    copy = bin_.folder / "copy"
    copy.mkdir()
    link(bin_.path, copy)
    monkeypatch.setattr(swaps, "LOOK_S", 0.2)
    for file in sorted(other.folder.iterdir()):  # slowly, but never resting for as long as a look
        shutil.copy(file, copy)
        time.sleep(0.1)
    assert bin_.taken().bundle.manifest.version == other.manifest.version
    assert not bin_.refused


def test_a_damaged_bundle_is_refused_once_and_again_when_asked(bin_: Bin) -> None:
    other = second(bin_)
    graph = other.folder / other.manifest.artifacts[0].file
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    link(bin_.path, other.folder)
    until(lambda: bin_.refused, "it was not refused")
    time.sleep(0.4)
    assert len(bin_.refused) == 1
    assert graph.name in bin_.refused[0]
    bin_.again.set()
    until(lambda: len(bin_.refused) == 2, "nobody looked")
    assert bin_.swap.poll(bin_.model) is None
    graph.write_bytes(whole)  # mended in its place
    assert bin_.taken().bundle.manifest.version == other.manifest.version


def test_a_bundle_that_vanishes_leaves_what_serves(bin_: Bin) -> None:
    link(bin_.path, bin_.folder / "nowhere")
    time.sleep(0.4)
    bin_.again.set()
    (why,) = until(lambda: bin_.refused, "nobody complained")
    assert "nowhere" in why
    assert bin_.swap.poll(bin_.model) is None


def test_a_slow_model_is_refused_and_closed(bin_: Bin, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    opened = Serving.open

    def slow(self: Serving) -> Any:
        backend = opened(self)
        infer, close = backend.infer, backend.close
        backend.infer = lambda batch: (time.sleep(0.1), infer(batch))[1]  # type: ignore[method-assign]
        backend.close = lambda: (closed.append("closed"), close())[1]  # type: ignore[method-assign, func-returns-value]
        return backend

    monkeypatch.setattr(Serving, "open", slow)
    link(bin_.path, second(bin_).folder)
    (why,) = until(lambda: bin_.refused, "it was taken")
    assert "at most 10 times as long" in why
    assert closed == ["closed"]
    assert bin_.swap.poll(bin_.model) is None


def test_a_model_that_answers_no_numbers_is_refused(bin_: Bin, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Serving.open

    def broken(self: Serving) -> Any:
        backend = opened(self)
        infer = backend.infer

        def nan(batch: Any) -> Any:
            answers = infer(batch)
            answers.probabilities[:] = float("nan")
            return answers

        backend.infer = nan  # type: ignore[method-assign]
        return backend

    monkeypatch.setattr(Serving, "open", broken)
    link(bin_.path, second(bin_).folder)
    (why,) = until(lambda: bin_.refused, "it was taken")
    assert "nan" in why.lower()


def test_the_newest_of_two_wins(bin_: Bin) -> None:
    one, two = second(bin_, "one"), make_bundle(bin_.folder / "two", reject_threshold=0.8)
    for other in (one, two):  # while a deposit is looked at, nobody polls
        link(bin_.path, other.folder)
        until(lambda: not bin_.swap._ready.empty(), "it is not ready")
        ready = bin_.swap._ready.get()
        bin_.swap._ready.put(ready)
        until(lambda version=other.manifest.version: _waiting(bin_) == version, "the newest is not there")
    assert bin_.taken().bundle.manifest.version == two.manifest.version
    assert bin_.swap.poll(bin_.model) is None


def test_what_was_to_come_does_not_where_the_link_leads_back_before(bin_: Bin) -> None:
    link(bin_.path, second(bin_).folder)
    until(lambda: not bin_.swap._ready.empty(), "it is not ready")  # in the middle of a deposit nobody polls
    link(bin_.path, bin_.first.folder)
    until(bin_.swap._ready.empty, "it would take over, and nothing names it")
    assert not bin_.refused


def test_what_came_while_the_first_was_proven_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swaps, "LOOK_S", 0.05)
    other = make_bundle(tmp_path / "second", reject_threshold=0.9)
    proven = Serving.open

    def slowly(self: Serving) -> Any:
        if self.bundle.manifest.version != other.manifest.version:
            link(tmp_path / "current", other.folder)
        return proven(self)

    monkeypatch.setattr(Serving, "open", slowly)
    (tmp_path / "current").symlink_to(make_bundle(tmp_path / "first").folder)
    settings = RunSettings(
        tmp_path / "current", IntakeSettings("demo://?deposits=1"), backend="onnxruntime",
        options=Options(threads=1, cache=tmp_path / "cache"),
    )  # fmt: skip
    with started(settings, threading.Event()) as loop:
        assert loop.successor is not None
        assert until(lambda: loop.successor(loop.model), "nobody saw it").bundle.manifest == other.manifest


def _waiting(bin_: Bin) -> str:
    try:
        candidate = bin_.swap._ready.get(timeout=1)
    except queue.Empty:  # it is between the old and the new
        return ""
    bin_.swap._ready.put(candidate)
    return candidate.model.bundle.manifest.version


def test_the_daemon_swaps_on_sighup_and_on_a_new_link(tmp_path: Path) -> None:
    first, other = make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", reject_threshold=0.9)
    current = tmp_path / "current"
    current.symlink_to(first.folder)
    events = tmp_path / "events.jsonl"
    command = [sys.executable, "-c", "from edge.cli.run import main; main()", str(current)]
    process = subprocess.Popen(
        [*command, "demo://?deposits=1000", "--realtime", "--events", str(events)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )

    def changes() -> list[dict[str, Any]]:
        lines = events.read_text().splitlines() if events.exists() else []
        said = [json.loads(line) for line in lines]
        assert [int(one["sequence"]) for one in said] == list(range(1, len(said) + 1))
        return [one["data"] for one in said if one["type"] == "binsight.bundle"]

    try:
        until(lambda: process.stderr and "source demo://" in process.stderr.readline(), "it did not start")
        link(current, other.folder)  # seen by itself
        (change,) = until(changes, "the new link was not followed")
        assert change["change"] == "swapped"
        assert change["before"]["version"] == first.manifest.version
        assert change["serves"]["version"] == other.manifest.version
        (other.folder / "golden.npz").unlink()
        process.send_signal(signal.SIGHUP)
        refused = until(lambda: changes()[1:], "SIGHUP was not heard")
        assert refused[0]["change"] == "refused"
        assert refused[0]["serves"]["version"] == other.manifest.version
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.communicate()
