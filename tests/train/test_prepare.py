"""What edge-train does with a data set before its first step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.errors import DataError, UsageError
from edge.images import Role
from tests.made import command, one_line_error, write_photos
from train.dataset.prepare import Division, prepare
from train.dataset.split import ROLE_DUTIES, SPLIT_FILE, read_split, write_split

FAST = ("--model", "resnet18", "--weights", "none", "--img-size", "32", "--epochs", "1", "--batch-size", "16")


def _faulty(folder: Path) -> Path:
    data = write_photos(folder, 24)
    shutil.copy(data / "disc" / "disc_1.jpg", data / "ring" / "conflict.jpg")
    for number in range(6):
        shutil.copy(data / "bars" / "bars_2.jpg", data / "bars" / f"copy_{number}.jpg")
    (data / "ring" / "broken.jpg").write_bytes(b"no image")
    return data


def test_conflicts_and_broken_files_are_left_out_and_copies_share_a_role(tmp_path: Path) -> None:
    prepared = prepare(_faulty(tmp_path / "photos"), tmp_path / "cache", 0, Division())
    roles = {one.file: role for role in Role for one in prepared.split.roles[role]}
    assert not {"disc/disc_1.jpg", "ring/conflict.jpg", "ring/broken.jpg"} & set(roles)
    assert len(roles) == 72 - 1 + 6
    copies = [name for name in roles if "copy" in name] + ["bars/bars_2.jpg"]
    assert len({roles[name] for name in copies}) == 1
    names = [one.file for role in Role for one in prepared.split.roles[role]]
    numbers = {prepared.groups[names.index(name)] for name in copies}
    assert len(numbers) == 1
    assert np.bincount(np.unique(prepared.groups, return_counts=True)[1])[7] == 1
    said = "\n".join(prepared.findings)
    assert "more than one class" in said
    assert "left out ring/broken.jpg: not an image" in said
    assert prepared.findings[0].startswith("79 photos in 3 classes")


def test_a_whole_bin_is_held_out(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    for number in range(6):
        write_photos(tmp_path / f"bin{number}", 6, seed=number)
        for kind in ("bars", "disc", "ring"):
            shutil.copytree(tmp_path / f"bin{number}" / kind, data / kind / f"bin{number}")
    prepared = prepare(data, tmp_path / "cache", 0, Division("folder:1"))
    bins = {role: {one.file.split("/")[1] for one in prepared.split.roles[role]} for role in Role}
    assert all(bins.values())
    assert sum(map(len, bins.values())) == 6
    assert prepared.split.grouped_by == "folder:1"
    write_split(tmp_path / SPLIT_FILE, prepared.split)
    again = prepare(data, tmp_path / "cache", 5, Division(reuse=tmp_path / SPLIT_FILE))
    assert again.split.roles == prepared.split.roles
    assert again.split.grouped_by == "folder:1"


def test_a_bad_grouping_or_split_is_told_before_the_photos_are_looked_at(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(UsageError, match="folder:N"):
        prepare(nowhere, tmp_path, 0, Division("foldr:1"))
    with pytest.raises(DataError, match=r"split\.json"):
        prepare(nowhere, tmp_path, 0, Division(reuse=tmp_path / SPLIT_FILE))


def test_the_table_of_roles_is_one() -> None:
    table = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for role, duty in ROLE_DUTIES.items():
        assert f"| {role.value} | {duty} |" in table


def test_over_five_per_cent_broken_is_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 5)
    (data / "disc" / "disc_1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 15 photos can't be read"):
        prepare(data, tmp_path / "cache", 0, Division())


def test_edge_train_trains_on_what_can_be_trusted_and_says_so(tmp_path: Path) -> None:
    data = _faulty(tmp_path / "photos")
    done = command("edge-train", data, "-o", tmp_path / "run", *FAST, "--json", "--imbalance", "weights")
    assert done.returncode == 0, done.stderr
    assert "more than one class" in done.stderr
    page = (tmp_path / "run" / "report.html").read_text()
    assert "more than one class" in page
    assert "calibrates int8" in page
    kinds = {
        finding["kind"]
        for finding in json.loads((tmp_path / "run" / "data" / "report.json").read_text())["findings"]
    }
    assert {"label_conflict", "duplicate", "unreadable"} <= kinds
    split = read_split(tmp_path / "run" / SPLIT_FILE)
    assert {one.file for one in split.left_out} == {"disc/disc_1.jpg", "ring/conflict.jpg"}
    arguments = (
        "edge-train",
        data,
        "-o",
        tmp_path / "second",
        *FAST,
        "--seed",
        "3",
        "--split",
        tmp_path / "run" / SPLIT_FILE,
    )
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert read_split(tmp_path / "second" / SPLIT_FILE).roles == split.roles


def test_a_photo_in_two_roles_is_an_error(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 12)
    write_split(tmp_path / SPLIT_FILE, prepare(data, tmp_path / "cache", 0, Division()).split)
    told = json.loads((tmp_path / SPLIT_FILE).read_text())
    told["roles"]["test"].append(told["roles"]["train"][0])
    (tmp_path / SPLIT_FILE).write_text(json.dumps(told))
    done = command("edge-train", data, "-o", tmp_path / "run", *FAST, "--split", tmp_path / SPLIT_FILE)
    one_line_error(done, "edge-train", told["roles"]["train"][0]["file"], "train", "test")
    assert not (tmp_path / "run").exists()
