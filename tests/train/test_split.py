import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import DataError
from edge.images import Role
from tests.train.fakes import ROOT, fake_data, reason_of, role_of, sha, twins_of
from train.dataset.deal import make_split
from train.dataset.examine import Examined
from train.dataset.split import ROLE_DUTIES, LeftOut, Split, SplitFile, read_split, write_split

KINDS = ("glass", "metal", "paper")


def _names(per_class: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{kind}/{number}.jpg" for kind in KINDS for number in range(per_class)]


def _counts(split: Split, role: Role) -> dict[str, int]:
    return dict(Counter(one.label for one in split.roles[role]))


def _expected(examined: Examined, missing: list[Role], seed: int) -> dict[str, Role]:
    """Deal out photos one by one: the order of the hash, the first 15 % of a class, and the next."""
    roles = {sample.digest: sample.photo.role or Role.TRAIN for sample in examined.samples}
    for label in examined.labels:
        mine = [one.digest for one in examined.samples if one.photo.label == label]
        pool = [digest for digest in mine if roles[digest] is Role.TRAIN]
        pool.sort(key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())
        count = max(1, round(0.15 * len(pool)))
        for place, role in enumerate(missing):
            roles.update(dict.fromkeys(pool[place * count : (place + 1) * count], role))
    return {one.photo.name: roles[one.digest] for one in examined.samples}


class TestPhotosOneByOne:
    @pytest.mark.parametrize("seed", [0, 1, 77])
    @pytest.mark.parametrize("per_class", [3, 4, 5, 9, 10, 17, 30, 101])
    def test_are_dealt_out_by_the_order_of_their_hash(self, per_class: int, seed: int) -> None:
        examined = fake_data(
            [*_names(per_class), *(f"trash/{number}.png" for number in range(3 + per_class // 7))]
        )
        split = make_split(examined, (), ROOT, seed)
        assert role_of(split) == _expected(examined, [Role.TEST, Role.VAL], seed)
        assert split.left_out == ()

    @pytest.mark.parametrize(("brought", "missing"), [("test", Role.VAL), ("val", Role.TEST)])
    def test_what_the_data_does_not_bring_comes_off_train(self, brought: str, missing: Role) -> None:
        examined = fake_data([*_names(20, "train/"), *_names(5, f"{brought}/")])
        split = make_split(examined, (), ROOT, 3)
        assert role_of(split) == _expected(examined, [missing], 3)
        assert f"{missing.value} (15%) split off train by content" in split.notes

    def test_a_whole_split_is_kept_as_it_is(self) -> None:
        examined = fake_data([*_names(4, "train/"), *_names(1, "val/"), *_names(2, "test/")])
        split = make_split(examined, (), ROOT, 0)
        assert all(file.split("/")[0] == role.value for file, role in role_of(split).items())
        assert [len(split.roles[role]) for role in Role] == [12, 3, 6]
        assert split.notes == ()

    def test_names_do_not_matter_and_the_seed_does(self) -> None:
        examined = fake_data(_names(20))
        renamed = fake_data(
            [f"{kind}/x{97 * number % 20:02}.jpg" for kind in KINDS for number in range(20)],
            {
                f"{kind}/x{97 * number % 20:02}.jpg": f"{kind}/{number}.jpg"
                for kind in KINDS
                for number in range(20)
            },
        )
        split = make_split(examined, (), ROOT, 0)
        for role in Role:
            assert make_split(renamed, (), ROOT, 0).digest(role) == split.digest(role)
        assert make_split(examined, (), ROOT, 1).digest(Role.TEST) != split.digest(Role.TEST)

    def test_files_are_in_order_of_their_names(self) -> None:
        split = make_split(fake_data(_names(40)), (), ROOT, 0)
        for role in Role:
            files = [one.file for one in split.roles[role]]
            assert files == sorted(files)

    def test_a_class_with_too_few_photos_is_refused(self) -> None:
        with pytest.raises(
            DataError, match="class 'trash' has 1 different photo to train on, expected at least 3"
        ):
            make_split(fake_data([*_names(5), "trash/1.jpg"]), (), ROOT, 0)
        copies = {f"trash/{number}.jpg": "the same" for number in range(9)}
        with pytest.raises(
            DataError, match="class 'trash' has 1 different photo to train on, expected at least 3"
        ):
            make_split(fake_data([*_names(5), *copies], copies), (), ROOT, 0)

    def test_two_photos_are_enough_where_one_role_is_brought(self) -> None:
        split = make_split(fake_data([*_names(2, "train/"), *_names(2, "test/")]), (), ROOT, 0)
        assert [len(split.roles[role]) for role in Role] == [3, 3, 6]
        with pytest.raises(
            DataError, match="class 'glass' has 1 different photo to train on, expected at least 2"
        ):
            make_split(fake_data([*_names(1, "train/"), *_names(2, "test/")]), (), ROOT, 0)

    def test_a_class_without_photos_is_refused(self) -> None:
        examined = replace(fake_data(_names(5)), labels=(*KINDS, "void"))
        with pytest.raises(DataError, match="class 'void' has 0 different photos to train on"):
            make_split(examined, (), ROOT, 0)

    def test_a_class_that_a_brought_split_lacks_is_named(self) -> None:
        names = [*_names(5, "train/"), *_names(2, "val/"), "test/glass/1.jpg", "test/metal/1.jpg"]
        split = make_split(fake_data(names), (), ROOT, 0)
        assert split.notes == ("class 'paper' is in no test photo: the data set brings none",)


class TestPicturesThatAreThereTwice:
    def test_copies_and_twins_share_a_role_and_all_are_kept(self) -> None:
        copies = {f"glass/copy_{number}.jpg": f"glass/{number}.jpg" for number in range(20)}
        examined = fake_data([*_names(20), *copies], copies)
        pairs = [(f"metal/{number}.jpg", f"metal/{number + 10}.jpg") for number in range(10)]
        split = make_split(examined, twins_of(examined, *pairs), ROOT, 0)
        roles = role_of(split)
        assert len(roles) == 80
        assert split.left_out == ()
        for first, second in [*copies.items(), *pairs]:
            assert roles[first] is roles[second]
        assert _counts(split, Role.TEST) == {"glass": 6, "metal": 2, "paper": 3}
        assert split.notes == ("test (15%) and val (15%) split off train by content",)

    def test_pairs_are_dealt_out_by_the_hash_of_their_smaller_digest(self) -> None:
        examined = fake_data([name for name in _names(40) if name[0] == "g" or int(name.split("/")[1][:-4]) < 5])
        pairs = [(f"glass/{number}.jpg", f"glass/{number + 20}.jpg") for number in range(20)]
        pairs.sort(key=lambda pair: sha(f"4:{min(map(sha, pair))}"))
        roles = role_of(make_split(examined, twins_of(examined, *pairs), ROOT, 4))
        assert [roles[first].value for first, _ in pairs] == ["test"] * 3 + ["val"] * 3 + ["train"] * 14

    def test_larger_groups_are_dealt_out_by_chance_as_others_are(self) -> None:
        examined = fake_data(_names(100))
        twins = twins_of(examined, [f"glass/{number}.jpg" for number in range(8)])
        roles = Counter(role_of(make_split(examined, twins, ROOT, seed))["glass/0.jpg"] for seed in range(60))
        assert roles[Role.TEST] < 20
        assert roles[Role.VAL] < 20

    def test_a_picture_with_two_labels_is_left_out_with_all_its_copies(self) -> None:
        examined = fake_data(
            [*_names(20), "metal/again.jpg", "paper/same.jpg"], {"paper/same.jpg": "paper/wrong.jpg"}
        )
        clash = ("glass/0.jpg", "metal/0.jpg", "metal/again.jpg")
        split = make_split(examined, twins_of(examined, clash), ROOT, 0)
        assert reason_of(split) == {
            "glass/0.jpg": "shows the same picture as metal/0.jpg, which is of class metal",
            "metal/0.jpg": "shows the same picture as glass/0.jpg, which is of class glass",
            "metal/again.jpg": "shows the same picture as glass/0.jpg, which is of class glass",
        }
        assert not set(clash) & set(role_of(split))
        assert len(role_of(split)) == 62 - 3
        assert "left out 3 photos whose picture lies in more than one class" in split.notes

    def test_equal_bytes_with_two_labels_clash_even_where_nobody_looked_for_twins(self) -> None:
        examined = fake_data([*_names(20), "glass/x.jpg"], {"glass/x.jpg": "metal/3.jpg"})
        split = make_split(examined, (), ROOT, 0)
        assert set(reason_of(split)) == {"glass/x.jpg", "metal/3.jpg"}

    def test_a_class_whose_photos_all_clash_is_refused(self) -> None:
        examined = fake_data([*_names(9), "trash/0.jpg", "trash/1.jpg", "trash/2.jpg"])
        twins = twins_of(examined, *((f"glass/{one}.jpg", f"trash/{one}.jpg") for one in range(3)))
        with pytest.raises(DataError, match=r"class 'trash' has 0 different photos to train on \(3 left out\)"):
            make_split(examined, twins, ROOT, 0)

    def test_the_strictest_role_keeps_a_picture_that_leaked(self) -> None:
        names = [*_names(6, "train/"), *_names(3, "val/"), *_names(3, "test/")]
        examined = fake_data(names)
        twins = twins_of(
            examined,
            ("train/glass/0.jpg", "train/glass/1.jpg", "val/glass/0.jpg"),
            ("train/metal/0.jpg", "val/metal/0.jpg", "test/metal/0.jpg", "test/metal/1.jpg"),
            ("train/paper/0.jpg", "train/paper/1.jpg"),
        )
        split = make_split(examined, twins, ROOT, 0)
        assert reason_of(split) == {
            "train/glass/0.jpg": "shows the same picture as val/glass/0.jpg, which is in val",
            "train/glass/1.jpg": "shows the same picture as val/glass/0.jpg, which is in val",
            "train/metal/0.jpg": "shows the same picture as test/metal/0.jpg, which is in test",
            "val/metal/0.jpg": "shows the same picture as test/metal/0.jpg, which is in test",
        }
        assert set(role_of(split)) == set(names) - set(reason_of(split))
        assert split.notes == (
            "left out 4 photos whose picture lies in two roles of the data set; "
            "the stricter role keeps it (train < val < test)",
        )

    def test_a_role_whose_photos_all_leaked_is_split_off_train_again(self) -> None:
        examined = fake_data([*_names(9, "train/"), *_names(1, "val/"), *_names(2, "test/")])
        twins = twins_of(examined, *((f"val/{kind}/0.jpg", f"test/{kind}/0.jpg") for kind in KINDS))
        split = make_split(examined, twins, ROOT, 0)
        assert _counts(split, Role.VAL) == dict.fromkeys(KINDS, 1)
        assert "val (15%) split off train by content" in split.notes

    def test_one_picture_that_is_most_of_a_class_stays_in_train(self) -> None:
        examined = fake_data(_names(40))
        crowd = [f"glass/{number}.jpg" for number in range(34)]
        for seed in range(10):
            split = make_split(examined, twins_of(examined, crowd), ROOT, seed)
            assert {role_of(split)[name] for name in crowd} == {Role.TRAIN}
            assert "34 of 40 photos of class 'glass' show one picture and stay in one role" in split.notes
            assert [_counts(split, role)["glass"] for role in Role] == [36, 2, 2]
            assert [_counts(split, role)["metal"] for role in Role] == [28, 6, 6]

    def test_a_class_of_one_picture_trains_and_the_lack_is_noted(self) -> None:
        examined = fake_data(_names(20))
        crowd = [f"glass/{number}.jpg" for number in range(20)]
        split = make_split(examined, twins_of(examined, crowd), ROOT, 0)
        assert _counts(split, Role.TRAIN)["glass"] == 20
        assert "class 'glass' is in no val photo: its photos show 1 picture only" in split.notes
        assert "class 'glass' is in no test photo: its photos show 1 picture only" in split.notes

    def test_classes_of_one_picture_each_are_refused(self) -> None:
        examined = fake_data(_names(5))
        crowds = [[f"{kind}/{number}.jpg" for number in range(5)] for kind in KINDS]
        with pytest.raises(DataError, match=r"no photo is left for test: .* add photos that differ"):
            make_split(examined, twins_of(examined, *crowds), ROOT, 0)


class TestSplitFile:
    @pytest.fixture
    def split(self) -> Split:
        examined = fake_data(_names(6))
        return make_split(examined, twins_of(examined, ("glass/0.jpg", "metal/0.jpg")), ROOT, 5, grouped_by="x")

    def test_comes_back_as_it_was(self, split: Split, tmp_path: Path) -> None:
        assert split.left_out
        write_split(tmp_path / "split.json", split)
        assert read_split(tmp_path / "split.json") == split

    def test_from_before_there_were_groups_is_read(self, split: Split, tmp_path: Path) -> None:
        write_split(tmp_path / "split.json", split)
        old = json.loads((tmp_path / "split.json").read_text())
        del old["left_out"], old["grouped_by"]
        (tmp_path / "split.json").write_text(json.dumps(old))
        assert read_split(tmp_path / "split.json") == replace(split, left_out=(), grouped_by="")

    @pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"data": "\xff"}', b"[" * 100_000])
    def test_that_is_none_is_refused(self, text: bytes, tmp_path: Path) -> None:
        (tmp_path / "split.json").write_bytes(text)
        with pytest.raises(DataError, match=r"split.json is no split that can be read: "):
            read_split(tmp_path / "split.json")

    def test_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"split.json can't be read: No such file"):
            read_split(tmp_path / "split.json")

    def test_without_a_role_is_refused(self, split: Split, tmp_path: Path) -> None:
        lacking = replace(split, roles={Role.TRAIN: split.roles[Role.TRAIN]})
        write_split(tmp_path / "split.json", lacking)
        with pytest.raises(DataError, match="no split that can be read: it has no list of val and test photos"):
            read_split(tmp_path / "split.json")

    @pytest.mark.parametrize(
        ("extra", "words"),
        [
            (
                SplitFile("glass/a.jpg", "0" * 64, "glas"),
                "gives glass/a.jpg the label 'glas', expected one of glass",
            ),
            (SplitFile("glass/a.jpg", "0" * 63 + "g", "glass"), "the digest '0+g', expected 64 hex digits"),
            (SplitFile("glass/a.jpg", "", "glass"), "the digest '', expected 64 hex digits"),
        ],
    )
    def test_with_an_entry_that_makes_no_sense_is_refused(
        self, split: Split, tmp_path: Path, extra: SplitFile, words: str
    ) -> None:
        self._write(tmp_path, split, Role.VAL, extra)
        with pytest.raises(DataError, match=words):
            read_split(tmp_path / "split.json")

    def test_with_a_photo_in_two_roles_is_refused(self, split: Split, tmp_path: Path) -> None:
        first = split.roles[Role.TRAIN][0]
        self._write(tmp_path, split, Role.TEST, SplitFile("glass/a.jpg", first.sha256, "glass"))
        words = f"split.json has one photo in two roles, {first.file} in train and glass/a.jpg in test"
        with pytest.raises(DataError, match=re.escape(words)):
            read_split(tmp_path / "split.json")
        self._write(tmp_path, split, Role.TEST, replace(first, sha256=sha("edited")))
        with pytest.raises(DataError, match=f"names {first.file} twice, in train and test; leave it in one role"):
            read_split(tmp_path / "split.json")
        self._write(tmp_path, split, Role.TRAIN, first)
        with pytest.raises(DataError, match=f"names {first.file} twice, in train; leave it in one role, once"):
            read_split(tmp_path / "split.json")

    def test_with_copies_in_one_role_is_read(self, split: Split, tmp_path: Path) -> None:
        first = split.roles[Role.TRAIN][0]
        self._write(tmp_path, split, Role.TRAIN, SplitFile("glass/a.jpg", first.sha256, "glass"))
        assert len(read_split(tmp_path / "split.json").roles[Role.TRAIN]) == len(split.roles[Role.TRAIN]) + 1

    def test_says_who_was_left_out(self, split: Split) -> None:
        reason = "shows the same picture as metal/0.jpg, which is of class metal"
        assert split.left_out[0] == LeftOut("glass/0.jpg", reason)

    @staticmethod
    def _write(folder: Path, split: Split, role: Role, extra: SplitFile) -> None:
        write_split(
            folder / "split.json", replace(split, roles={**split.roles, role: (*split.roles[role], extra)})
        )


def test_every_role_has_its_duties() -> None:
    assert list(ROLE_DUTIES) == list(Role)
