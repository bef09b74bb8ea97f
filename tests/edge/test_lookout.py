from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.board import Board
from edge.event import CAMERA, Draft
from edge.health import NEVER, OK, Sharpness
from edge.lookout import LOST_S, Lookout
from edge.motion import Sight
from edge.sources import Frame, Gap

DARK, LIT = 3, 120


def frames(level: int, begin: int, count: int) -> list[Frame]:
    rng = np.random.default_rng(begin)
    walls = np.zeros((120, 160, 3))
    walls[30:90, 40:120] = level * 0.4
    made = [np.clip(walls + level + rng.normal(0, 2, walls.shape), 0, 255).astype(np.uint8) for _ in range(count)]
    return [Frame(image, 0.0, float(begin + number)) for number, image in enumerate(made)]


def looked(lookout: Lookout, shown: list[Frame]) -> list[Draft[object]]:
    return [made for one in shown for made in lookout.looked(one, Sight(one.time, False, False))]


def test_a_state_is_told_once_to_events_and_board() -> None:
    board = Board("b")
    lookout = Lookout(board, "b", "0", None)
    assert looked(lookout, frames(LIT, 0, 20)) == []
    assert board.snapshot().camera.state == OK
    (dark,) = looked(lookout, frames(DARK, 20, 15))
    assert dark.type == CAMERA
    assert (dark.data.state, dark.data.states, dark.data.before) == ("dark", ("dark",), ("ok",))  # type: ignore[attr-defined]
    assert board.snapshot().camera.states == ("dark",)
    (back,) = looked(lookout, frames(LIT, 35, 15))
    assert back.data.state == OK  # type: ignore[attr-defined]
    assert board.snapshot().camera.state == OK


def test_an_outage_is_told_when_it_lasts_and_when_it_is_over() -> None:
    lookout = Lookout(Board("b"), "b", "0", None)
    assert lookout.missed(Gap(9.0, 0.0, "no camera")) == (), "no frame ever came: that is not an outage"
    looked(lookout, frames(LIT, 0, 10))
    assert lookout.missed(Gap(9.0 + LOST_S / 2, 0.0, "the plug is out")) == ()
    (lost,) = lookout.missed(Gap(9.0 + LOST_S, 0.0, "the plug is out"))
    assert (lost.data.state, lost.data.why) == ("lost", "the plug is out")
    assert lookout.missed(Gap(30.0, 0.0, "the plug is out")) == ()
    (back,) = looked(lookout, frames(LIT, 40, 3))
    assert (back.data.state, back.data.before) == ("ok", ("lost",))  # type: ignore[attr-defined]


def test_what_was_learned_of_the_lens_outlives_a_restart_of_the_same_camera(tmp_path: Path) -> None:
    path = tmp_path / "state" / "camera-b.json"
    first = Lookout(Board("b"), "b", "rtsp://user:secret@host/a", path)
    looked(first, frames(LIT, 0, 30))
    first.close()
    assert b"secret" not in path.read_bytes()
    known = learned(path, "rtsp://user:secret@host/a")
    assert known is not None
    assert known.looks > 10
    assert known.best == NEVER
    assert learned(path, "rtsp://host/another") is None
    path.write_bytes(b"half")
    assert learned(path, "rtsp://user:secret@host/a") is None


def learned(path: Path, source: str) -> Sharpness | None:
    """What a lookout that begins has from its file."""
    lookout = Lookout(Board("b"), "b", source, path)
    looked(lookout, frames(DARK, 0, 1))
    assert lookout._health is not None
    return lookout._health.sharpness


def test_a_disk_that_takes_nothing_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lookout = Lookout(Board("b"), "b", "0", tmp_path / "file" / "camera.json")
    looked(lookout, frames(LIT, 0, 10))
    (dark,) = looked(lookout, frames(DARK, 10, 15))
    assert dark.type == CAMERA
    lookout.close()
    assert (tmp_path / "file").read_bytes() == b""
