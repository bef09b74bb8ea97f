"""What teaches is kept, within its quota, without holding up the bin."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edge import keep, shelf
from edge.cli.keep import keep_options, take_keep
from edge.decision import Decision
from edge.errors import UsageError
from edge.event import DEPOSIT, Deposit, Draft, draft
from edge.keep import Keeper, KeepSettings, why
from edge.kept import UNSORTED, Name, Why, guess_of, name_of
from edge.preprocess import decode
from edge.shelf import BLOCK, Shelf
from tests.events import deposit, eventually
from tests.made import draw

PICTURE = draw("disc", 1)
EVERYTHING = 1.0


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a test may be nearly full."""
    monkeypatch.setattr(shelf, "SPARE", 0)


def made(*shares: float, decision: Decision = Decision.ACCEPTED, id_: str = "") -> Draft[Deposit]:
    data = replace(
        deposit("can", decision),
        confidence=shares[0],
        probabilities=dict(zip(("can", "cup", "jar"), shares, strict=False)),
    )
    result = draft(data, DEPOSIT, "b")
    return replace(result, id=id_) if id_ else result


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def ids(count: int) -> list[str]:
    rng = np.random.default_rng(1)
    return [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(count)]


class TestChoice:
    SETTINGS = KeepSettings(Path(), random=0.0, margin=0.2)

    @pytest.mark.parametrize(
        ("shares", "decision", "expected"),
        [
            ((0.9, 0.1, 0.0), Decision.ACCEPTED, None),
            ((0.55, 0.34, 0.11), Decision.ACCEPTED, None),
            ((0.55, 0.36, 0.09), Decision.ACCEPTED, Why.LOW_MARGIN),
            ((0.1, 0.55, 0.36), Decision.ACCEPTED, Why.LOW_MARGIN),
            ((0.99, 0.01, 0.0), Decision.REJECTED, Why.REJECTED),
            ((0.5, 0.5, 0.0), Decision.REJECTED, Why.REJECTED),
            ((1.0,), Decision.ACCEPTED, None),
        ],
    )
    def test_the_reason(self, shares: tuple[float, ...], decision: Decision, expected: Why | None) -> None:
        assert why(made(*shares, decision=decision), self.SETTINGS) is expected

    def test_chance_is_fair_to_all_and_can_be_repeated(self) -> None:
        settings = replace(self.SETTINGS, random=0.05)
        for decision in Decision:
            drafts = [made(0.9, 0.1, decision=decision, id_=id_) for id_ in ids(4000)]
            chosen = [one.id for one in drafts if why(one, settings) is Why.RANDOM]
            assert 150 < len(chosen) < 250
            assert chosen == [one.id for one in reversed(drafts) if why(one, settings) is Why.RANDOM][::-1]
        more = {one.id for one in drafts if why(one, replace(settings, random=0.2)) is Why.RANDOM}
        assert {*chosen} < more


