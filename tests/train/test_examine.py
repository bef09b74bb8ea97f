from pathlib import Path

import pytest

from edge.errors import DataError
from edge.images import list_photos
from tests.made import write_photos
from train.examine import examine


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_every_photo_is_opened_and_the_broken_one_named(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 10)
    _cut(data / "disc" / "disc_3.jpg")
    seen = []
    examined = examine(list_photos(data, tmp_path), lambda done, total: seen.append((done, total)))
    assert [one.name for one in examined.broken] == ["disc/disc_3.jpg"]
    assert "truncated" in examined.broken[0].reason
    assert len(examined.samples) == 29
    assert seen[-1] == (30, 30)


def test_over_five_per_cent_broken_is_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 10)
    _cut(data / "disc" / "disc_3.jpg")
    (data / "ring" / "ring_1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 of 30 photos can't be read, over 5%: disc/disc_3\.jpg"):
        examine(list_photos(data, tmp_path))


def test_one_class_is_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 4, kinds=("disc",))
    with pytest.raises(DataError, match=r"one class \(disc\)"):
        examine(list_photos(data, tmp_path))
