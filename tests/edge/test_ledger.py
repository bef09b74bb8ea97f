from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge.errors import OutboxError, OutboxFullError
from edge.event import DROPPED, REFUSED, Draft, Event, Refused, draft
from edge.ledger import RETRY_S, Numbers, Recorder
from edge.outbox import Outbox, Policy
from tests.events import a_draft, bodies, open_outbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


class Failing:
    """The outbox's disk is full while `full` is set."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.full = False
        self.path, self.limit, self.stopped = outbox.path, outbox.limit, False

    def commit(self, drafts: Sequence[Draft[Any]]) -> tuple[Event[Any], ...]:
        if self.full:
            raise OutboxError("no room")
        return self._outbox.commit(drafts)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_numbers_in_memory_have_an_epoch_of_their_own() -> None:
    numbers = Numbers()
    events = [event for _ in range(2) for event in numbers.commit(a_draft())]
    assert [event.sequence for event in events] == ["1", "2"]
    assert {event.epoch for event in events} == {numbers.epoch} != {Numbers().epoch}
    assert numbers.flush() == ()


def test_who_fetches_is_woken_after_the_commit(path: Path) -> None:
    there: list[int] = []
    with open_outbox(path) as outbox:
        recorder = Recorder(outbox, "b", woken=lambda: there.append(len(bodies(path))))
        recorder.commit(a_draft())
    assert there == [1]


class TestFullDisk:
    @pytest.fixture
    def made(self, path: Path) -> Iterator[tuple[Recorder, Failing, Clock]]:
        with open_outbox(path) as outbox:
            failing, clock = Failing(outbox), Clock()
            yield Recorder(failing, "b", clock=clock, waiting=3), failing, clock  # type: ignore[arg-type]

    def test_what_waits_is_committed_in_order_when_there_is_room(
        self, made: tuple[Recorder, Failing, Clock], path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder, failing, clock = made
        recorder.commit(a_draft("a"))
        failing.full = True
        assert recorder.commit(a_draft("b")) == ()
        assert recorder.commit(a_draft("c")) == ()
        assert caplog.text.count("no room") == 1
        assert "label='b'" in caplog.text
        failing.full = False
        assert recorder.flush() == (), "not before its time"
        clock.now += RETRY_S
        assert [event.sequence for event in recorder.flush()] == ["2", "3"]
        assert recorder.flush() == ()
        assert [event["data"]["label"] for event in bodies(path)] == ["a", "b", "c"]
        assert "takes events again; 0 decisions were lost" in caplog.text

    def test_what_is_too_much_for_the_memory_is_counted_by_an_event(
        self, made: tuple[Recorder, Failing, Clock], path: Path
    ) -> None:
        recorder, failing, _ = made
        failing.full = True
        for number in range(8):
            recorder.commit(a_draft(str(number)))
        failing.full = False
        recorder.commit(a_draft("8"))
        first, *rest = bodies(path)
        assert (first["type"], first["sequence"]) == (DROPPED, "1")
        assert first["data"] == {"reason": "disk", "count": 5, "ranges": []}
        assert [event["data"]["label"] for event in rest] == ["5", "6", "7", "8"]

    def test_what_waits_at_the_end_is_tried_once_more_or_said(
        self, made: tuple[Recorder, Failing, Clock], path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder, failing, _ = made
        failing.full = True
        recorder.commit(a_draft())
        recorder.close()
        assert "1 decisions could not be written" in caplog.text
        failing.full = False
        recorder.close()
        assert len(bodies(path)) == 1


def test_others_may_post_and_the_loop_commits(path: Path) -> None:
    with open_outbox(path) as outbox:
        recorder = Recorder(outbox, "b")
        recorder.post(draft(Refused("webhook", 1, 7, "413"), REFUSED, "b"))
        assert [event.type for event in recorder.flush()] == [REFUSED]


def test_a_full_outbox_that_may_drop_nothing_ends_the_run(path: Path) -> None:
    with open_outbox(path, limit=5000, policy=Policy.STOP) as outbox:
        recorder = Recorder(outbox, "b")
        while not outbox.stopped:
            recorder.flush()
            recorder.commit(a_draft())
        with pytest.raises(OutboxFullError, match=r"outbox\.db is full: .* --outbox-full drop-oldest"):
            recorder.flush()
        assert bodies(path)[0]["sequence"] == "1"


def test_a_real_disk_that_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture, tiny_disk: Path) -> None:
    caplog.set_level(logging.ERROR)
    clock = Clock()
    with open_outbox(tiny_disk / "outbox.db") as outbox:
        recorder = Recorder(outbox, "b", clock=clock)
        done = len(recorder.commit(a_draft()))
        filler = tiny_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        count = 0
        while not caplog.records:
            count += 1
            done += len(recorder.commit(a_draft()))
            assert count < 5000
        assert done == count, "all but the last"
        filler.unlink()
        clock.now += RETRY_S
        assert len(recorder.flush()) == 1
    assert [int(event["sequence"]) for event in bodies(tiny_disk / "outbox.db")] == list(range(1, count + 2))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