class TestKeeper:
    def test_a_picture_with_its_event_beside_it(self, tmp_path: Path) -> None:
        one = made(0.4, 0.35, 0.25, decision=Decision.REJECTED)
        image = PICTURE.copy()
        with closing(Keeper(KeepSettings(tmp_path / "kept", random=0.0))) as keeper:
            assert keeper.decided(one, image) == ()
            assert keeper.decided(made(0.9, 0.1), image) == ()
            image[:] = 0  # the source's own, and it goes on
        stem = tmp_path / "kept" / UNSORTED / "can" / f"00000001-rejected-{one.id}"
        assert files(tmp_path) == [f"{stem.name}.jpg", f"{stem.name}.json"]
        back = decode(stem.with_suffix(".jpg").read_bytes())
        assert np.abs(back.astype(int) - PICTURE).mean() < 6
        event = json.loads(stem.with_suffix(".json").read_text())
        assert (event["id"], event["type"], event["kept"]) == (one.id, DEPOSIT, "rejected")
        assert event["data"]["probabilities"] == one.data.probabilities
        assert (event["data"]["decision"], "sequence" in event) == ("rejected", False)
        assert guess_of(stem.with_suffix(".json")) == "can"
        for folder in (tmp_path / "kept", tmp_path / "kept" / UNSORTED):
            assert folder.stat().st_mode & 0o777 == 0o700

    def test_a_disk_that_does_not_answer_holds_up_nobody(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        go = threading.Event()
        monkeypatch.setattr(Shelf, "add", lambda *_: go.wait(20))
        keeper = Keeper(KeepSettings(tmp_path, random=EVERYTHING))
        begun = time.monotonic()
        for _ in range(keep.WAITING + 10):
            keeper.take(made(0.9, 0.1), PICTURE)
        assert time.monotonic() - begun < 5
        assert keeper._waiting.qsize() == keep.WAITING
        go.set()
        keeper.close()
        assert not keeper._thread.is_alive()
        assert " deposits were not kept in " in caplog.text

    def test_a_full_disk_is_said_once_and_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        now, full, tries = [0.0], [True], list[bytes]()
        real = shelf.replace_bytes

        def write(path: Path, data: bytes) -> None:
            tries.append(data)
            if full[0] and path.suffix == ".jpg":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            real(path, data)

        monkeypatch.setattr(shelf, "replace_bytes", write)
        with closing(Keeper(KeepSettings(tmp_path, random=EVERYTHING), clock=lambda: now[0])) as keeper:
            for failed, seconds in ((0.0, 0.0), (0.0, 1.0), (100.0, 100.0), (100.0, 101.0)):
                now[0] = seconds
                keeper.take(made(0.9, 0.1), PICTURE)
                eventually(lambda: keeper._failed == failed)  # noqa: B023
                assert len(tries) == (2 if seconds < 100 else 4)
            assert not files(tmp_path)  # an event without its picture is of no use
            full[0], now[0] = False, 3 * keep.RETRY_S
            keeper.take(made(0.9, 0.1), PICTURE)
        assert len(files(tmp_path)) == 2
        said = [record.message for record in caplog.records]
        assert [message.partition(" in ")[0] for message in said] == [
            "deposits can't be kept",
            "deposits are kept",
        ]
        assert "No space left on device; the bin goes on" in said[0]
        assert said[1].endswith("again; 4 were missed")


def put(place: Shelf, reason: Why, id_: str, size: int = 100, guess: str = "can") -> None:
    place.add(reason, guess, id_, b"x" * size, b"{}")


class TestShelf:
    def test_the_oldest_of_the_commonest_goes_first_and_a_restart_goes_on(self, tmp_path: Path) -> None:
        quota, known = 10 * 2 * BLOCK, ids(30)
        order = [Why.RANDOM, *[Why.REJECTED] * 6, *[Why.LOW_MARGIN] * 3]
        with closing(Shelf(tmp_path, quota)) as place:
            for reason, id_ in zip(order, known, strict=False):
                put(place, reason, id_)
        for number, id_ in enumerate(known[10:16]):
            with closing(Shelf(tmp_path, quota)) as place:  # a restart each time
                assert place.used <= quota
                put(place, Why.LOW_MARGIN, id_)
                if number == 2:
                    assert place.counts() == {Why.RANDOM: 1, Why.REJECTED: 4, Why.LOW_MARGIN: 5}
        names = [name for file in files(tmp_path) if file.endswith("jpg") and (name := name_of(file[:-4]))]
        assert Counter(name.why for name in names) == {Why.RANDOM: 1, Why.REJECTED: 4, Why.LOW_MARGIN: 5}
        assert [name.id for name in names if name.why is Why.REJECTED] == known[3:7]
        assert [name.id for name in names if name.why is Why.LOW_MARGIN] == known[11:16]
        assert len({name.number for name in names}) == 10
        assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= quota

    def test_only_files_of_our_own_are_taken_away(self, tmp_path: Path) -> None:
        known = ids(9)
        mine = Name(7, Why.REJECTED, known[0]).stem
        theirs = (
            f"can/{mine}.jpg", "can/1.jpg", f"{UNSORTED}/1.jpg", f"{UNSORTED}/can/00000001-rejected-7.jpg",
            f"{UNSORTED}/can/{mine}.txt", f"{UNSORTED}/can/{mine}x.jpg", f"{UNSORTED}/can/deep/{mine}.jpg",
        )  # fmt: skip
        for name in theirs:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x" * 3 * BLOCK)
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / f"{mine}.jpg").write_bytes(b"x")
        (tmp_path / UNSORTED / "linked").symlink_to(outside)
        (tmp_path / UNSORTED / "can" / f"{Name(3, Why.RANDOM, known[1]).stem}.jpg").symlink_to(
            outside / f"{mine}.jpg"
        )
        before = {str(path) for path in tmp_path.rglob("*")}
        with closing(Shelf(tmp_path, 2 * BLOCK)) as place:
            assert place.used == 0
            for id_ in known:
                put(place, Why.REJECTED, id_)
        after = {str(path) for path in tmp_path.rglob("*")}
        assert before <= after
        assert len(after - before) == 3  # one pair and the lock

    def test_what_a_person_moved_makes_room(self, tmp_path: Path) -> None:
        now, known = [0.0], ids(6)
        with closing(Shelf(tmp_path, 4 * 2 * BLOCK, clock=lambda: now[0])) as place:
            for id_ in known[:4]:
                put(place, Why.REJECTED, id_)
            for path in sorted((tmp_path / UNSORTED / "can").iterdir())[-4:]:
                (tmp_path / "can").mkdir(exist_ok=True)
                path.rename(tmp_path / "can" / path.name)
            now[0] = shelf.RESCAN_S + 1
            put(place, Why.REJECTED, known[4])
            put(place, Why.REJECTED, known[5])
            assert place.used == 4 * 2 * BLOCK
        assert len(files(tmp_path / UNSORTED)) == 8
        assert len(files(tmp_path / "can")) == 4

    def test_what_a_kill_leaves_is_whole_or_removed(self, tmp_path: Path) -> None:
        code = (
            "import sys, uuid; from pathlib import Path; from edge import shelf; from edge.kept import Why\n"
            "shelf.SPARE = 0; place = shelf.Shelf(Path(sys.argv[1]), 1 << 20); print(flush=True)\n"
            "while True: place.add(Why.RANDOM, 'can', str(uuid.uuid4()), b'x' * 50_000, b'{}')"
        )
        for seconds in (0.0, 0.2):
            with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as child:
                try:
                    assert child.stdout
                    child.stdout.readline()
                    with pytest.raises(UsageError, match="in use by another edge-run"):
                        Shelf(tmp_path, 1 << 20)
                    time.sleep(seconds)
                finally:
                    child.kill()
        torn = tmp_path / UNSORTED / "can" / f".{Name(1, Why.RANDOM, ids(1)[0]).stem}-a1_b2c3d.jpg"
        torn.write_bytes(b"half")
        with closing(Shelf(tmp_path, 1 << 20)) as place:
            assert not torn.exists()
            assert place.used <= 1 << 20
            pictures = [*tmp_path.rglob("*.jpg")]
            assert pictures
            assert {path.stat().st_size for path in pictures} == {50_000}
            assert all(path.with_suffix(".json").is_file() for path in pictures)

    def test_what_can_not_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match=r"--keep .*/file can't be written: File exists"):
            Shelf(tmp_path / "file", 1 << 20)
        with closing(Shelf(tmp_path / "kept", BLOCK)) as place:
            with pytest.raises(OSError, match="more than the quota"):
                put(place, Why.RANDOM, ids(1)[0])
            place._quota = 1 << 30
            monkeypatch.setattr(shelf, "SPARE", shutil.disk_usage(tmp_path).total)
            with pytest.raises(OSError, match="MB are free on the disk"):
                put(place, Why.RANDOM, ids(1)[0])
            monkeypatch.setattr(shelf, "SPARE", 0)
            for guess in ("a/../../../b", "..", ".", "", "ä" * 300, "a\0b"):
                put(place, Why.RANDOM, str(uuid.uuid4()), guess=guess)
        assert files(tmp_path) == sorted(["file", *files(tmp_path / "kept" / UNSORTED)])
        assert len(files(tmp_path)) == 1 + 2 * 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], None),
        (["--keep-margin", "0.5"], None),
        (["--keep", "k"], KeepSettings(Path("k"))),
        (
            ["--keep", "k", "--keep-quota", "7", "--keep-random", "0", "--keep-margin", "0.3"],
            KeepSettings(Path("k"), 7 << 20, 0.0, 0.3),
        ),
        (["--keep", "k", "--keep-quota", "0"], "0 is not in the range x>=1"),
        (["--keep", "k", "--keep-random", "1.2"], "1.2 is not in the range"),
    ],
)
def test_options(arguments: list[str], expected: KeepSettings | str | None) -> None:
    taken = []

    @click.command
    @keep_options
    def run(**values: Any) -> None:
        taken.append(take_keep(values))
        assert not values

    done = CliRunner().invoke(run, arguments)
    if isinstance(expected, str):
        assert (done.exit_code, expected in done.output) == (2, True)
    else:
        assert (done.exit_code, taken) == (0, [expected]), done.output
