"""Whole groups in one role: sensible shares, no crossing, no class starved; and what holds for any data set."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from edge.errors import DataError
from edge.images import Role
from tests.train.fakes import ROOT, fake_data, reason_of, role_of, sha, twins_of
from train.dataset.deal import make_split
from train.dataset.examine import Examined
from train.dataset.groups import group_keys
from train.dataset.shares import deal
from train.dataset.split import Split
from train.dataset.twins import Group
from train.dataset.units import Unit

SIX: tuple[str, ...] = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
Bins = Mapping[str, Mapping[str, int]]
"""Photos by bin and class."""


def _photos(bins: Bins, prefix: str = "") -> Examined:
    return fake_data(
        f"{prefix}{kind}/{name}/{number}.jpg"
        for name, kinds in bins.items()
        for kind, count in kinds.items()
        for number in range(count)
    )


def _split(examined: Examined, seed: int = 0, twins: Sequence[Group] = ()) -> Split:
    keys = group_keys("folder:1", [sample.photo for sample in examined.samples])
    return make_split(examined, twins, ROOT, seed, keys, grouped_by="folder:1")


def _bins_of(split: Split) -> dict[Role, set[str]]:
    """Return the bins of each role, and fail where a bin is in two."""
    found = {role: {one.file.split("/")[-2] for one in split.roles[role]} for role in Role}
    assert sum(map(len, found.values())) == len(set.union(*found.values())), found
    return found


def _shares(split: Split) -> list[float]:
    sizes = [len(split.roles[role]) for role in Role]
    return [size / sum(sizes) for size in sizes]


def _has_all(split: Split, kinds: Sequence[str] = SIX) -> bool:
    return all({one.label for one in split.roles[role]} == set(kinds) for role in Role)


class TestBins:
    def test_ten_of_the_same_size_are_held_out_two_and_two(self) -> None:
        examined = _photos({f"bin{number}": dict.fromkeys(SIX, 33) for number in range(10)})
        tested = set()
        for seed in range(5):
            split = _split(examined, seed)
            assert [len(bins) for bins in _bins_of(split).values()] == [6, 2, 2]
            assert _has_all(split)
            assert split == _split(examined, seed)
            assert split.grouped_by == "folder:1"
            tested.add(frozenset(_bins_of(split)[Role.TEST]))
        assert len(tested) > 1  # by the seed, and not by their names
        assert split.notes[0] == "test (15%) and val (15%) split off train by whole groups (folder:1)"
        assert split.notes[1] == (
            "train has 6 groups (60% of the photos), val has 2 groups (20% of the photos), "
            "test has 2 groups (20% of the photos)"
        )

    def test_three_give_one_to_each_role(self) -> None:
        examined = _photos({name: dict.fromkeys(SIX, 50) for name in "abc"})
        for seed in range(10):
            split = _split(examined, seed)
            assert [len(bins) for bins in _bins_of(split).values()] == [1, 1, 1]
            assert _has_all(split)

    def test_the_one_with_most_photos_trains(self) -> None:
        bins = {"big": dict.fromkeys(SIX, 720), **{f"bin{one}": dict.fromkeys(SIX, 20) for one in range(9)}}
        for seed in range(10):
            split = _split(_photos(bins), seed)
            assert "big" in _bins_of(split)[Role.TRAIN]
            assert _has_all(split)
            train, val, test = _shares(split)
            assert 0.8 < train < 0.9
            assert val == test > 0.05

    def test_the_one_with_most_photos_trains_even_where_two_others_are_all_there_is(self) -> None:
        bins = {"big": dict.fromkeys(SIX, 80), "a": dict.fromkeys(SIX, 10), "b": dict.fromkeys(SIX, 10)}
        for seed in range(10):
            assert _bins_of(_split(_photos(bins), seed))[Role.TRAIN] == {"big"}

    def test_of_many_small_ones_the_shares_are_close(self) -> None:
        sizes = random.Random(1)
        bins = {f"{one}": {kind: sizes.randrange(30) for kind in SIX} for one in range(100)}
        for seed in range(5):
            split = _split(_photos(bins), seed)
            _bins_of(split)
            train, val, test = _shares(split)
            assert 0.67 < train < 0.73
            assert abs(val - 0.15) < 0.02
            assert abs(test - 0.15) < 0.02

    def test_of_uneven_ones_no_role_gets_too_much(self) -> None:
        for seed in range(30):
            sizes = random.Random(seed)
            bins = {f"{one}": {kind: sizes.randrange(1, 60) for kind in SIX} for one in range(10)}
            split = _split(_photos(bins), seed)
            _bins_of(split)
            assert _has_all(split)
            train, val, test = _shares(split)
            assert train > 0.4
            assert 0.05 < val < 0.3
            assert 0.05 < test < 0.3

    def test_a_class_in_three_of_ten_is_in_every_role(self) -> None:
        bins = {f"bin{one}": dict.fromkeys(SIX[:5], 30) for one in range(10)}
        for one in (2, 5, 7):
            bins[f"bin{one}"] = dict.fromkeys(SIX, 30)
        for seed in range(20):
            split = _split(_photos(bins), seed)
            assert _has_all(split)
            assert [0.1 <= share <= 0.2 for share in _shares(split)] == [False, True, True]
            _bins_of(split)

    def test_where_the_first_order_starves_a_class_others_are_tried(self) -> None:
        bins = {
            "a": {"x": 9},
            "b": {"y": 9, "z": 9},
            "c": {"y": 9},
            "d": {"x": 9, "z": 9},
            "e": {"z": 9},
            "f": {"x": 9, "y": 9},
        }
        for seed in range(40):
            split = _split(_photos(bins), seed)
            _bins_of(split)
            assert _has_all(split, "xyz"), split.notes

    def test_a_class_of_one_bin_trains_and_the_lack_is_noted(self) -> None:
        bins = {f"bin{one}": dict.fromkeys(SIX[:5], 30) for one in range(10)}
        bins["bin7"] = dict.fromkeys(SIX, 30)
        for seed in range(20):
            split = _split(_photos(bins), seed)
            assert "bin7" in _bins_of(split)[Role.TRAIN]
            assert "class 'trash' is in no test photo: all its photos belong to group bin7" in split.notes
            assert "class 'trash' is in no val photo: all its photos belong to group bin7" in split.notes

    def test_a_class_of_two_bins_trains_and_judges(self) -> None:
        bins = {f"bin{one}": dict.fromkeys(SIX[:5], 30) for one in range(10)}
        bins["bin7"] = bins["bin8"] = dict.fromkeys(SIX, 30)
        split = _split(_photos(bins))
        assert {"trash"} <= {one.label for one in split.roles[Role.TEST]}
        words = "its photos belong to 2 groups (bin7, bin8), of which none could be spared"
        assert f"class 'trash' is in no val photo: {words}" in split.notes

    def test_two_for_three_roles_are_refused(self) -> None:
        words = r"--group-by folder:1 finds 2 groups to split \(a, b\), expected at least 3"
        with pytest.raises(DataError, match=words):
            _split(_photos({name: dict.fromkeys(SIX, 50) for name in "ab"}))

    def test_two_are_enough_where_one_role_is_brought(self) -> None:
        names = [f"train/{kind}/{name}/{number}.jpg" for kind in SIX for name in "ab" for number in range(9)]
        tests = [f"test/{kind}/c/{number}.jpg" for kind in SIX for number in range(9)]
        split = _split(fake_data([*names, *tests]))
        assert [len(bins) for bins in _bins_of(split).values()] == [1, 1, 1]
        with pytest.raises(DataError, match=r"finds 1 group to split \(a\), expected at least 2"):
            _split(fake_data([*(name for name in names if "/a/" in name), *tests]))

    def test_that_share_a_picture_stay_together(self) -> None:
        examined = _photos({f"bin{number}": dict.fromkeys(SIX, 20) for number in range(10)})
        twins = twins_of(examined, ("glass/bin3/0.jpg", "glass/bin8/1.jpg"))
        for seed in range(10):
            split = _split(examined, seed, twins)
            assert sum({"bin3", "bin8"} <= bins for bins in _bins_of(split).values()) == 1
            assert "groups that share pictures stay in one role: bin3, bin8" in split.notes

    def test_that_pictures_tie_into_too_few_are_refused(self) -> None:
        examined = _photos({name: dict.fromkeys(SIX, 5) for name in "abc"})
        twins = twins_of(examined, ("glass/a/0.jpg", "glass/b/1.jpg"))
        with pytest.raises(DataError, match=r"finds 3 groups to split .* tie into 2, expected at least 3"):
            _split(examined, 0, twins)

    def test_are_not_tied_by_pictures_that_are_left_out(self) -> None:
        examined = _photos({name: dict.fromkeys(SIX, 5) for name in "abc"})
        twins = twins_of(examined, ("glass/a/0.jpg", "metal/b/1.jpg"))
        split = _split(examined, 0, twins)
        assert len(reason_of(split)) == 2
        assert [len(bins) for bins in _bins_of(split).values()] == [1, 1, 1]

    def test_each_with_a_class_of_its_own_are_refused(self) -> None:
        words = "--group-by folder:1 leaves no photo for test: every group has the last photos of some class"
        with pytest.raises(DataError, match=words):
            _split(_photos({kind: {kind: 30} for kind in SIX}))

    def test_across_the_roles_that_the_data_brings_are_refused(self) -> None:
        names = [
            f"{role}/{kind}/{role}1/{one}.jpg" for role in ("train", "val") for kind in SIX for one in range(9)
        ]
        words = (
            r"group 'train1' of --group-by folder:1 is in train and in test of the data set "
            r"\(train/cardboard/train1/0.jpg, test/glass/train1/0.jpg\)"
        )
        with pytest.raises(
            DataError, match=words.replace("train and in test", "test and in train|train and in test")
        ):
            _split(fake_data([*names, "test/glass/train1/0.jpg"]))

    def test_keys_must_be_one_a_sample(self) -> None:
        with pytest.raises(ValueError, match="2 keys for 30 samples"):
            make_split(_photos({"a": dict.fromkeys(SIX, 5)}), (), ROOT, 0, ["a", "b"])


def _lacking(units: Sequence[Unit], roles: Sequence[Role]) -> tuple[int, int] | None:
    """Count empty roles and classes that a role lacks; None where train lacks one."""
    has = {
        role: {label for unit, its in zip(units, roles, strict=True) if its is role for label, _ in unit.counts}
        for role in Role
    }
    labels = set.union(*has.values())
    if has.pop(Role.TRAIN) != labels:
        return None
    return sum(not one for one in has.values()), sum(len(labels - one) for one in has.values())


@pytest.mark.parametrize("seed", range(60))
def test_no_other_way_to_deal_a_few_groups_leaves_less_lacking(seed: int) -> None:
    chance = random.Random(seed)
    kinds = "abcd"[: chance.randint(2, 4)]
    counts = [{kind: chance.randint(1, 30) for kind in kinds if chance.random() < 0.6} for _ in range(6)]
    units = [Unit((at,), sha(f"{seed} {at}"), tuple(one.items())) for at, one in enumerate(counts) if one]
    dealt = deal(units, (Role.TEST, Role.VAL), seed)
    roles = [next((role for role, taken in dealt.items() if unit in taken), Role.TRAIN) for unit in units]
    found = [_lacking(units, one) for one in itertools.product(Role, repeat=len(units))]
    assert _lacking(units, roles) == min(one for one in found if one)


@st.composite
def _data_sets(draw: st.DrawFn) -> tuple[Examined, tuple[Group, ...], list[str] | None]:
    """Draw photos in a few classes, some with equal bytes, some twins, in groups or not, split or not."""
    kinds = draw(st.integers(2, 4))
    prefixes = draw(st.sampled_from([("",), ("train/",), ("train/", "test/"), ("train/", "val/", "test/")]))
    count = draw(st.integers(kinds * 4, 60))
    chance = random.Random(draw(st.integers(0, 10_000)))
    names = [f"{chance.choice(prefixes)}class{number % kinds}/{number:03}.jpg" for number in range(count)]
    copied = {name: chance.choice(names) for name in names if chance.random() < 0.1}
    examined = fake_data(names, copied)
    loose = chance.sample(range(count), k=draw(st.integers(0, count // 2)))
    twins = []
    while len(loose) > 1:
        size = chance.choice((2, 2, 2, 3, 6))
        twins.append(Group(tuple(sorted(loose[:size])), (), "resized"))
        loose = loose[size:]
    groups = draw(st.sampled_from([0, 0, 3, 5, 12]))
    keys = [f"group{chance.randrange(groups)}" for _ in names] if groups else None
    return examined, tuple(group for group in twins if len(group.members) > 1), keys


def _check(examined: Examined, twins: Sequence[Group], keys: Sequence[str] | None, split: Split) -> None:
    """Assert what holds for any split of any data set."""
    roles, reasons = role_of(split), reason_of(split)
    names = [sample.photo.name for sample in examined.samples]
    assert sorted([*roles, *reasons]) == names
    assert all(split.roles[role] for role in Role)
    assert {one.label for one in split.roles[Role.TRAIN]} == set(examined.labels)
    held = defaultdict(set)
    labels = defaultdict(set)
    for index, sample in enumerate(examined.samples):
        marks = [sample.digest, *(f"twins {number}" for number, one in enumerate(twins) if index in one.members)]
        for mark in marks if sample.photo.name in roles else ():
            held[mark].add(roles[sample.photo.name])
            labels[mark].add(sample.photo.label)
        if keys is not None and sample.photo.name in roles:
            held[f"key {keys[index]}"].add(roles[sample.photo.name])
    assert all(len(one) == 1 for one in held.values())
    assert all(len(one) == 1 for one in labels.values())


# Small data sets often can't be split at all, and now and then most of the first that are drawn.
MANY = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])


@MANY
@given(_data_sets(), st.integers(0, 3))
def test_nothing_is_in_two_roles_whatever_the_data(
    data: tuple[Examined, tuple[Group, ...], list[str] | None], seed: int
) -> None:
    examined, twins, keys = data
    try:
        split = make_split(examined, twins, ROOT, seed, keys, grouped_by="x" if keys else "")
    except DataError:
        reject()
    _check(examined, twins, keys, split)
    assert make_split(examined, twins, ROOT, seed, keys, grouped_by="x" if keys else "") == split
    again = make_split(examined, twins, ROOT, seed + 1, keys, reuse=split, grouped_by="x" if keys else "")
    assert role_of(again) == role_of(split)
    assert reason_of(again).keys() == reason_of(split).keys()


@MANY
@given(_data_sets(), st.integers(0, 3), st.integers(0, 10_000))
def test_nothing_is_in_two_roles_when_a_data_set_has_grown(
    data: tuple[Examined, tuple[Group, ...], list[str] | None], seed: int, part: int
) -> None:
    examined, twins, keys = data
    chance = random.Random(part)
    before = replace(examined, samples=tuple(one for one in examined.samples if chance.random() < 0.7))
    try:
        earlier = make_split(before, (), ROOT, seed)
        split = make_split(examined, twins, ROOT, seed, keys, reuse=earlier, grouped_by="x" if keys else "")
    except DataError:
        reject()
    _check(examined, twins, keys, split)
    was = {one.sha256: role for role in Role for one in earlier.roles[role]}
    now = Counter(was.get(one.sha256, Role.TRAIN) is role for role in Role for one in split.roles[role])
    assert not now[False]
