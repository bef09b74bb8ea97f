"""What was recorded plays back: the same pictures at the same times, whatever happened to the disk."""

import errno
import threading
from contextlib import closing

import numpy as np
import pytest

from edge.errors import SinkError, SourceError
from edge.framing import Flip, Framing
from edge.sources import open_source
from edge.sources.base import Closing, Counts, Frame, Gap
from edge.sources.recording import TABLE, WAITING, Recorded, Recorder
from edge.sources.wrapper import Framed, Paced


def smooth(number):
    """A picture that JPEG keeps."""
    ramp = np.linspace(0, 200, 64, dtype=np.float32)[None, :, None]
    return (ramp + np.float32([0, 10, 20]) + number).repeat(48, axis=0).astype(np.uint8)


class Given(Closing):
    """Frames, and a gap after the second."""

    single, live, broken, counts = False, True, 3, Counts(captured=7)

    def __init__(self, count):
        self.items = [Frame(smooth(n), 100 + n, n / 10, "") for n in range(count)]
        self.items.insert(2, Gap(0.15, 101.0, "silent"))
        self.closed = 0

    def read(self):
        return self.items.pop(0) if self.items else None

    def close(self):
        self.closed += 1

    def __enter__(self):
        return self


def frames_of(source):
    return list(iter(source.read, None))


def recorded(folder, count=6):
    within = Given(count)
    with closing(Recorder(folder)) as recorder, Recorded(within, recorder) as source:
        seen = []
        for item in iter(source.read, None):
            seen.append(item)
            while recorder._waiting.qsize() > WAITING // 2:  # a disk that keeps up
                threading.Event().wait(0.01)
    assert within.closed == 1
    return seen


def test_plays_back_as_a_source(tmp_path):
    seen = [item for item in recorded(tmp_path / "kept") if isinstance(item, Frame)]
    with open_source(str(tmp_path / "kept")) as source:
        assert (source.single, source.live) == (False, False)
        back = frames_of(source)
    assert [frame.time for frame in back] == pytest.approx([frame.time for frame in seen])
    for before, after in zip(seen, back, strict=True):
        assert np.abs(before.image.astype(int) - after.image).max() <= 4


def test_a_kill_leaves_all_whole_rows(tmp_path):
    folder = tmp_path / "kept"
    recorded(folder)
    table = folder / TABLE
    table.write_bytes(table.read_bytes()[:-12])
    (folder / "0000001.jpg").write_bytes(b"\xff\xd8 no picture")
    with open_source(str(folder)) as source:
        assert [round(frame.time, 3) for frame in frames_of(source)] == [0.0, 0.2, 0.3, 0.4]
        assert source.broken == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,time,utc\n", "no frames"),
        ("file,time,utc\n../../etc/passwd,0,x\n", "etc/passwd"),
        ("file,time,utc\na.jpg,soon,x\n", "soon"),
        ("name\na.jpg\n", "a.jpg"),
    ],
)
def test_a_table_that_is_none(tmp_path, text, words):
    (tmp_path / TABLE).write_text(text)
    with pytest.raises(SourceError, match=words):
        open_source(str(tmp_path))


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(SinkError, match="not empty"):
        Recorder(tmp_path)


def test_a_full_disk_ends_the_recording_alone(tmp_path, monkeypatch, caplog):
    recorder = Recorder(tmp_path / "kept")
    failed = threading.Event()

    def full(*_):
        failed.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorder, "_write", full)
    source = Recorded(Given(6), recorder)
    seen = []
    for item in iter(source.read, None):
        seen.append(item)
        assert failed.wait(5)
    recorder.close()
    assert len(seen) == 7
    assert [record.message for record in caplog.records] == [
        f"recording to {tmp_path / 'kept'} ends: No space left on device; the bin goes on"
    ]


def test_a_slow_disk_holds_nobody_up(tmp_path, monkeypatch, caplog):
    recorder = Recorder(tmp_path / "kept")
    go = threading.Event()
    write = recorder._write
    monkeypatch.setattr(recorder, "_write", lambda *args: (go.wait(5), write(*args)))
    source = Recorded(Given(30), recorder)
    assert len(frames_of(source)) == 31  # while not one is written
    go.set()
    recorder.close()
    assert "too slow" in caplog.text
    with open_source(str(tmp_path / "kept")) as back:
        assert len(frames_of(back)) in (WAITING, WAITING + 1)


def test_wrappers_change_frames_and_nothing_else():
    source = Framed(Given(3), Framing(flip=Flip.HORIZONTAL))
    assert (source.live, source.single, source.broken, source.counts.captured) == (True, False, 3, 7)
    first, _, gap, _ = frames_of(source)
    np.testing.assert_array_equal(first.image, smooth(0)[:, ::-1])
    assert gap.why == "silent"


def test_pace_is_the_sources_own():
    now = [50.0]

    def wait(seconds):
        now[0] += seconds

    source = Paced(Given(4), lambda: now[0], wait)
    times = []
    for frame in iter(source.read, None):
        if isinstance(frame, Frame):
            times.append(now[0])
            assert frame.captured == now[0]
            now[0] += 0.02  # the loop's work
    assert times == pytest.approx([50.0, 50.1, 50.2, 50.3])
