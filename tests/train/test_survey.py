"""The examination of a data set, on planted faults and on real photos."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.errors import DataError
from edge.images import list_photos
from tests.made import pack, shared, write_photos
from tests.train.planted import NEAR, Planted, plant
from train.dataset import shortcuts
from train.dataset import survey as surveys
from train.dataset.examine import examine
from train.dataset.findings import Finding, Kind
from train.dataset.prepare import Division, prepare
from train.dataset.split import read_split, write_split
from train.dataset.survey import Survey, check_readable, spoiling, survey

PICTURES = (Kind.DUPLICATE, Kind.NEAR_DUPLICATE, Kind.LABEL_CONFLICT, Kind.SPLIT_LEAK)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted") / "photos")


@pytest.fixture(scope="module")
def found(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return survey(planted.root, tmp_path_factory.mktemp("cache"))


def _files(found: Survey, *kinds: Kind) -> list[frozenset[str]]:
    return [frozenset(finding.files) for finding in found.findings if finding.kind in kinds]


def _share(pairs: list[tuple[str, ...]], groups: list[frozenset[str]]) -> float:
    return sum(any(set(pair) <= group for group in groups) for pair in pairs) / len(pairs)


def test_every_exact_fault_is_found(planted: Planted, found: Survey) -> None:
    faults = planted.faults
    assert _share(faults["exact"], _files(found, Kind.DUPLICATE)) == 1
    assert _share(faults["conflict"], _files(found, Kind.LABEL_CONFLICT)) == 1
    assert _share(faults["leak"], _files(found, Kind.SPLIT_LEAK)) == 1
    assert _share(faults["truncated"], _files(found, Kind.UNREADABLE)) == 1
    assert _share(faults["misnamed"], _files(found, Kind.WRONG_ENDING)) == 1


def test_19_of_20_near_duplicates_are_found(planted: Planted, found: Survey) -> None:
    groups = _files(found, Kind.NEAR_DUPLICATE)
    shares = {kind: _share(planted.faults[kind], groups) for kind in NEAR}
    assert np.mean(list(shares.values())) >= 0.95, shares
    assert min(shares.values()) >= 0.9, shares


def test_at_most_one_per_cent_of_the_rest_is_accused(planted: Planted, found: Survey) -> None:
    accused = set().union(*_files(found, *PICTURES, Kind.UNREADABLE, Kind.WRONG_ENDING))
    false = accused & planted.clean
    assert len(false) <= 0.01 * len(planted.clean), sorted(false)
    assert len(planted.clean) > 200
    # Nor are pairs joined to others: a group is one picture.
    assert max(map(len, _files(found, *PICTURES))) == 2


def test_how_the_copies_differ_is_said(planted: Planted, found: Survey) -> None:
    words = {"resized": "resized", "cropped": "cropped", "flipped": "mirrored", "turned": "turned"}
    for kind, word in words.items():
        for pair in planted.faults[kind][:5]:
            mine = [finding.detail for finding in found.findings if set(pair) <= set(finding.files)]
            assert mine
            assert word in mine[0], (pair, mine)


def test_what_spoils_a_training_is_told_apart(planted: Planted, found: Survey) -> None:
    kinds = {finding.kind for finding in spoiling(found)}
    assert kinds == {Kind.LABEL_CONFLICT, Kind.SPLIT_LEAK}  # under 5 % of the files are broken
    assert [finding.kind for finding in found.findings] == sorted(
        (finding.kind for finding in found.findings), key=list(Kind).index
    )


def test_the_three_trashnet_photos_in_two_classes_and_no_other_duplicate(tmp_path: Path) -> None:
    found = survey(shared("data/trashnet.zip"), tmp_path)
    pairs = (("glass115", "metal91"), ("glass176", "plastic152"), ("glass389", "plastic332"))
    expected = {frozenset(f"{name.rstrip('0123456789')}/{name}.jpg" for name in pair) for pair in pairs}
    assert set(_files(found, Kind.LABEL_CONFLICT)) == expected
    assert all(
        "equal pixels" in finding.detail for finding in found.findings if finding.kind is Kind.LABEL_CONFLICT
    )
    assert not _files(found, Kind.DUPLICATE)
    begun = time.monotonic()
    assert survey(shared("data/trashnet.zip"), tmp_path).findings == found.findings
    assert time.monotonic() - begun < 2


def test_a_second_look_decodes_nothing_and_a_changed_file_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_photos(tmp_path / "photos", 10)
    first = survey(data, tmp_path / "cache")
    looked: list[str] = []
    look = surveys.examine.__globals__["_look"]
    monkeypatch.setitem(
        surveys.examine.__globals__, "_look", lambda photo: (looked.append(photo.name), look(photo))[1]
    )
    assert survey(data, tmp_path / "cache").findings == first.findings
    assert looked == []
    changed = data / "disc" / "disc_3.jpg"
    status = changed.stat()
    changed.write_bytes(b"\xff" * status.st_size)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time of the content
    again = survey(data, tmp_path / "cache")
    assert looked == ["disc/disc_3.jpg"]
    assert [finding.files for finding in again.findings if finding.kind is Kind.UNREADABLE] == [
        ("disc/disc_3.jpg",)
    ]


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"PK\x03\x04"])
def test_a_broken_memory_is_no_memory(tmp_path: Path, damage: bytes) -> None:
    data = write_photos(tmp_path / "photos", 6)
    first = survey(data, tmp_path / "cache")
    kept = list((tmp_path / "cache" / "examined").iterdir())
    assert len(kept) == 2
    for file in kept:
        file.write_bytes(damage)
    assert survey(data, tmp_path / "cache").findings == first.findings


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 6)
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert survey(data, tmp_path / "cache").examined.files == 18


def _odd(tmp_path: Path) -> Iterator[tuple[Kind, str]]:
    data = write_photos(tmp_path / "photos", 12, size=96)
    big = cv2.imread(str(data / "disc" / "disc_0.jpg"))
    frames = [Image.fromarray(np.full((96, 96, 3), level, np.uint8)) for level in (10, 200)]
    frames[0].save(data / "disc" / "moving.webp", save_all=True, append_images=frames[1:])
    yield Kind.ANIMATED, "disc/moving.webp"
    cv2.imwrite(str(data / "ring" / "small.PNG"), big[:20, :40])
    yield Kind.TINY, "ring/small.PNG"
    cv2.imwrite(str(data / "bars" / "grey.bmp"), cv2.cvtColor(cv2.resize(big, (80, 96)), cv2.COLOR_BGR2GRAY))
    yield Kind.GREY, "bars/grey.bmp"
    Image.fromarray(np.zeros((6400, 6400), np.uint8)).save(data / "bars" / "huge.tif", compression="tiff_lzw")
    yield Kind.HUGE, "bars/huge.tif"
    shutil.move(data / "disc" / "disc_5.jpg", data / "disc" / "disc_5.tiff")
    yield Kind.WRONG_ENDING, "disc/disc_5.tiff"


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_are_not_looked_at_are_named(tmp_path: Path, packed: bool) -> None:
    data = write_photos(tmp_path / "set" / "photos", 5)
    (data / "disc" / "IMG_1.HEIC").write_bytes(b"of a phone")
    (data / "ring" / "Thumbs.db").write_bytes(b"of a system")
    (data / "ring" / ".hidden").write_bytes(b"")
    found = survey(pack(data, tmp_path / "photos.zip") if packed else data, tmp_path / "cache")
    told = next(finding for finding in found.findings if finding.kind is Kind.IGNORED)
    assert [Path(name).name for name in told.files] == ["IMG_1.HEIC", "Thumbs.db"]
    assert "1 .HEIC" in told.detail
    assert not spoiling(found)


def test_odd_files_are_named_by_what_is_odd(tmp_path: Path) -> None:
    expected = dict(_odd(tmp_path))
    found = survey(tmp_path / "photos", tmp_path / "cache")
    for kind, name in expected.items():
        finding = next(finding for finding in found.findings if finding.kind is kind)
        assert name in finding.files, finding
        if kind is not Kind.GREY:
            assert len(finding.files) == 1
    assert not spoiling(found)


def test_imbalance_is_told_from_three_times_on(tmp_path: Path) -> None:
    write_photos(tmp_path / "even", 9, kinds=("disc",))
    write_photos(tmp_path / "even", 3, kinds=("bars",))
    assert Kind.IMBALANCE not in {
        finding.kind for finding in survey(tmp_path / "even", tmp_path / "cache").findings
    }
    write_photos(tmp_path / "even", 10, kinds=("disc",))
    told = [it for it in survey(tmp_path / "even", tmp_path / "cache").findings if it.kind is Kind.IMBALANCE]
    assert "disc has 10 photos, bars 3" in told[0].detail


def _shortcuts(data: Path, cache: Path) -> list[Finding]:
    return [finding for finding in survey(data, cache).findings if finding.kind is Kind.SHORTCUT]


def test_classes_from_two_cameras_are_a_shortcut_and_mixed_ones_are_none(tmp_path: Path) -> None:
    for name, camera_of in (("apart", lambda kind, _: kind), ("mixed", lambda _, number: number % 3)):
        data = write_photos(tmp_path / name, 30)
        for path in data.rglob("*.jpg"):
            exif = Image.Exif()
            exif[271], exif[272] = "Maker", f"Model {camera_of(path.parent.name, int(path.stem.split('_')[1]))}"
            with Image.open(path) as image:
                image.save(path, quality=95, exif=exif.tobytes())
    told = [
        it.detail for it in _shortcuts(tmp_path / "apart", tmp_path / "cache") if it.detail.startswith("camera")
    ]
    assert len(told) == 1
    assert "100%" in told[0]
    assert "disc Maker Model disc" in told[0]
    assert not [it for it in _shortcuts(tmp_path / "mixed", tmp_path / "cache") if it.detail.startswith("camera")]


def test_a_class_of_another_size_and_one_of_another_light_are_shortcuts(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 30, kinds=("disc", "ring"))
    for number, path in enumerate(sorted(data.rglob("*.jpg"))):
        picture = cv2.imread(str(path))
        if path.parent.name == "disc":
            picture = cv2.resize(picture, (80 + number % 3, 80))
        cv2.imwrite(str(path), picture)
    details = " ".join(finding.detail for finding in _shortcuts(data, tmp_path / "cache"))
    assert "size alone tells the class of 100%" in details


def test_over_five_per_cent_broken_spoils_a_training(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 10)
    (data / "disc" / "disc_3.jpg").write_bytes(b"no image")
    check_readable(survey(data, tmp_path / "cache").examined)
    assert not spoiling(survey(data, tmp_path / "cache"))
    (data / "ring" / "ring_1.jpg").write_bytes(b"no image")
    found = survey(data, tmp_path / "cache")
    assert len(spoiling(found)) == 2
    with pytest.raises(DataError, match=r"2 of 30 photos can't be read, over 5%: disc/disc_3\.jpg"):
        check_readable(found.examined)


def test_one_class_is_refused(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 4, kinds=("disc",))
    with pytest.raises(DataError, match=r"one class \(disc\)"):
        survey(data, tmp_path / "cache")


def test_nothing_but_broken_files_is_still_a_survey(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_bytes(b"no image")
    found = survey(tmp_path / "photos", tmp_path / "cache")
    assert len(found.examined.broken) == 2
    assert {finding.kind for finding in spoiling(found)} == {Kind.UNREADABLE, Kind.TOO_FEW}


def test_progress_comes_to_the_end(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 10)
    seen: list[tuple[int, int]] = []
    examined = examine(list_photos(data, tmp_path), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)
    assert len(examined.samples) == 30
    assert examined.thumbs.shape == (30, 32, 32)


def _reads_a_photo(pid: int) -> bool:
    try:
        handles = Path(f"/proc/{pid}/fd")
        return any(os.readlink(handles / name).endswith(".jpg") for name in os.listdir(handles))
    except OSError:
        return False


def test_a_pipe_among_the_photos_is_a_broken_file(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 4)
    os.mkfifo(data / "disc" / "pipe.jpg")
    assert [one.name for one in survey(data, tmp_path / "cache").examined.broken] == ["disc/pipe.jpg"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_was_seen(tmp_path: Path, signum: int) -> None:
    data = write_photos(tmp_path / "photos", 1, size=600)
    for first in list(data.rglob("*.jpg")):
        for number in range(2500):
            shutil.copy(first, first.with_name(f"copy_{number}.jpg"))
    command = [str(Path(sys.executable).parent / "edge-data"), str(data), "-o", str(tmp_path / "report")]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not _reads_a_photo(running.pid):
        time.sleep(0.002)
    running.send_signal(signum)
    _, errors = running.communicate(timeout=20)
    assert running.returncode == 128 + signum, errors
    assert errors.strip().endswith("interrupted")
    assert not (tmp_path / "report").exists()
    assert list((tmp_path / "cache" / "binsight" / "examined").glob("*.npz"))


def test_a_disk_that_fails_once_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_photos(tmp_path / "photos", 8)
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == "disc_3.jpg":
            raise OSError(24, "Too many open files")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        broken = survey(data, tmp_path / "cache").examined.broken
        assert [(one.name, one.reason) for one in broken] == [("disc/disc_3.jpg", "Too many open files")]
    assert not survey(data, tmp_path / "cache").examined.broken


def test_memory_that_runs_out_is_no_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_photos(tmp_path / "photos", 4)

    def fail(image: Image.Image) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "getexif", fail)
        with pytest.raises(MemoryError):
            survey(data, tmp_path / "cache")
    assert not survey(data, tmp_path / "cache").examined.broken


def test_a_class_that_cannot_be_split_is_told_before_training(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 8)
    for number in range(2, 8):
        (data / "ring" / f"ring_{number}.jpg").unlink()
    found = spoiling(survey(data, tmp_path / "cache"))
    assert [finding.kind for finding in found] == [Kind.TOO_FEW]
    assert "class ring has 2 different photos to train on, where 3 are needed" in found[0].detail


def test_names_that_are_no_text(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 8)
    os.rename(data / "disc" / "disc_1.jpg", os.fsencode(data / "disc") + b"/\xff\x1b.jpg")
    prepared = prepare(data, tmp_path / "cache", 0, Division())
    write_split(tmp_path / "split.json", prepared.split)
    assert read_split(tmp_path / "split.json") == prepared.split
    os.rename(data / "disc", os.fsencode(data) + b"/\xffdisc")
    with pytest.raises(DataError, match="not UTF-8; rename it"):
        survey(data, tmp_path / "cache")


def test_shortcuts_of_many_photos_are_read_off_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 20)
    for number in range(13, 20):
        (data / "ring" / f"ring_{number}.jpg").unlink()
    monkeypatch.setattr(shortcuts, "MOST", 18)
    # A class has fewer photos than folds among those that are looked at.
    assert survey(data, tmp_path / "cache").examined.files == 53
