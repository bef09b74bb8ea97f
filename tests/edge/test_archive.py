from __future__ import annotations

import random
import shutil
import stat
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge import archive as archives
from edge.archive import LEFT, left_packed, unpack
from edge.errors import DataError

ENDINGS = frozenset((".jpg", ".png"))
Entry = tuple[str, bytes]


def make_zip(path: Path, entries: Sequence[Entry], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as file:
        warnings.simplefilter("ignore")  # of the names that are there twice on purpose
        for name, data in entries:
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, compression
            file.writestr(info, data)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, cache: Path, *words: str) -> None:
    """Assert a DataError that names the archive, and that nothing stays in the cache or leaves it."""
    before = set(tree(archive.parent))
    with pytest.raises(DataError) as caught:
        unpack(archive, cache, ENDINGS)
    assert str(archive) in str(caught.value)
    for word in words:
        assert word in str(caught.value), caught.value
    assert not cache.exists() or list(cache.iterdir()) == []
    assert set(tree(archive.parent)) == before


class TestUnpack:
    def test_images_are_unpacked_and_nothing_else(self, tmp_path: Path) -> None:
        entries = [
            ("a/1.jpg", b"one"),
            ("a/2.PNG", b"two"),
            ("read.me", b"x"),
            ("run.sh", b"x"),
            ("b/3.jpg.exe", b"x"),
        ]
        folder = unpack(make_zip(tmp_path / "a.zip", entries), tmp_path / "cache", ENDINGS)
        left = {LEFT: b"read.me\nrun.sh\nb/3.jpg.exe\n"}
        assert tree(folder) == {"a/1.jpg": b"one", "a/2.PNG": b"two"} | left
        assert left_packed(folder) == ("read.me", "run.sh", "b/3.jpg.exe")
        assert list((tmp_path / "cache").iterdir()) == [folder]

    @pytest.mark.parametrize(
        "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    def test_every_compression(self, tmp_path: Path, compression: int) -> None:
        data = random.Random(0).randbytes(50_000) + bytes(50_000)
        folder = unpack(
            make_zip(tmp_path / "a.zip", [("a/1.jpg", data)], compression), tmp_path / "cache", ENDINGS
        )
        assert tree(folder) == {"a/1.jpg": data}

    def test_backslashes_are_folders(self, tmp_path: Path) -> None:
        folder = unpack(make_zip(tmp_path / "a.zip", [("a\\1.jpg", b"one")]), tmp_path / "cache", ENDINGS)
        assert tree(folder) == {"a/1.jpg": b"one"}

    def test_any_language(self, tmp_path: Path) -> None:
        folder = unpack(make_zip(tmp_path / "a.zip", [("été/猫.jpg", b"one")]), tmp_path / "cache", ENDINGS)
        assert tree(folder) == {"été/猫.jpg": b"one"}

    def test_empty_zip_gives_an_empty_folder(self, tmp_path: Path) -> None:
        assert tree(unpack(make_zip(tmp_path / "a.zip", []), tmp_path / "cache", ENDINGS)) == {}


class TestCache:
    def test_a_second_call_unpacks_nothing(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip", [("a/1.jpg", b"one")])
        folder = unpack(archive, tmp_path / "cache", ENDINGS)
        (folder / "a" / "1.jpg").write_bytes(b"marked")
        assert unpack(archive, tmp_path / "cache", ENDINGS) == folder
        assert tree(folder) == {"a/1.jpg": b"marked"}

    def test_goes_by_content_and_not_by_name(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip", [("a/1.jpg", b"one")])
        first = unpack(archive, tmp_path / "cache", ENDINGS)
        assert unpack(archive.rename(tmp_path / "renamed.zip"), tmp_path / "cache", ENDINGS) == first
        make_zip(archive, [("a/1.jpg", b"two")])
        second = unpack(archive, tmp_path / "cache", ENDINGS)
        assert second != first
        assert tree(second) == {"a/1.jpg": b"two"}
        assert tree(first) == {"a/1.jpg": b"one"}

    def test_two_at_the_same_time_both_get_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = make_zip(tmp_path / "a.zip", [("a/1.jpg", b"one")])
        extract, folders = archives._extract, []

        def slow(*arguments: object) -> None:
            if not folders:  # while the first one is unpacking, a second one begins and ends
                folders.append(Path())
                folders.append(unpack(archive, tmp_path / "cache", ENDINGS))
            extract(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(archives, "_extract", slow)
        assert unpack(archive, tmp_path / "cache", ENDINGS) == folders[1]
        assert tree(folders[1]) == {"a/1.jpg": b"one"}
        assert list((tmp_path / "cache").iterdir()) == [folders[1]]


class TestRefused:
    @pytest.mark.parametrize(
        "name",
        [
            "../out.jpg",
            "a/../../out.jpg",
            "a/../in.jpg",
            "/out.jpg",
            "//host/out.jpg",
            "..\\out.jpg",
            "a\\..\\..\\out.jpg",
            "\\out.jpg",
            "C:\\out.jpg",
            "C:/out.jpg",
            "c:out.jpg",
            "../out.txt",
        ],
    )
    def test_names_that_climb_out(self, tmp_path: Path, name: str) -> None:
        inside = tmp_path / "in" / "side"
        inside.mkdir(parents=True)
        archive = make_zip(inside / "a.zip", [("a/1.jpg", b"good"), (name, b"bad")])
        refused(archive, inside / "cache", repr(name), "climbs out")
        assert list(tree(tmp_path)) == ["in/side/a.zip"]

    def test_a_link(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            info = zipfile.ZipInfo("a/1.jpg")
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, "/etc/passwd")
        refused(tmp_path / "a.zip", tmp_path / "cache", "link 'a/1.jpg'")

    def test_encrypted(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip", [("a/1.jpg", b"secret")])
        data = bytearray(archive.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            data[data.index(signature) + offset] |= 1
        archive.write_bytes(data)
        refused(archive, tmp_path / "cache", "encrypted ('a/1.jpg')")

    def test_a_bomb_by_its_ratio(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # The real limit is 256 MB: the same judgement on less takes no time.
        monkeypatch.setattr(archives, "FREE_BYTES", 1_000_000)
        archive = make_zip(tmp_path / "a.zip", [(f"a/{number}.jpg", bytes(600_000)) for number in range(2)])
        refused(archive, tmp_path / "cache", "would unpack", "1200000", "50 times")
        small = make_zip(tmp_path / "small.zip", [("a/1.jpg", bytes(600_000))])
        unpack(small, tmp_path / "cache", ENDINGS)
        honest = make_zip(tmp_path / "honest.zip", [("a/1.jpg", random.Random(0).randbytes(1_100_000))])
        unpack(honest, tmp_path / "cache", ENDINGS)

    def test_a_real_bomb(self, tmp_path: Path) -> None:
        archive = tmp_path / "a.zip"
        chunk = bytes(8_000_000)
        with (
            zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
            file.open("a/1.jpg", "w") as member,
        ):
            for _ in range(archives.FREE_BYTES // len(chunk) + 1):
                member.write(chunk)
        assert archive.stat().st_size < 3_000_000
        refused(archive, tmp_path / "cache", "would unpack")

    def test_too_many_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archives, "MAX_FILES", 3)
        entries = [(f"a/{number}.jpg", b"x") for number in range(4)]
        refused(make_zip(tmp_path / "a.zip", entries), tmp_path / "cache", "holds 4 files; at most 3")
        unpack(make_zip(tmp_path / "b.zip", entries[:3]), tmp_path / "cache", ENDINGS)

    @pytest.mark.parametrize("data", [b"", b"x", b"no zip at all" * 100, b"PK\x03\x04" + bytes(100)])
    def test_no_zip(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "a.zip").write_bytes(data)
        refused(tmp_path / "a.zip", tmp_path / "cache", "no zip that can be read")

    @pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
    def test_truncated(self, tmp_path: Path, share: float) -> None:
        archive = make_zip(
            tmp_path / "a.zip", [("a/1.jpg", random.Random(0).randbytes(9000)), ("b/2.jpg", b"x" * 999)]
        )
        data = archive.read_bytes()
        archive.write_bytes(data[: int(len(data) * share)])
        refused(archive, tmp_path / "cache", "no zip that can be read")

    @pytest.mark.parametrize(
        ("compression", "kind"),
        [
            (zipfile.ZIP_STORED, "stored"),
            (zipfile.ZIP_DEFLATED, "deflate"),
            (zipfile.ZIP_BZIP2, "bz2"),
            (zipfile.ZIP_LZMA, "lzma"),
        ],
    )
    def test_broken_inside(self, tmp_path: Path, compression: int, kind: str) -> None:
        data = random.Random(0).randbytes(3000) + b"abc" * 3000
        archive = make_zip(tmp_path / "a.zip", [("a/0.jpg", b"good"), ("a/1.jpg", data)], compression)
        broken = bytearray(archive.read_bytes())
        broken[400:460] = b"\xff" * 60
        archive.write_bytes(broken)
        refused(archive, tmp_path / "cache")

    def test_any_broken_bytes_are_unpacked_or_refused(self, tmp_path: Path) -> None:
        rng = random.Random(0)
        entries = [("a/1.jpg", rng.randbytes(300) + b"abc" * 300), ("b/2.jpg", b"def" * 300)]
        good = make_zip(tmp_path / "a.zip", entries).read_bytes()
        outcomes = set()
        for _ in range(300):
            broken = bytearray(good)
            for _ in range(rng.choice((1, 3))):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            (tmp_path / "a.zip").write_bytes(broken)
            try:
                shutil.rmtree(unpack(tmp_path / "a.zip", tmp_path / "cache", ENDINGS))
                outcomes.add("unpacked")
            except DataError:
                outcomes.add("refused")
            assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []
        assert outcomes == {"unpacked", "refused"}

    @pytest.mark.parametrize(
        ("entries", "word"),
        [
            ([("a/1.jpg", b"one"), ("a/1.jpg", b"two")], "'a/1.jpg' twice"),
            ([("a/1.jpg", b"one"), ("a\\1.jpg", b"two")], "twice"),
            ([("a/1.jpg", b"one"), ("a//./1.jpg", b"two")], "twice"),
            ([("a.jpg", b"one"), ("a.jpg/b.jpg", b"two")], ""),
            ([("", b"one")], ""),
            ([(".", b"one")], ""),
            ([("n" * 300 + ".jpg", b"one")], "File name too long"),
        ],
        ids=["same", "same by backslash", "same by dots", "file and folder", "no name", "dot", "long"],
    )
    def test_names_that_can_not_be(self, tmp_path: Path, entries: list[Entry], word: str) -> None:
        refused(make_zip(tmp_path / "a.zip", entries), tmp_path / "cache", word)

    def test_a_file_name_that_is_no_text(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip", [("é/1.jpg", b"one")])
        archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xff"))
        refused(archive, tmp_path / "cache", "no zip that can be read")

    def test_a_compression_that_does_not_exist(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip", [("a/1.jpg", b"one")])
        data = bytearray(archive.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            data[data.index(signature) + offset] = 97
        archive.write_bytes(data)
        refused(archive, tmp_path / "cache", "no zip that can be read")

    def test_a_missing_file_is_a_data_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="can't be read: No such file"):
            unpack(tmp_path / "none.zip", tmp_path / "cache", ENDINGS)

    def test_a_full_disk_is_a_data_error_and_leaves_nothing(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip", [("a/1.jpg", random.Random(0).randbytes(5000))])
        program = (
            "import resource, signal, sys\n"
            "from pathlib import Path\n"
            "from edge.archive import unpack\nfrom edge.errors import DataError\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try:\n    unpack(Path(sys.argv[1]), Path(sys.argv[2]), frozenset(('.jpg',)))\n"
            "except DataError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, archive, tmp_path / "cache"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "can't be unpacked into" in done.stdout, done
        assert list((tmp_path / "cache").iterdir()) == []
