from dataclasses import replace

import pytest

from edge.errors import DataError
from edge.images import Role
from tests.train.fakes import ROOT, fake_data, reason_of, role_of, sha, twins_of
from train.dataset.deal import make_split
from train.dataset.examine import Examined
from train.dataset.split import Split, SplitFile

KINDS = ("glass", "metal", "paper")
NAMES = [f"{kind}/{number:02}.jpg" for kind in KINDS for number in range(20)]
KNOWN = "photos that the earlier split knows have their roles from there"


@pytest.fixture
def earlier() -> Split:
    return make_split(fake_data(NAMES), (), ROOT, 7)


def _first(split: Split, role: Role) -> str:
    return split.roles[role][0].file


def _reuse(examined: Examined, earlier: Split, *twins: tuple[str, ...]) -> Split:
    return make_split(examined, twins_of(examined, *twins), ROOT, 0, reuse=earlier)


def test_the_same_data_gives_the_same_split(earlier: Split) -> None:
    split = _reuse(fake_data(NAMES), earlier)
    assert split == replace(earlier, notes=(KNOWN,))
    assert split.seed == 7


def test_the_same_data_gives_the_same_split_where_copies_were_left_out() -> None:
    names = [f"{role}/{name}" for role in ("train", "test") for name in NAMES]
    examined = fake_data(names, {"train/glass/00.jpg": "test/glass/00.jpg"})
    earlier = make_split(examined, (), ROOT, 0)
    assert set(reason_of(earlier)) == {"train/glass/00.jpg"}
    split = _reuse(examined, earlier)
    assert role_of(split) == role_of(earlier)
    assert reason_of(split) == {"train/glass/00.jpg": "belongs together with test/glass/00.jpg, which is in test"}


def test_the_last_copy_keeps_the_role_of_its_content() -> None:
    names = [f"{role}/{name}" for role in ("train", "test") for name in NAMES]
    copy = {"train/glass/00.jpg": "test/glass/00.jpg"}
    earlier = make_split(fake_data(names, copy), (), ROOT, 0)
    names.remove("test/glass/00.jpg")
    assert role_of(_reuse(fake_data(names, copy), earlier))["train/glass/00.jpg"] is Role.TEST


def test_files_that_were_renamed_are_known_by_their_content(earlier: Split) -> None:
    moved = {f"{name.split('/')[0]}/new/{number}.jpg": name for number, name in enumerate(NAMES)}
    split = _reuse(fake_data(moved, moved), earlier)
    assert {moved[file]: role for file, role in role_of(split).items()} == role_of(earlier)


def test_photos_that_are_new_train(earlier: Split) -> None:
    split = _reuse(fake_data([*NAMES, "glass/x.jpg", "metal/y.jpg"]), earlier)
    assert role_of(split) == {**role_of(earlier), "glass/x.jpg": Role.TRAIN, "metal/y.jpg": Role.TRAIN}
    assert split.notes == (KNOWN, "2 new photos went to train")


def test_photos_that_are_new_and_show_what_judges_are_left_out(earlier: Split) -> None:
    val, test, train = (_first(earlier, role) for role in (Role.VAL, Role.TEST, Role.TRAIN))
    new = [f"{file.split('/')[0]}/new_{number}.jpg" for number, file in enumerate((val, test, train))]
    split = _reuse(fake_data([*NAMES, *new]), earlier, (val, new[0]), (test, new[1]), (train, new[2]))
    assert reason_of(split) == {
        new[0]: f"belongs together with {val}, which is in val",
        new[1]: f"belongs together with {test}, which is in test",
    }
    assert role_of(split) == {**role_of(earlier), new[2]: Role.TRAIN}
    assert "left out 2 photos without a role that belong together with photos in val or test" in split.notes


def test_a_copy_of_a_photo_that_judges_judges_too(earlier: Split) -> None:
    test = _first(earlier, Role.TEST)
    copy = f"{test.split('/')[0]}/copy.jpg"
    assert role_of(_reuse(fake_data([*NAMES, copy], {copy: test}), earlier))[copy] is Role.TEST


def test_of_twins_that_the_earlier_split_did_not_know_the_judge_stays(earlier: Split) -> None:
    train, test = (
        next(one.file for one in earlier.roles[role] if one.label == "glass") for role in (Role.TRAIN, Role.TEST)
    )
    split = _reuse(fake_data(NAMES), earlier, (train, test))
    assert reason_of(split) == {train: f"shows the same picture as {test}, which is in test"}
    assert any("two roles of the earlier split" in note for note in split.notes)


