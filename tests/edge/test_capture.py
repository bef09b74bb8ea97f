"""A live camera whose real child process fails in every way."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge.errors import SourceError
from edge.sources import Frame, Gap
from edge.sources import capture_child as child
from edge.sources.capture import Captured, _secrets, open_captured
from edge.sources.device import Address, CameraSettings, Mains, Shot
from edge.sources.patience import (
    GRACE_S,
    OPENING_S,
    QUICK_S,
    QUICK_WAIT_S,
    SETTLED_S,
    SHORT_OPENING_S,
    SILENCE_S,
    SLOW_WAIT_S,
    STARTING_S,
    Patience,
)
from edge.sources.ring import Ring
from tests.edge.fake_camera import COMMAND, ROOT, SECRET, Play, number_of, openings, write_script

SOON = 30.0
"""Seconds that a busy machine may need for what takes a moment."""

SLACK = 2.0
"""Seconds that it may need on top of a bound."""


class Eager(Patience):
    """Tries again at once, and waits for an opening no longer than it is told."""

    limit = OPENING_S

    def lost(self, time: float, newest: float, told: float = 0.0) -> bool:
        begins = super().lost(time, newest, told)
        self.due = time
        return begins

    @property
    def opening(self) -> float:
        return self.limit


def brief(seconds: float) -> Eager:
    patience = Eager()
    patience.limit = seconds
    return patience


def open_fake(
    folder: Path, *plays: Play, patience: Patience | None = None, command: Sequence[str] = COMMAND
) -> Captured:
    address = write_script(folder, list(plays))
    return open_captured(address, CameraSettings(), "fake", command=command, patience=patience or Eager())


def read_frame(source: Captured) -> Frame:
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        got = source.read()
        if isinstance(got, Frame):
            assert number_of(got.image) > 0
            return got
    raise AssertionError("no frame came")


def wait_until(true: Callable[[], bool], seconds: float = SOON) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def mapped() -> int:
    return Path("/proc/self/maps").read_text().count("memfd:binsight-frames")


class TestFlow:
    @pytest.mark.parametrize("pause", [0.0, 0.05])
    def test_the_newest_whole_frame(self, tmp_path: Path, pause: float) -> None:
        with open_fake(tmp_path, Play(sizes=((640, 480), (160, 120)))) as source:
            seen = []
            for _ in range(int(50 / (1 + 40 * pause))):
                frame = read_frame(source)
                assert 0 <= time.monotonic() - frame.captured < SLACK
                time.sleep(pause)
                seen.append((number_of(frame.image), frame.time, frame.captured))
            numbers, times, captured = zip(*seen, strict=True)
            assert -1 not in numbers
            assert list(numbers) == sorted({*numbers})
            assert np.allclose(np.subtract(times, times[0]), np.subtract(captured, captured[0]))
            assert times[0] == 0
            counts = source.counts
            assert counts.captured >= numbers[-1]
            assert counts.skipped == numbers[-1] - len(numbers)
            assert counts.skipped > 0 or not pause
            assert counts.reopened == 0

    def test_settings_arrive_as_they_are(self) -> None:
        settings = CameraSettings((1280, 720), 29.97, "MJPG", 120, "auto", 3, Mains.HZ50)
        task = child.Task("v4l2", Address("rtsp://a:b@c", "rtsp://c"), settings, 3, 4, 10.0, 1)
        import msgspec

        assert msgspec.json.decode(child.encode(task), type=child.Task) == task

    def test_credentials_stay_in_the_pipe(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Neither `ps` nor a log has them, whatever a library prints and an exception holds."""
        with caplog.at_level(logging.DEBUG), open_fake(tmp_path, Play("bug"), Play()) as source:
            read_frame(source)
            process = Path(f"/proc/{openings(tmp_path)[-1][1]}")
            for name in ("cmdline", "environ"):
                assert SECRET.encode() not in (process / name).read_bytes()
            assert wait_until(lambda: read_frame(source) is not None and source.counts.reopened == 1)
        assert "fault in reading camera" in caplog.text
        assert "the last line of its libraries: [rtsp @ 0x1] opening fake://***:***@" in caplog.text
        assert SECRET not in caplog.text
        assert SECRET not in repr(source.__dict__["_address"])

    def test_what_of_an_address_is_hidden(self) -> None:
        address = Address("rtsp://bin7:p%40@cam/live?token=abc&channel=1", "rtsp://cam/live")
        assert {*_secrets(address)} == {"bin7", "p%40", "p@", "token", "abc", "channel"}
        assert _secrets(Address("rtsp://a:cam@cam/", "rtsp://cam/")) == ["cam"]
        assert _secrets(Address("/dev/video0", "/dev/video0")) == []

    def test_a_library_that_never_stops_printing(self, tmp_path: Path) -> None:
        with open_fake(tmp_path, Play("open-chatter", frames=10**6)) as source:
            assert read_frame(source) is not None


