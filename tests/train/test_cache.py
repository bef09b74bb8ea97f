"""The cache of pixels: made once, whole or not at all, bounded, and noticed where it is damaged."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import resource
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import DataError
from edge.preprocess import InputSpec, Resize, preprocess
from tests.made import write_photos
from train.dataset import cache as module
from train.dataset.cache import HEADER, Decoded, Limits, Sheet, Source, Stored, open_sheets

VIEWS = (InputSpec(32, 32), InputSpec(40, 40, Resize.STRETCH))
SPAWN = multiprocessing.get_context("spawn")
"""A child of its own, without this process's threads."""


def _sources(folder: Path, count: int = 12, seed: int = 0) -> list[Source]:
    paths = sorted(write_photos(folder / f"photos{seed}", -(-count // 3), seed=seed).rglob("*.jpg"))[:count]
    sources = [Source(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    return sorted(sources, key=lambda source: source.sha256)


@dataclass
class _Opened:
    sheets: tuple[Sheet, ...]
    said: list[str] = field(default_factory=list)
    told: list[tuple[int, int]] = field(default_factory=list)


def _open(
    folder: Path,
    sources: Sequence[Source],
    views: Sequence[InputSpec] = VIEWS,
    limits: Limits = Limits(),  # noqa: B008  frozen
) -> _Opened:
    opened = _Opened(())
    opened.sheets = open_sheets(
        sources, views, folder, limits, lambda done, total: opened.told.append((done, total)), opened.said.append
    )
    return opened


def _is_right(sheet: Sheet, sources: Sequence[Source], view: InputSpec) -> bool:
    pixels, aspects = sheet.take(np.arange(len(sources)))
    expected = np.stack([preprocess(source.path.read_bytes(), view) for source in sources])
    return np.array_equal(pixels, expected) and aspects.tolist() == [1.0] * len(sources)


def _left(folder: Path) -> list[str]:
    """Return what lies in the folder beside the lock."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock") if folder.exists() else []


class TestMaking:
    def test_each_photo_is_decoded_once_for_all_views_and_never_again(self, tmp_path: Path) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        first = _open(folder, sources)
        assert first.told == [(done, 12) for done in range(1, 13)]
        assert first.said == []
        for source in sources:
            source.path.rename(source.path.with_suffix(".gone"))
        again = _open(folder, sources)
        assert again.told == []
        for source in sources:
            source.path.with_suffix(".gone").rename(source.path)
        for opened in (first, again):
            assert all(isinstance(sheet, Stored) for sheet in opened.sheets)
            assert all(_is_right(sheet, sources, view) for sheet, view in zip(opened.sheets, VIEWS, strict=True))
        assert len(_left(folder)) == 2

    def test_a_view_more_makes_that_view_alone(self, tmp_path: Path) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        _open(folder, sources, VIEWS[:1])
        before = {path.name: path.stat().st_ino for path in folder.glob("*.pixels")}
        opened = _open(folder, sources)
        assert len(opened.told) == 12
        assert all((folder / name).stat().st_ino == inode for name, inode in before.items())
        assert _is_right(opened.sheets[1], sources, VIEWS[1])

    def test_rows_come_in_any_order_and_any_number(self, tmp_path: Path) -> None:
        sources = _sources(tmp_path)
        stored = _open(tmp_path / "pixels", sources).sheets[0]
        decoded = Decoded(sources, VIEWS[0])
        rows = np.array([5, 0, 5, 11])
        for a, b in zip(stored.take(rows), decoded.take(rows), strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)

    def test_what_is_taken_is_a_copy(self, tmp_path: Path) -> None:
        sources = _sources(tmp_path)
        (sheet,) = _open(tmp_path / "pixels", sources, VIEWS[:1]).sheets
        sheet.take(np.arange(3))[0][:] = 0
        assert _is_right(sheet, sources, VIEWS[0])

    def test_other_photos_are_another_file(self, tmp_path: Path) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        for part in (sources, sources[1:], sources[:-1]):
            assert _is_right(_open(folder, part, VIEWS[:1]).sheets[0], part, VIEWS[0])
        assert len(_left(folder)) == 3

    def test_another_decoder_is_another_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        _open(folder, sources, VIEWS[:1])
        monkeypatch.setattr(module, "FORMAT", module.FORMAT + "0")
        assert len(_open(folder, sources, VIEWS[:1]).told) == 12

    def test_to_another_process_goes_the_name_alone(self, tmp_path: Path) -> None:
        sources = _sources(tmp_path)
        (sheet,) = _open(tmp_path / "pixels", sources, VIEWS[:1]).sheets
        sent = pickle.dumps(sheet)
        assert len(sent) < 1000
        assert _is_right(pickle.loads(sent), sources, VIEWS[0])


class TestPhotos:
    @pytest.mark.parametrize("limits", [Limits(), Limits(total=0)], ids=["cached", "decoded"])
    @pytest.mark.parametrize("trouble", ["changed", "broken", "gone"])
    def test_one_that_is_not_what_it_was_is_named(self, tmp_path: Path, trouble: str, limits: Limits) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        path = sources[7].path
        if trouble == "changed":
            path.write_bytes(sources[0].path.read_bytes())
        elif trouble == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:500])
            sources[7] = Source(path, hashlib.sha256(path.read_bytes()).hexdigest())
        why = {"changed": "has changed", "gone": "can't be read", "broken": "broken or truncated"}[trouble]
        with pytest.raises(DataError, match=rf"{path.name}.*{why}"):
            _open(folder, sources, VIEWS, limits).sheets[0].take(np.arange(12))
        assert _left(folder) == []


class TestDamage:
    @pytest.mark.parametrize("damage", ["shorter", "half", "longer", "empty", "header", "digest", "other"])
    def test_is_noticed_and_mended(self, tmp_path: Path, damage: str) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        _open(folder, sources, VIEWS[:1])
        (path,) = folder.glob("*.pixels")
        data = bytearray(path.read_bytes())
        if damage == "shorter":
            del data[-4:]
        elif damage == "half":
            del data[len(data) // 2 :]
        elif damage == "longer":
            data += bytes(4)
        elif damage == "empty":
            data.clear()
        elif damage == "header":
            data[:HEADER] = bytes(HEADER)
        elif damage == "digest":
            data[10] ^= 1
        else:
            _open(folder, sources[1:], VIEWS[:1])
            data = bytearray(next(one for one in folder.glob("*.pixels") if one != path).read_bytes())
        path.write_bytes(data)
        opened = _open(folder, sources, VIEWS[:1])
        assert len(opened.told) == 12
        assert len(opened.said) == 1
        assert "damaged" in opened.said[0]
        assert _is_right(opened.sheets[0], sources, VIEWS[0])
        assert _open(folder, sources, VIEWS[:1]).said == []


class TestBounds:
    SIZE = HEADER + 12 * (32 * 32 * 3 + 4)

    def test_the_file_used_longest_ago_goes_first(self, tmp_path: Path) -> None:
        folder, limits = tmp_path / "pixels", Limits(total=2 * self.SIZE)
        sets = [_sources(tmp_path, seed=seed) for seed in range(3)]
        for number in (0, 1):
            _open(folder, sets[number], VIEWS[:1], limits)
            time.sleep(0.02)
        _open(folder, sets[0], VIEWS[:1], limits)  # used again: the second is the older one now
        time.sleep(0.02)
        assert isinstance(_open(folder, sets[2], VIEWS[:1], limits).sheets[0], Stored)
        assert len(_left(folder)) == 2
        assert _open(folder, sets[0], VIEWS[:1], limits).told == []
        assert len(_open(folder, sets[1], VIEWS[:1], limits).told) == 12

    def test_an_evicted_file_can_still_be_read_by_who_has_it(self, tmp_path: Path) -> None:
        folder, limits = tmp_path / "pixels", Limits(total=self.SIZE)
        first, second = (_sources(tmp_path, seed=seed) for seed in range(2))
        (sheet,) = _open(folder, first, VIEWS[:1], limits).sheets
        _open(folder, second, VIEWS[:1], limits)
        assert len(_left(folder)) == 1
        assert _is_right(sheet, first, VIEWS[0])

    def test_what_does_not_fit_is_decoded_and_evicts_nothing(self, tmp_path: Path) -> None:
        folder, limits = tmp_path / "pixels", Limits(total=self.SIZE)
        small, large = _sources(tmp_path), _sources(tmp_path, 15, seed=1)
        _open(folder, small, VIEWS[:1], limits)
        kept = _left(folder)
        opened = _open(folder, large, VIEWS[:1], limits)
        assert isinstance(opened.sheets[0], Decoded)
        assert opened.told == []
        assert len(opened.said) == 1
        assert "decoded whenever it is needed" in opened.said[0]
        assert _left(folder) == kept
        assert _is_right(opened.sheets[0], large, VIEWS[0])

    def test_a_view_in_use_is_not_evicted_for_the_other(self, tmp_path: Path) -> None:
        folder, sources = tmp_path / "pixels", _sources(tmp_path)
        _open(folder, sources, VIEWS[:1])
        opened = _open(folder, sources, VIEWS, Limits(total=self.SIZE + 1000))
        assert "decoded whenever it is needed" in opened.said[0]
        assert len(_left(folder)) == 1

    @pytest.mark.parametrize(("share", "kept"), [(1.0, False), (0.0, True)])
    def test_some_of_the_disk_stays_free(self, tmp_path: Path, share: float, kept: bool) -> None:
        sources, limits = _sources(tmp_path), Limits(free=2**60, free_share=share)
        opened = _open(tmp_path / "pixels", sources, VIEWS[:1], limits)
        assert isinstance(opened.sheets[0], Stored) is kept
        assert bool(opened.said) is not kept
        assert _is_right(opened.sheets[0], sources, VIEWS[0])


class TestTrouble:
    @pytest.mark.parametrize("early", [True, False])
    def test_a_full_disk_is_said_and_photos_are_decoded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
    ) -> None:
        """Early, when the room is reserved, or late, with some photos written."""
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        if not early:
            monkeypatch.setattr(os, "posix_fallocate", lambda *_: None)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER + 20_000, before[1]))
        try:
            opened = _open(folder, sources)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert bool(opened.told) is not early
        assert len(opened.said) == 1
        assert "can't be kept" in opened.said[0]
        assert _left(folder) == []
        assert all(_is_right(sheet, sources, view) for sheet, view in zip(opened.sheets, VIEWS, strict=True))

    def test_a_place_that_is_no_folder_is_said(self, tmp_path: Path) -> None:
        sources = _sources(tmp_path)
        (tmp_path / "pixels").write_text("")
        opened = _open(tmp_path / "pixels", sources)
        assert "can't be kept" in opened.said[0]
        assert _is_right(opened.sheets[0], sources, VIEWS[0])

    def test_an_interruption_leaves_nothing(self, tmp_path: Path) -> None:
        def stop(done: int, total: int) -> None:
            if done == 5:
                raise KeyboardInterrupt

        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        with pytest.raises(KeyboardInterrupt):
            open_sheets(sources, VIEWS, folder, Limits(), stop, print)
        assert _left(folder) == []
        assert _is_right(_open(folder, sources).sheets[0], sources, VIEWS[0])

    def test_what_a_killed_process_left_goes_and_its_lock_is_free(self, tmp_path: Path) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        begun = SPAWN.Event()
        child = SPAWN.Process(target=_stall, args=(sources, folder, begun))
        child.start()
        assert begun.wait(60)
        assert child.pid
        os.kill(child.pid, signal.SIGKILL)
        child.join(10)
        assert len(_left(folder)) == 2  # halves
        opened = _open(folder, sources)
        assert opened.said == []
        assert len(_left(folder)) == 2
        assert not any(name.startswith(".") for name in _left(folder))
        assert _is_right(opened.sheets[1], sources, VIEWS[1])

    def test_of_two_processes_one_decodes_and_the_other_waits(self, tmp_path: Path) -> None:
        sources, folder = _sources(tmp_path), tmp_path / "pixels"
        results: Any = SPAWN.Queue()
        children = [SPAWN.Process(target=_race, args=(sources, folder, results)) for _ in range(2)]
        for child in children:
            child.start()
        found = [results.get(timeout=100) for _ in children]
        for child in children:
            child.join(10)
        assert sorted(told for told, _, _ in found) == [0, 12]
        assert all(right for _, right, _ in found)
        assert [said for told, _, said in found if told] == [[]]
        assert len(_left(folder)) == 2


def _stall(sources: list[Source], folder: Path, begun: Any) -> None:
    def wait(done: int, total: int) -> None:
        if done == 6:
            begun.set()
            time.sleep(600)

    open_sheets(sources, VIEWS, folder, Limits(), wait, print)


def _race(sources: list[Source], folder: Path, results: Any) -> None:
    said: list[str] = []
    told = []

    def slowly(done: int, total: int) -> None:
        told.append(done)
        time.sleep(0.2)

    sheets = open_sheets(sources, VIEWS, folder, Limits(), slowly, said.append)
    results.put((len(told), _is_right(sheets[0], sources, VIEWS[0]), said))
