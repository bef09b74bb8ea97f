from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edge.errors import OutboxError
from edge.event import DROPPED
from edge.outbox import Outbox, Policy, merge
from edge.outbox_file import SCHEMA
from edge.pending import Pending
from tests.events import a_draft, bodies, open_outbox

SMALL = 20_000
"""Bytes: room for about 30 events."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def sequences(path: Path, sink: str = "mqtt") -> list[int]:
    return [int(event["sequence"]) for event in bodies(path, sink)]


def fill(outbox: Outbox, count: int) -> list[Any]:
    return [event for _ in range(count) for event in outbox.commit([a_draft()])]


class TestNumbers:
    def test_they_go_on_over_restarts_within_the_epoch(self, path: Path) -> None:
        with open_outbox(path) as outbox:
            first = fill(outbox, 2)
        with open_outbox(path) as outbox:
            second = outbox.commit([a_draft(), a_draft()])
        assert [event.sequence for event in (*first, *second)] == ["1", "2", "3", "4"]
        assert len({event.epoch for event in (*first, *second)}) == 1
        assert [event["id"] for event in bodies(path)] == [event.id for event in (*first, *second)]

    def test_they_go_on_where_all_was_delivered(self, path: Path) -> None:
        with open_outbox(path) as outbox:
            fill(outbox, 3)
            with Pending(path, "mqtt") as pending:
                pending.acknowledge(3)
        assert not bodies_of(path)
        with open_outbox(path) as outbox:
            assert [event.sequence for event in fill(outbox, 1)] == ["4"]

    def test_what_a_sink_gets_is_what_was_returned(self, path: Path) -> None:
        with open_outbox(path) as outbox:
            (event,) = fill(outbox, 1)
        (body,) = bodies(path)
        assert (body["id"], body["sequence"], body["epoch"], body["specversion"]) == (
            event.id,
            "1",
            event.epoch,
            "1.0",
        )
        assert body["data"]["label"] == "can"

    def test_without_sinks_only_the_numbers_are_kept(self, path: Path) -> None:
        with Outbox.open(open_settings(path), (), "b") as outbox:
            assert [event.sequence for event in fill(outbox, 2)] == ["1", "2"]
            assert outbox.counters().depth == 0


def bodies_of(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT body FROM events").fetchall()
    finally:
        connection.close()


def open_settings(path: Path) -> Any:
    from edge.outbox import OutboxSettings

    return OutboxSettings(path)


class TestSinks:
    def test_a_row_goes_when_every_sink_has_it(self, path: Path) -> None:
        with open_outbox(path, "mqtt", "webhook") as outbox:
            fill(outbox, 5)
            with Pending(path, "mqtt") as fast, Pending(path, "webhook") as slow:
                fast.acknowledge(4)
                assert (len(bodies_of(path)), fast.acknowledged(), slow.acknowledged()) == (5, 4, 0)
                slow.acknowledge(2)
                assert len(bodies_of(path)) == 3
                fast.acknowledge(1)  # late news takes nothing back
                assert fast.acknowledged() == 4
        assert sequences(path, "webhook") == [3, 4, 5]

    def test_a_sink_that_is_gone_holds_nothing_back_and_a_new_one_gets_what_is_there(self, path: Path) -> None:
        with open_outbox(path, "mqtt", "webhook") as outbox:
            fill(outbox, 5)
            with Pending(path, "mqtt") as pending:
                pending.acknowledge(3)
        with open_outbox(path, "mqtt"):
            assert len(bodies_of(path)) == 2
        with open_outbox(path, "mqtt", "other"), Pending(path, "other") as pending:
            assert pending.acknowledged() == 3
            assert [row.sequence for row in pending.rows(pending.acknowledged(), 9)] == [4, 5]

    def test_rows_come_in_order_and_no_more_than_asked_for(self, path: Path) -> None:
        with open_outbox(path) as outbox, Pending(path, "mqtt") as pending:
            fill(outbox, 5)
            assert [row.sequence for row in pending.rows(1, 3)] == [2, 3, 4]
            assert pending.count(3) == 2

    def test_the_dead_are_kept_and_counted(self, path: Path) -> None:
        with open_outbox(path) as outbox, Pending(path, "mqtt") as pending:
            fill(outbox, 1)
            pending.set_aside(pending.rows(0, 1)[0], "413")
            pending.acknowledge(1)
            assert (outbox.counters().dead, outbox.counters().depth) == (1, 0)

    def test_a_file_that_is_no_outbox_is_left_closed(self, path: Path) -> None:
        sqlite3.connect(path).close()
        with pytest.raises(OutboxError):
            Pending(path, "mqtt")
        assert not [one for one in Path("/proc/self/fd").iterdir() if os.path.realpath(one) == str(path)]

    def test_an_unknown_sink(self, path: Path) -> None:
        with (
            open_outbox(path),
            Pending(path, "nobody") as pending,
            pytest.raises(OutboxError, match="no sink nobody"),
        ):
            pending.acknowledged()


class TestBound:
    def test_the_oldest_go_and_an_event_says_which(self, path: Path) -> None:
        with open_outbox(path, limit=SMALL) as outbox:
            events = fill(outbox, 100)
            counters = outbox.counters()
        assert [int(event.sequence) for event in events] == list(range(1, len(events) + 1))
        assert counters.bytes <= SMALL
        (told,) = (event["data"] for event in bodies(path) if event["type"] == DROPPED)
        gone = [number for first, last in told["ranges"] for number in range(first, last + 1)]
        there = {int(event["sequence"]) for event in bodies(path)}
        assert sorted([*gone, *there]) == list(range(1, len(events) + 1)), "what is not there is told of, once"
        assert (told["reason"], told["count"], counters.dropped) == ("full", len(gone), len(gone))

    def test_a_year_without_a_network_leaves_few_notices(self, path: Path) -> None:
        with open_outbox(path, limit=SMALL) as outbox:
            fill(outbox, 400)
            assert outbox.counters().bytes <= SMALL
        (told,) = (event["data"] for event in bodies(path) if event["type"] == DROPPED)
        assert len(told["ranges"]) < 20
        assert told["ranges"][0][0] == 1

    def test_what_was_lost_to_the_disk_is_not_forgotten_with_its_notice(self, path: Path) -> None:
        from edge.event import Dropped, draft

        with open_outbox(path, limit=SMALL) as outbox:
            outbox.commit([draft(Dropped("disk", 7), DROPPED, "b")])
            fill(outbox, 200)
        told = [event["data"] for event in bodies(path) if event["type"] == DROPPED]
        numbers = sum(last - first + 1 for data in told for first, last in data["ranges"])
        assert sum(data["count"] for data in told) == numbers + 7

    def test_stop_lets_nothing_go(self, path: Path) -> None:
        with open_outbox(path, limit=SMALL, policy=Policy.STOP) as outbox:
            while not outbox.stopped:
                fill(outbox, 1)
            fill(outbox, 1)  # what was decided meanwhile is kept all the same
            assert sequences(path)[0] == 1
            stop = threading.Event()
            waiter = threading.Timer(0.2, lambda: acknowledge_all(path))
            waiter.start()
            outbox.wait_for_room(stop, each=0.01)
            waiter.join()
            assert not outbox.stopped

    def test_the_file_stays_near_its_bound(self, path: Path) -> None:
        with open_outbox(path, limit=1 << 20) as outbox:
            for _ in range(60):
                outbox.commit([a_draft()] * 100)
        assert path.stat().st_size < 1.34 * (1 << 20)

    @pytest.mark.parametrize(
        ("ranges", "merged"),
        [
            ([], ()),
            ([(1, 2), (3, 4)], ((1, 4),)),
            ([(5, 6), (1, 2)], ((1, 2), (5, 6))),
            ([(1, 9), (2, 3)], ((1, 9),)),
        ],
    )
    def test_ranges_that_touch_are_one(self, ranges: list[tuple[int, int]], merged: object) -> None:
        assert merge(ranges) == merged


def acknowledge_all(path: Path) -> None:
    with Pending(path, "mqtt") as pending:
        pending.acknowledge(10**6)


def test_ages_are_of_the_monotonic_clock_and_start_anew_with_a_boot(path: Path) -> None:
    now = [100.0]
    with open_outbox(path, clock=lambda: now[0]) as outbox:
        fill(outbox, 1)
        now[0] = 160.0
        fill(outbox, 1)
        assert outbox.counters().oldest_s == 60.0
        outbox._db.execute("UPDATE state SET boot = 'another'")
    with open_outbox(path) as outbox:
        assert outbox.counters().oldest_s < 5.0


class TestTrouble:
    def test_a_second_daemon_is_told_who_has_it(self, path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from tests.events import open_outbox\n"
            f"open_outbox(Path({str(path)!r}))"
        )
        with open_outbox(path):
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"{path} is the outbox of another edge-run that is running, process {os.getpid()};" in done.stderr
        with open_outbox(path):
            pass  # its lock went with it

    @pytest.mark.parametrize("damage", ["header", "middle", "cut"])
    def test_a_broken_file_is_set_aside_and_a_new_one_begun(
        self, path: Path, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with open_outbox(path) as outbox:
            fill(outbox, 50)
            epoch = outbox.epoch
        data = bytearray(path.read_bytes())
        if damage == "header":
            data[:100] = os.urandom(100)
        elif damage == "middle":
            data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
        else:
            del data[len(data) // 3 :]
        path.write_bytes(data)
        with open_outbox(path) as outbox:
            assert outbox.epoch != epoch
            assert fill(outbox, 1)[0].sequence == "1"
        (aside,) = path.parent.glob("outbox.db.broken-*")
        assert aside.read_bytes() == bytes(data)
        assert aside.name in caplog.text

    def test_twice_in_a_second_keeps_both(self, path: Path) -> None:
        for _ in range(3):
            path.write_bytes(b"no database at all" * 99)
            open_outbox(path).close()
        assert len([*path.parent.glob("*.broken-*")]) == 3

    def test_another_programs_database_is_left_alone(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE theirs (a)")
        connection.close()
        with pytest.raises(OutboxError, match="another program's database; name another file"):
            open_outbox(path)
        assert not [*path.parent.glob("*.broken-*")]

    def test_a_newer_schema_is_left_alone(self, path: Path) -> None:
        open_outbox(path).close()
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        connection.close()
        with pytest.raises(OutboxError, match=f"schema {SCHEMA + 1}, and this binsight has {SCHEMA}"):
            open_outbox(path)

    def test_a_place_that_can_not_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutboxError, match="--outbox"):
            open_outbox(tmp_path / "file" / "outbox.db")

    def test_no_number_is_given_where_nothing_could_be_written(self, path: Path) -> None:
        with open_outbox(path) as outbox:
            fill(outbox, 1)
            outbox._db.execute(f"PRAGMA max_page_count = {outbox._db.execute('PRAGMA page_count').fetchone()[0]}")
            with pytest.raises(OutboxError, match="full"):
                outbox.commit([a_draft("x" * 100_000)])
            outbox._db.execute("PRAGMA max_page_count = 100000")
            assert fill(outbox, 1)[0].sequence == "2"
        assert sequences(path) == [1, 2]


FORKS = """
import os, sys
from pathlib import Path
from tests.events import a_draft, open_outbox
for _ in sys.stdin:
    if os.fork():
        os.wait()
        print("over", flush=True)
        continue
    print(os.getpid(), flush=True)
    with open_outbox(Path(sys.argv[1])) as outbox:
        while True:
            for event in outbox.commit([a_draft()]):
                print(event.sequence, event.id, flush=True)