FAULTS = {
    "raise": ("the stream has ended", 0.0),
    "exit": ("the process that reads it ended with 7", 0.0),
    "kill": ("was ended by SIGKILL", 0.0),
    "hang": ("gave no picture for 1 s: look at", 1.0),
    "stop": ("gave no sign of life for 2.", 2.0),
    "stamp": ("gave no new picture for 1 s: the clock of its stream stands still", 1.0),
}
"""What happens, what is said of it, and how many seconds it may go unseen at least."""


class TestFaults:
    def test_each_is_seen_and_over_soon(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        plays = [Play(fault, frames=8) for fault in FAULTS]
        captured, last = list[float](), 0.0
        with caplog.at_level(logging.DEBUG), open_fake(tmp_path, *plays, Play()) as source:
            while "is back after" not in caplog.text:
                got = source.read()
                assert got.time >= last
                last = got.time
                if isinstance(got, Gap):
                    assert got.since == captured[-1]
                else:
                    assert number_of(got.image) > 0
                    captured.append(got.captured)
                assert time.monotonic() - captured[-1] < SOON, caplog.messages
            assert source.counts.reopened == len(FAULTS)
        begun = [when for when, _ in openings(tmp_path)]
        for (fault, (words, least)), again in zip(FAULTS.items(), begun[1:], strict=True):
            blind = again - max(when for when in captured if when < again)
            assert least - 0.1 < blind < least + 1.5 + SLACK, fault
            assert len([text for text in caplog.messages if words in text]) == 1, fault
        assert [text.startswith("the camera is lost") for text in caplog.messages].count(True) == 1
        assert [" is back after " in text for text in caplog.messages].count(True) == 1
        assert not any(alive(pid) for _, pid in openings(tmp_path))

    def test_nothing_is_left_behind(self, tmp_path: Path) -> None:
        """Neither descriptors nor processes nor memory, however often the camera is opened again."""
        before, mappings = handles(), mapped()
        with open_fake(tmp_path, Play("exit", frames=2)) as source:
            at_first = used = 0
            while source.counts.reopened < 8:
                read_frame(source)
                used = os.fstat(source._ring.memory).st_blocks
                at_first = at_first or used
                assert handles() < before + 12
                assert sum(alive(pid) for _, pid in openings(tmp_path)) <= 1
        assert used <= at_first * 3  # the slots that are in use, once each
        assert handles() == before
        assert not any(alive(pid) for _, pid in openings(tmp_path))
        assert mapped() == mappings

    def test_what_can_not_start_is_no_end(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A system without memory or descriptors for one more process may have them later."""
        caplog.set_level(logging.DEBUG)
        with open_fake(tmp_path, Play("exit", frames=5), Play(), patience=Patience(lambda: 0.0)) as source:
            source._command = ("/no/such/python",)
            assert wait_until(lambda: isinstance(source.read(), Gap) and "can't be started" in caplog.text)
            gap = source.read()
            assert isinstance(gap, Gap)
            assert gap.why.endswith("the process that reads it can't be started: No such file or directory")
            source._command = COMMAND
            read_frame(source)

    def test_an_old_frame_is_given_to_nobody(self, tmp_path: Path) -> None:
        """One that lies in the ring when its camera is gone stays there."""
        with open_fake(tmp_path, Play("exit", frames=5), Play()) as source:
            assert wait_until(lambda: source._reader.newest == 5)
            time.sleep(1.1)
            frame = read_frame(source)
            assert frame.captured > openings(tmp_path)[1][0]


class TestFirstOpening:
    @pytest.mark.parametrize(
        ("play", "limit", "words"),
        [
            (Play("open-refuse"), OPENING_S, "camera fake:///[^ ]* refuses; look at its password$"),
            (Play("open-hang"), 0.5, "camera fake:///[^ ]* gave no picture within 0.5 s of being opened: look at"),
            (Play("exit", frames=0), OPENING_S, "camera fake:///[^ ]* can't be read: .* ended with 7$"),
            (Play(sizes=((7680, 4321),)), OPENING_S, "frame of 7680 x 4321 pixels; expected .* smaller --size"),
        ],
    )
    def test_failure_is_said_in_one_sentence(self, tmp_path: Path, play: Play, limit: float, words: str) -> None:
        before = handles()
        with pytest.raises(SourceError, match=words) as error:
            open_fake(tmp_path, play, patience=brief(limit))
        assert SECRET not in str(error.value)
        assert not any(alive(pid) for _, pid in openings(tmp_path))
        assert handles() == before

    def test_a_process_that_never_begins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("edge.sources.patience.STARTING_S", 0.5)
        begun = time.monotonic()
        with pytest.raises(SourceError, match=r"did not start within 0\.5"):
            open_fake(tmp_path, patience=brief(0.2), command=("sleep", "3600"))
        assert 0.5 <= time.monotonic() - begun < 0.5 + SLACK

    def test_no_process_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="can't be started: No such file"):
            open_fake(tmp_path, command=("/no/such/python",))

    def test_kinds_that_are_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(child.DEVICES, "none", "edge.sources.no_such_module:open_none")
        with pytest.raises(SourceError, match=r"none cameras can't be read: .* edge\.sources\.no_such_module"):
            child.opener("none")


class TestEnd:
    def test_the_camera_hears_of_it(self, tmp_path: Path) -> None:
        with open_fake(tmp_path, Play(linger=True)) as source:
            os.kill(openings(tmp_path)[0][1], signal.SIGTERM)  # as a supervisor tells it to all at once
            time.sleep(0.1)
            read_frame(source)
            assert source.counts.reopened == 0
        source.close()
        assert (tmp_path / "closed").exists()

    def test_within_a_second_whatever_it_does(self, tmp_path: Path) -> None:
        with open_fake(tmp_path, Play("stop", frames=3)) as source:
            frame = read_frame(source)
            time.sleep(0.2)
            begun = time.monotonic()
        assert time.monotonic() - begun < 1.0 + SLACK
        assert not alive(openings(tmp_path)[0][1])
        assert number_of(frame.image) > 0  # who still looks at it may

    def test_it_ends_itself_though_nobody_listens(self, tmp_path: Path) -> None:
        ring = Ring.make()
        task = child.Task(
            "fake",
            write_script(tmp_path, [Play("open-hang")]),
            CameraSettings(),
            ring.memory,
            ring.bell,
            0.2,
            os.getpid(),
        )
        with subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(ring.memory, ring.bell)
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdout.close()
            process.stdin.write(child.encode(task))
            process.stdin.flush()
            try:
                assert process.wait(SOON) == child.FAILED
            finally:
                process.kill()
                ring.close()

    def test_the_child_goes_with_its_parent(self, tmp_path: Path) -> None:
        """Which is killed or interrupted, while its camera gives pictures or is being opened."""
        endings = [
            (Play(), signal.SIGKILL),
            (Play("open-hang"), signal.SIGKILL),
            (Play("open-hang"), signal.SIGINT),
            (Play(), signal.SIGTERM),
        ]
        parents: list[subprocess.Popen[bytes]] = []
        children = []
        try:
            for number, (play, signum) in enumerate(endings):  # one by one: a hanging one is given up in 10 s
                folder = tmp_path / str(number)
                folder.mkdir()
                write_script(folder, [play])
                words = [sys.executable, "-c", PARENT, str(folder)]
                parents.append(subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL))
                assert wait_until(partial(openings, folder))
                children.append(openings(folder)[0][1])
                assert alive(children[-1])
                parents[-1].send_signal(signum)
            assert wait_until(lambda: not any(map(alive, children)))
            assert [parent.wait(SOON) for parent in parents] == [-signum for _, signum in endings]
        finally:
            for parent in parents:
                parent.kill()
                parent.wait()


PARENT = """
import signal, sys
from pathlib import Path
from edge.sources.capture import open_captured
from edge.sources.device import Address, CameraSettings
from tests.edge.fake_camera import COMMAND
address = Address(f"fake://a@{sys.argv[1]}", "fake://")
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever began the tests may have had it ignored
with open_captured(address, CameraSettings(), "fake", command=COMMAND) as source:
    while True:
        source.read()
"""


class TestNovelty:
    def test_what_is_new(self) -> None:
        image = np.zeros((2, 2, 3), np.uint8)
        novelty = child.Novelty()
        assert not novelty.lacks(Shot(image, 10.0), 10.5)
        assert not novelty.lacks(Shot(image, 10.0), 10.5)  # a stream without a clock: every picture is new
        assert "11.5 s late" in novelty.lacks(Shot(image, 10.0), 21.5)
        assert not novelty.lacks(Shot(image, 10.0, 3.0), 10.0)
        assert "stands still" in novelty.lacks(Shot(image, 11.0, 3.0), 11.0)
        assert "stands still" in novelty.lacks(Shot(image, 12.0, 2.9), 12.0)
        assert not novelty.lacks(Shot(image, 12.0, 3.1), 12.0)


class TestPatience:
    def test_tries_come_soon_then_seldom(self) -> None:
        for luck in (0.0, 0.5, 1.0):
            patience, now, waits = Patience(lambda luck=luck: luck), 1000.0, list[tuple[float, float]]()
            assert patience.lost(now, 998.0, now)
            while now < 2000:
                waits.append((now, patience.due - now))
                now = patience.due + 0.1
                assert not patience.lost(now, 998.0, now)
            assert waits[0][1] <= 0.25
            early = [wait for when, wait in waits if when < 998 + QUICK_S]
            late = [wait for when, wait in waits if when >= 998 + QUICK_S]
            assert max(early) == pytest.approx(QUICK_WAIT_S * (0.5 + luck / 2))
            assert {round(wait, 6) for wait in late} == {round(SLOW_WAIT_S * (0.5 + luck / 2), 6)}

    def test_a_try_that_hung_has_waited_already(self) -> None:
        patience = Patience(lambda: 1.0)
        for number in range(6):
            patience.lost(10.0 + 4 * number, 9.0, told=10.0 + 4 * number - 3.0)
        assert patience.due == 10.0 + 4 * 5 + 0.25

    def test_an_outage_is_over_once_frames_flow(self) -> None:
        patience = Patience(lambda: 1.0)
        assert patience.came(1.0) is None
        assert patience.lost(10.0, 9.0)
        for start in (12.0, 20.0):  # a camera that comes for a moment is not back
            assert patience.came(start) is None
            assert patience.came(start + SETTLED_S - 0.1) is None
            waited = patience.due
            assert not patience.lost(start + SETTLED_S, start + SETTLED_S - 0.1, start + SETTLED_S - 0.1)
            assert patience.due - (start + SETTLED_S) > min(waited - 10.0, 0.25)
        assert patience.came(30.0) is None
        assert patience.came(30.0 + SETTLED_S) == 21.0
        assert patience.came(40.0) is None
        assert patience.lost(50.0, 49.0)
        assert patience.due == 50.25

    def test_how_long_an_opening_may_take(self) -> None:
        """A connection that was cut off is given up soon, a slow camera never for good."""
        patience = Patience(lambda: 1.0)
        assert patience.opening == OPENING_S
        patience.opened(0.4)
        assert patience.opening == OPENING_S
        openings = []
        for number in range(6):
            patience.lost(10.0 + number, 9.0)
            openings.append(patience.opening)
        assert openings == [SHORT_OPENING_S, SHORT_OPENING_S, OPENING_S] * 2
        patience.opened(4.0)
        patience.lost(20.0, 9.0)
        assert patience.opening == 8.0

    def test_when_it_is_killed(self) -> None:
        patience = Patience()
        assert patience.deadline(told=10.0, opening=3.0, ready=8.0, beat=9.0) == 10.0 + STARTING_S
        assert patience.deadline(told=10.0, opening=3.0, ready=11.0, beat=9.0) == 11.0 + 3.0 + GRACE_S
        assert patience.deadline(told=10.0, opening=3.0, ready=11.0, beat=12.0) == 12.0 + SILENCE_S
