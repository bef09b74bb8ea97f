import shutil
from collections import Counter
from pathlib import Path

import pytest

from edge.errors import DataError
from edge.images import Role, list_photos
from tests.made import KINDS, write_photos
from train.examine import examine
from train.split import Split, make_split, read_split, write_split


def _split(data: Path, seed: int = 0) -> Split:
    return make_split(examine(list_photos(data, data.parent)), data, seed)


def _digests(split: Split, role: Role) -> set[str]:
    return {one.sha256 for one in split.roles[role]}


def test_each_class_gives_its_share_and_no_photo_has_two_roles(tmp_path: Path) -> None:
    split = _split(write_photos(tmp_path / "photos", 20))
    for role, count in ((Role.TRAIN, 14), (Role.VAL, 3), (Role.TEST, 3)):
        assert Counter(one.label for one in split.roles[role]) == dict.fromkeys(KINDS, count)
    train, val, test = (_digests(split, role) for role in Role)
    assert not train & val
    assert not train & test
    assert not val & test


def test_the_split_depends_on_content_and_seed_and_not_on_names(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 20)
    split = _split(data)
    renamed = tmp_path / "renamed"
    for number, path in enumerate(sorted(data.rglob("*.jpg"), reverse=True)):
        (renamed / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, renamed / path.parent.name / f"{number:04d}.jpg")
    for role in Role:
        assert _digests(_split(renamed), role) == _digests(split, role)
    assert _digests(_split(data, seed=1), Role.TEST) != _digests(split, Role.TEST)


def test_a_split_that_the_data_brings_is_kept_and_what_is_missing_comes_off_train(tmp_path: Path) -> None:
    write_photos(tmp_path / "data" / "training", 20)
    write_photos(tmp_path / "data" / "Test", 5, seed=1)
    split = _split(tmp_path / "data")
    assert {one.file.split("/")[0] for one in split.roles[Role.TEST]} == {"Test"}
    assert len(split.roles[Role.TEST]) == 15
    assert len(split.roles[Role.VAL]) == 9
    assert {one.file.split("/")[0] for one in split.roles[Role.VAL]} == {"training"}
    assert any("val (15%) split off train" in note for note in split.notes)


def test_copies_share_a_role_whatever_they_are_called(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 20)
    for number in range(20):
        shutil.copy(data / "disc" / f"disc_{number}.jpg", data / "disc" / f"copy_{number}.jpg")
    shutil.copy(data / "disc" / "disc_0.jpg", data / "ring" / "wrong.jpg")
    split = _split(data)
    roles = [_digests(split, role) for role in Role]
    assert sum(map(len, roles)) == len(set.union(*roles)) == 60
    assert sum(len(split.roles[role]) for role in Role) == 81


def test_a_photo_in_two_splits_stays_with_the_judge(tmp_path: Path) -> None:
    write_photos(tmp_path / "data" / "train", 10)
    write_photos(tmp_path / "data" / "test", 5, seed=1)
    shutil.copy(tmp_path / "data/test/disc/disc_0.jpg", tmp_path / "data/train/disc/leak.jpg")
    split = _split(tmp_path / "data")
    assert "train/disc/leak.jpg" not in {one.file for role in Role for one in split.roles[role]}
    assert len(split.roles[Role.TEST]) == 15
    assert any("lay in two splits" in note for note in split.notes)


def test_a_class_with_one_image_is_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 5)
    write_photos(data, 1, kinds=("lonely",))
    with pytest.raises(DataError, match="class 'lonely' has 1 different photo to train on, expected at least 3"):
        _split(data)


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 5)
    (data / "empty").mkdir()
    with pytest.raises(DataError, match="class 'empty' has 0 different photos"):
        _split(data)


def test_the_file_gives_the_split_back(tmp_path: Path) -> None:
    split = _split(write_photos(tmp_path / "photos", 6))
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(DataError, match="no split"):
        read_split(tmp_path / "split.json")
