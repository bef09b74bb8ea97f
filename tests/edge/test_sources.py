from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import SourceError, UsageError
from edge.scene import SceneSettings
from edge.sources import Frame, Source, open_source
from edge.sources.demo import parse
from tests.tiny import png, solid


def read_all(source: Source) -> list[Frame]:
    with source:
        return list(iter(source.read, None))


def ticking() -> Iterator[float]:
    now = 100.0
    while True:
        yield now
        now += 0.5


def write_video(path: Path, frames: int, fps: float = 10.0) -> None:
    """Motion JPEG, whose frames stand alone: half a file is half the frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), number * 2, dtype=np.uint8))
    writer.release()


def test_a_folder_gives_every_image_in_plain_order(tmp_path: Path) -> None:
    for name in ("b10.PNG", "b2.png", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(png(solid("red")))
    (tmp_path / "can").mkdir()
    (tmp_path / "can" / "1.png").write_bytes(png(solid("blue")))
    source = open_source(str(tmp_path))
    assert source.single
    assert not source.live
    frames = read_all(source)
    assert [frame.name for frame in frames] == ["a.png", "b10.PNG", "b2.png", "can/1.png"]
    assert [frame.time for frame in frames] == [0, 1, 2, 3]
    assert frames[3].image[0, 0].tolist() == [255, 0, 0]


def test_a_broken_image_is_named_counted_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.png").write_bytes(png(solid("red")))
    (tmp_path / "b.png").write_bytes(png(solid("red"))[:40])
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.png").write_bytes(png(solid("red")))
    source = open_source(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert [frame.name for frame in read_all(source)] == ["a.png", "d.png"]
    assert source.broken == 2
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["b.png", "c.jpg"]


def test_one_image_is_a_folder_of_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(solid("red")))
    assert [frame.name for frame in read_all(open_source(str(tmp_path / "a.png")))] == ["a.png"]


def test_an_empty_folder_and_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no images"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="does not exist"):
        open_source(str(tmp_path / "nowhere.mp4"))


def test_a_video_gives_every_frame_in_its_own_time(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 20)
    clock = ticking()
    source = open_source(str(tmp_path / "v.avi"), clock=clock.__next__)
    assert not source.single
    frames = read_all(source)
    assert [round(frame.time, 6) for frame in frames] == [number / 10 for number in range(20)]
    assert [frame.captured for frame in frames[:3]] == [100.0, 100.5, 101.0]
    assert abs(int(frames[15].image[0, 0, 0]) - 30) < 4


def test_a_truncated_video_gives_what_is_there_and_then_says_so(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", 90)
    data = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    frames: list[Frame] = []
    with (
        open_source(str(tmp_path / "half.avi")) as source,
        pytest.raises(SourceError, match=r"ended after \d\d of 90 frames: it is truncated") as caught,
    ):
        frames.extend(iter(source.read, None))
    assert 0 < len(frames) < 90
    assert f"after {len(frames)} of" in str(caught.value)


@pytest.mark.parametrize("content", [b"hello\n" * 900, b"#EXTM3U\nother.mp4\n", b"\0\1\2\3" * 500, b""])
def test_what_is_no_video_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(SourceError, match="is no video that can be read"):
        open_source(str(tmp_path / "x.txt"))


def test_a_camera_that_is_not_there_names_what_is() -> None:
    with pytest.raises(
        SourceError,
        match="no such device; plug it in, or name",
    ):
        open_source("97")
    with pytest.raises(SourceError, match="/dev/v4l/by-id/nothing"):
        open_source("/dev/v4l/by-id/nothing")


def test_demo_reads_its_query() -> None:
    assert parse("demo://") == SceneSettings()
    assert parse("demo://?seed=3&deposits=20&fps=7.5") == SceneSettings(seed=3, deposits=20, fps=7.5)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("demo://?depsits=3", "unknown key 'depsits'; nearest: deposits"),
        ("demo://?seed=x", "seed is 'x'; expected a whole number"),
        ("demo://?fps=", "fps is ''; expected a number"),
        ("demo://?deposits=0", "deposits"),
        ("demo://seed=3", "expected demo://"),
    ],
)
def test_demo_refuses_what_it_does_not_know(uri: str, text: str) -> None:
    with pytest.raises(UsageError, match=text.replace("?", r"\?")):
        open_source(uri)


def test_demo_gives_the_scene_to_its_end() -> None:
    frames = read_all(open_source("demo://?deposits=1&width=64&height=48&fps=5"))
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].time == 0
    assert frames[1].time == pytest.approx(0.2)
    assert frames[-1].time > 3


def test_an_unknown_scheme_lists_those_that_exist() -> None:
    with pytest.raises(SourceError, match=r"no source for carrier-pigeon://.*schemes that exist: .*demo://"):
        open_source("carrier-pigeon://coop")
