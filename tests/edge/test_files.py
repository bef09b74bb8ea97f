from __future__ import annotations

import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.files import new_folder, replace_bytes, replace_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestReplaceFile:
    def test_writes_and_replaces(self, tmp_path: Path) -> None:
        for content in (b"one", b"another and longer", b""):
            replace_bytes(tmp_path / "a.txt", content)
            assert (tmp_path / "a.txt").read_bytes() == content
        assert names(tmp_path) == ["a.txt"]

    def test_may_be_read_by_others(self, tmp_path: Path) -> None:
        replace_bytes(tmp_path / "a.txt", b"x")
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644

    def test_a_failing_writer_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes(b"old")

        def fail(temporary: Path) -> None:
            temporary.write_bytes(b"half")
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            replace_file(path, fail)
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["a.txt"]

    def test_temporary_file_keeps_the_suffix_and_lies_beside(self, tmp_path: Path) -> None:
        seen: list[Path] = []

        def write(temporary: Path) -> None:
            seen.append(temporary)
            temporary.write_bytes(b"x")

        replace_file(tmp_path / "a.png", write)
        assert seen[0].suffix == ".png"
        assert seen[0].parent == tmp_path
        assert seen[0].name.startswith(".")

    def test_a_missing_folder_is_an_os_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            replace_bytes(tmp_path / "none" / "a.txt", b"x")

    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes(b"old")
        program = (
            "import resource, signal, sys\n"
            "from pathlib import Path\n"
            "from edge.files import replace_bytes\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))\n"
            "try:\n    replace_bytes(Path(sys.argv[1]), bytes(5000))\nexcept OSError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=False
        )
        assert "too large" in done.stdout, done
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["a.txt"]


class TestNewFolder:
    def test_appears_only_when_done(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "er" / "out"
        with new_folder(target) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "a").write_bytes(b"x")
            assert not target.exists()
        assert (target / "sub" / "a").read_bytes() == b"x"
        assert names(target.parent) == ["out"]
        assert stat.S_IMODE(target.stat().st_mode) == 0o755

    def test_vanishes_on_an_error(self, tmp_path: Path) -> None:
        def interrupted() -> None:
            with new_folder(tmp_path / "out") as folder:
                (folder / "a").write_bytes(b"x")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert names(tmp_path) == []

    def test_takes_the_place_of_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with new_folder(tmp_path / "out") as folder:
            (folder / "a").write_bytes(b"x")
        assert names(tmp_path / "out") == ["a"]

    @pytest.mark.parametrize("kind", ["folder", "file"])
    def test_never_takes_the_place_of_anything_else(self, tmp_path: Path, kind: str) -> None:
        target = tmp_path / "out"
        if kind == "folder":
            target.mkdir()
            (target / "mine").write_bytes(b"keep")
        else:
            target.write_bytes(b"keep")
        with pytest.raises(FileExistsError), new_folder(target):
            pytest.fail("the block must not run")
        assert names(tmp_path) == ["out"]
        assert (target / "mine" if kind == "folder" else target).read_bytes() == b"keep"

    def test_loses_against_who_was_faster(self, tmp_path: Path) -> None:
        def slower() -> None:
            with new_folder(tmp_path / "out") as folder:
                (folder / "a").write_bytes(b"slow")
                (tmp_path / "out").mkdir()
                (tmp_path / "out" / "a").write_bytes(b"fast")

        with pytest.raises(OSError, match="not empty"):
            slower()
        assert (tmp_path / "out" / "a").read_bytes() == b"fast"
        assert names(tmp_path) == ["out"]
