from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from edge.errors import SinkError
from edge.event import Deposit, Event, to_line
from edge.sinks import Rotation, jsonl, open_sink
from tests.events import deposit


def event(sequence: int) -> Event[Deposit]:
    return Event(
        source="/bins/b", id="i", time="2026-01-01T00:00:00Z", sequence=str(sequence), epoch="e", data=deposit()
    )


def sequences(file: Path) -> list[str]:
    return [json.loads(line)["sequence"] for line in file.read_text().splitlines()]


def test_each_event_is_on_the_disk_when_write_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    file = tmp_path / "events.jsonl"
    with open_sink(str(file)) as sink:
        synced.clear()  # making the file's name durable
        for number in (1, 2):
            sink.write(event(number))
            assert len(synced) == number
            assert len(sequences(file)) == number


def test_a_file_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    for number in (1, 2):
        with open_sink(str(file)) as sink:
            sink.write(event(number))
    assert sequences(file) == ["1", "2"]


def test_a_torn_last_line_costs_no_event(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"sequence": "1"}\n{"seque')
    with open_sink(str(file)) as sink:
        sink.write(event(2))
    lines = file.read_text().splitlines()
    assert lines[:2] == ['{"sequence": "1"}', '{"seque']
    assert json.loads(lines[2])["sequence"] == "2"


def test_a_full_disk_is_one_sentence() -> None:
    with open_sink("/dev/full") as sink, pytest.raises(SinkError, match=r"event 7 .* /dev/full: No space left"):
        sink.write(event(7))


def test_what_a_full_disk_took_of_a_line_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room, write = [1000], os.write

    def short(handle: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= (written := write(handle, bytes(data[: room[0]])))
        return written

    file = tmp_path / "events.jsonl"
    with open_sink(str(file), Rotation(5000)) as sink:
        monkeypatch.setattr(os, "write", short)
        sink.write(event(1))
        for number in (2, 3):
            with pytest.raises(SinkError, match=f"event {number} can't be written to .*No space left"):
                sink.write(event(number))
        room[0] = 10_000
        sink.write(event(4))
    assert sequences(file) == ["1", "4"]


def test_a_pipe_is_no_file_and_still_serves(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with open_sink(str(pipe)) as sink:
            sink.write(event(1))
        assert json.loads(os.read(reader, 65536))["sequence"] == "1"
    finally:
        os.close(reader)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="can't be opened for events: No such file or directory"):
        open_sink(str(tmp_path / "nowhere" / "events.jsonl"))


def test_an_unknown_scheme_is_no_file_name() -> None:
    with pytest.raises(SinkError, match="no sink for mqtt://"):
        open_sink("mqtt://broker/bins")


def test_stdout_is_left_open(capfd: pytest.CaptureFixture[str]) -> None:
    with open_sink("-") as sink:
        sink.write(event(1))
    assert json.loads(capfd.readouterr().out)["sequence"] == "1"
    os.fstat(1)


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "events.jsonl"))
    sink.close()
    sink.close()


class TestRotation:
    def test_full_files_are_put_by_and_the_oldest_go(self, tmp_path: Path) -> None:
        file = tmp_path / "events.jsonl"
        size = len(to_line(event(1)))
        with open_sink(str(file), Rotation(3 * size, files=2)) as sink:
            for number in range(1, 9):
                sink.write(event(number))
        with open_sink(str(file), Rotation(3 * size, files=2)) as sink:  # it goes on where it was
            for number in (9, 10):
                sink.write(event(number % 10))
        names = ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert [sequences(tmp_path / name) for name in names] == [["0"], ["7", "8", "9"], ["4", "5", "6"]]

    def test_one_event_that_is_too_large_gets_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "events.jsonl"
        with open_sink(str(file), Rotation(10)) as sink:
            for number in (1, 2):
                sink.write(event(number))
        assert (sequences(file), sequences(tmp_path / "events.jsonl.1")) == (["2"], ["1"])

    def test_a_file_that_can_not_be_put_by_grows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(13, "Permission denied")

        file = tmp_path / "events.jsonl"
        with open_sink(str(file), Rotation(10)) as sink:
            monkeypatch.setattr(os, "replace", refuse)
            for number in (1, 2):
                sink.write(event(number))
        assert sequences(file) == ["1", "2"]
        assert "can't be rotated: Permission denied; it grows" in caplog.text

    def test_a_disk_without_room_for_a_new_one_costs_no_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        file, size = tmp_path / "events.jsonl", len(to_line(event(10)))
        names = ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
        with open_sink(str(file), Rotation(3 * size, files=2)) as sink:
            for number in range(10, 19):
                sink.write(event(number))
            with monkeypatch.context() as full:
                full.setattr(jsonl, "_open", refuse)
                for number in (19, 20):
                    sink.write(event(number))
            assert [len(sequences(tmp_path / name)) for name in names] == [5, 3, 3]
            for number in (21, 22):
                sink.write(event(number))
        assert [sequences(tmp_path / name)[0] for name in names] == ["22", "16", "13"]
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert caplog.text.count("can't be rotated: No space left on device; it grows") == 1