"""
"""A line on stdin begins a process that commits for ever, and says what it has committed."""


def test_twenty_kills_lose_nothing_that_was_committed(path: Path) -> None:
    rng = random.Random(7)
    said: dict[int, str] = {}
    with subprocess.Popen(
        [sys.executable, "-c", FORKS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forks:
        assert forks.stdin
        assert forks.stdout
        for _ in range(20):
            forks.stdin.write("\n")
            forks.stdin.flush()
            process = int(forks.stdout.readline())
            lines = [forks.stdout.readline() for _ in range(rng.randint(1, 12))]
            os.kill(process, signal.SIGKILL)
            while not (line := forks.stdout.readline()).endswith("over\n"):  # the last may be cut short
                lines.append(line)
            said.update({int(number): id_ for number, id_ in (line.split() for line in lines)})
        forks.stdin.close()
    there = {int(event["sequence"]): event["id"] for event in bodies(path)}
    assert len(said) >= 20
    assert {number: there.get(number) for number in said} == said
    assert sorted(there) == list(range(1, len(there) + 1))
    assert len(set(there.values())) == len(there)


def test_a_thread_that_acknowledges_and_one_that_commits(path: Path) -> None:
    seen: list[int] = []

    def fetch() -> None:
        with Pending(path, "mqtt") as pending:
            at = 0
            while at < 200:
                rows = pending.rows(at, 7)
                seen.extend(row.sequence for row in rows)
                at = rows[-1].sequence if rows else at
                pending.acknowledge(at)

    with open_outbox(path) as outbox:
        fetcher = threading.Thread(target=fetch)
        fetcher.start()
        fill(outbox, 200)
        fetcher.join(30)
        assert outbox.counters().depth == 0
    assert seen == list(range(1, 201))