def test_a_label_that_changed_is_the_new_one_in_the_old_role(earlier: Split) -> None:
    test = next(one.file for one in earlier.roles[Role.TEST] if one.label == "glass")
    moved = test.replace("glass", "metal/from_glass")
    names = [*(name for name in NAMES if name != test), moved]
    split = _reuse(fake_data(names, {moved: test}), earlier)
    assert SplitFile(moved, sha(test), "metal") in split.roles[Role.TEST]
    assert split.notes == (KNOWN, "1 photo got another label since the earlier split; the new label counts")


def test_photos_that_are_gone_are_counted(earlier: Split) -> None:
    split = _reuse(fake_data([name for name in NAMES if name != _first(earlier, Role.TRAIN)]), earlier)
    assert split.notes == (KNOWN, "1 photo of the earlier split can't be found in the data set")


@pytest.mark.parametrize("role", list(Role))
def test_a_role_that_is_left_without_photos_is_refused(earlier: Split, role: Role) -> None:
    gone = {one.file for one in earlier.roles[role]}
    words = rf"of the {len(gone)} {role.value} photos of the earlier split none is left .* or leave out --split"
    with pytest.raises(DataError, match=words if role is not Role.TRAIN else "train photos"):
        _reuse(fake_data(set(NAMES) - gone), earlier)


def test_a_class_without_photos_to_train_on_is_refused(earlier: Split) -> None:
    gone = {one.file for one in earlier.roles[Role.TRAIN] if one.label == "glass"}
    with pytest.raises(DataError, match="class 'glass' has 0 different photos to train on, expected at least 1"):
        _reuse(fake_data(set(NAMES) - gone), earlier)


def test_a_class_that_is_new_trains_and_the_lack_is_noted(earlier: Split) -> None:
    split = _reuse(fake_data([*NAMES, "trash/0.jpg"]), earlier)
    assert split.labels == (*KINDS, "trash")
    for role in ("val", "test"):
        assert f"class 'trash' is in no {role} photo: the earlier split has none" in split.notes


def test_roles_that_the_data_brings_are_set_aside(earlier: Split) -> None:
    moved = {f"{('train', 'val', 'test')[number % 3]}/{name}": name for number, name in enumerate(NAMES)}
    split = _reuse(fake_data(moved, moved), earlier)
    assert {moved[file]: role for file, role in role_of(split).items()} == role_of(earlier)
    assert split.notes == (KNOWN, "the split that the data set brings was not used")


class TestGroups:
    names = tuple(f"{kind}/bin{number}/{one}.jpg" for kind in KINDS for number in range(10) for one in range(6))

    @pytest.fixture
    def earlier(self) -> Split:
        return self._split(self.names)

    def test_a_photo_of_a_group_that_judges_is_left_out(self, earlier: Split) -> None:
        of = {role: _first(earlier, role).split("/")[1] for role in Role}
        new = {role: f"glass/{of[role]}/x.jpg" for role in Role}
        split = self._split([*self.names, *new.values(), "glass/bin11/x.jpg"], earlier)
        assert set(reason_of(split)) == {new[Role.VAL], new[Role.TEST]}
        assert role_of(split)[new[Role.TRAIN]] is role_of(split)["glass/bin11/x.jpg"] is Role.TRAIN

    def test_new_photos_whose_groups_nobody_looked_at_are_named(self, earlier: Split) -> None:
        split = _reuse(fake_data([*self.names, "glass/bin1/x.jpg"]), earlier)
        assert any("kept the groups of --group-by folder:1 whole, but" in note for note in split.notes)
        assert split.grouped_by == ""

    def test_the_same_photos_are_grouped_as_they_were(self, earlier: Split) -> None:
        split = _reuse(fake_data(self.names), earlier)
        assert split.grouped_by == "folder:1"
        assert split.notes == (KNOWN,)

    def test_across_the_roles_of_the_earlier_split_are_refused(self) -> None:
        earlier = make_split(fake_data(self.names), (), ROOT, 0)
        with pytest.raises(
            DataError, match=r"of the earlier split .* put the group in one, or leave out --group-by"
        ):
            self._split(self.names, earlier)

    def _split(self, names: object, reuse: Split | None = None) -> Split:
        examined = fake_data(names)  # type: ignore[arg-type]
        keys = [sample.photo.name.split("/")[1] for sample in examined.samples]
        return make_split(examined, (), ROOT, 0, keys, reuse, "folder:1")
