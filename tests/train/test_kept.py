"""What a data set is told by deposits that a bin kept."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from edge.errors import DataError
from edge.images import list_photos
from edge.kept import UNSORTED, Name, Why
from tests.made import draw, pack, write_photos
from train.dataset.examine import examine
from train.dataset.findings import Finding, Kind
from train.dataset.oddities import find_oddities


def keep(folder: Path, number: int, why: Why, guess: str) -> Path:
    """Write a picture as a bin does, and return it."""
    name = Name(number, why, f"{number:08x}-0000-4000-8000-000000000000")
    path = folder / UNSORTED / guess / f"{name.stem}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw("disc", number, 32))
    path.with_suffix(".json").write_text(json.dumps({"id": name.id, "kept": why.value, "data": {"label": guess}}))
    return path


def sort(path: Path, label: str, *, alone: bool = False) -> None:
    """Move the picture to its class, and its event unless it goes alone."""
    target = path.parents[2] / label
    target.mkdir(exist_ok=True)
    for file in (path, *([] if alone else [path.with_suffix(".json")])):
        file.rename(target / file.name)


def kept(data: Path, cache: Path) -> list[Finding]:
    found = find_oddities(examine(list_photos(data, cache)), ())
    assert not [one for one in found if one.kind is Kind.IGNORED]
    return [one for one in found if one.kind is Kind.KEPT]


def test_labels_judge_the_bin_and_what_has_none_is_left_out(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    paths = [keep(data, number, why, "can") for number, why in enumerate([*Why] * 8)]
    with pytest.raises(DataError, match="24 pictures without a label and none with one; move those of one class"):
        list_photos(data, tmp_path)
    for number, path in enumerate(paths[:21]):
        sort(path, "cup" if number % 7 == 0 else "can", alone=number % 2 == 0)  # 0, 7, 14: one of each reason
    left, judged = kept(data, tmp_path)
    assert sorted(left.files) == sorted(path.relative_to(data).as_posix() for path in paths[21:])
    assert left.detail == (
        "3 pictures in unsorted/ have no label and are left out: 1 chosen at random, 1 rejected, 1 with a low "
        "margin; move each to the folder of its class"
    )
    assert len(judged.files) == 21
    assert judged.detail == (
        "the bin had guessed the label of 6 of 7 chosen at random, of 6 of 7 rejected, of 6 of 7 with a low "
        "margin; where it stands it is right on 49% to 97% of all, as those by chance tell (95 %)"
    )
    packed = list_photos(pack(data, tmp_path / "kept.zip"), tmp_path / "cache")
    assert (packed.labels, len(packed.photos), len(packed.unsorted)) == (("can", "cup"), 21, 3)

    for path in paths[21:]:
        path.unlink()
    listing = list_photos(data, tmp_path)  # nothing is left to sort, and its folder is no class
    assert (listing.labels, listing.unsorted) == (("can", "cup"), ())
    assert [one.files for one in kept(data, tmp_path)] == [judged.files]


def test_an_event_that_is_none_says_nothing(tmp_path: Path) -> None:
    for number, text in enumerate(
        ("", "{", '{"data": 3}', '{"data": {"label": 3}}', '{"x": ' + "[" * 10**5, "\xff")
    ):
        path = keep(tmp_path, number, Why.REJECTED, "can")
        path.with_suffix(".json").write_bytes(text.encode("latin-1"))
        sort(path, "can")
    assert not kept(tmp_path, tmp_path)


def test_a_class_of_that_name_is_one(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2, kinds=("disc", "ring", UNSORTED))
    listing = list_photos(tmp_path / "photos", tmp_path)
    assert (listing.labels, len(listing.photos)) == (("disc", "ring", UNSORTED), 6)
