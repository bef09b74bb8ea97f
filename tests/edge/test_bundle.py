from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge import bundle as bundles
from edge.bundle import PARITY_PAGE, PARITY_PHOTOS, Bundle, load, write
from edge.errors import BundleError
from edge.manifest import MANIFEST, NO_VERSION, OutputSpec, Precision, digest
from tests.tiny import make_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(
        tmp_path_factory.mktemp("bundle") / "made",
        precisions=(Precision.FP32, Precision.INT8),
        reject_threshold=0.5,
    )


@pytest.fixture
def folder(made: Bundle, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(made.folder, tmp_path / "copy"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def resign(folder: Path, old: str, new: str) -> None:
    """Alter the manifest's text and give it a version that fits."""
    path = folder / MANIFEST
    text = path.read_text()
    version = json.loads(text)["version"]
    assert old in text
    blank = text.replace(old, new).replace(version, NO_VERSION)
    path.write_text(blank.replace(NO_VERSION, digest(blank.encode())))


class TestLoad:
    def test_is_what_was_written(self, made: Bundle, folder: Path) -> None:
        again = load(folder)
        assert again.manifest == made.manifest
        assert again.contents == made.contents
        assert {entry.file: entry.bytes for entry in again.manifest.files} == {
            name: len(data) for name, data in again.contents.items()
        }

    def test_what_is_read_are_the_verified_bytes_whatever_the_disk_says_later(self, folder: Path) -> None:
        bundle = load(folder)
        before = bundle.read("model.fp32.onnx")
        (folder / "model.fp32.onnx").write_bytes(b"swapped")
        assert bundle.read("model.fp32.onnx") == before

    def test_every_flipped_byte_is_refused(self, folder: Path) -> None:
        rng = random.Random(0)
        for path in sorted(folder.iterdir()):
            good = path.read_bytes()
            for position in {0, len(good) - 1, *(rng.randrange(len(good)) for _ in range(200))}:
                broken = bytearray(good)
                broken[position] ^= 1 << rng.randrange(8)
                path.write_bytes(broken)
                try:
                    load(folder)
                except BundleError as error:
                    assert str(folder) in str(error)  # noqa: PT017  an assertion in a loop of 1000
                else:
                    pytest.fail(f"{path.name} loads with byte {position} flipped")
            path.write_bytes(good)
        load(folder)

    def test_every_missing_file_is_refused_by_name(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            good = path.read_bytes()
            path.unlink()
            with pytest.raises(BundleError, match=f"{path.name} is missing"):
                load(folder)
            path.write_bytes(good)

    @pytest.mark.parametrize("change", [b"", b"x", b"longer by some"])
    def test_another_size_is_refused_with_both(self, folder: Path, change: bytes) -> None:
        path = folder / "golden.npz"
        size = path.stat().st_size
        path.write_bytes((path.read_bytes() + change) if change else path.read_bytes()[:-1])
        with pytest.raises(
            BundleError, match=f"golden.npz has {size + (len(change) or -1)} bytes, expected {size}"
        ):
            load(folder)

    def test_a_link_is_refused_even_to_the_same_bytes(self, folder: Path, tmp_path: Path) -> None:
        path = folder / "model.fp32.onnx"
        path.rename(tmp_path / "elsewhere.onnx")
        path.symlink_to(tmp_path / "elsewhere.onnx")
        with pytest.raises(BundleError, match=r"model.fp32.onnx is a link"):
            load(folder)

    def test_a_folder_in_place_of_a_file_is_refused(self, folder: Path) -> None:
        (folder / "golden.npz").unlink()
        (folder / "golden.npz").mkdir()
        with pytest.raises(BundleError, match=r"golden.npz"):
            load(folder)

    @pytest.mark.parametrize("name", ["../outside.onnx", "/etc/hostname", "sub/model.onnx"])
    def test_a_name_that_leaves_the_folder_is_refused_though_the_file_is_there(
        self, folder: Path, name: str
    ) -> None:
        (folder / "sub").mkdir()
        for place in (folder.parent / "outside.onnx", folder / "sub" / "model.onnx"):
            shutil.copy(folder / "model.fp32.onnx", place)
        resign(folder, '"model.fp32.onnx"', json.dumps(name))
        with pytest.raises(BundleError, match="plain name inside the bundle"):
            load(folder)

    def test_a_name_too_long_for_the_disk_is_refused(self, folder: Path) -> None:
        resign(folder, '"model.fp32.onnx"', json.dumps("n" * 300))
        with pytest.raises(BundleError):
            load(folder)

    @pytest.mark.parametrize(
        "data", [b"[" * 100_000, b" " * 20_000_000, b"{}" + b" " * 20_000_000], ids=["deep", "large", "padded"]
    )
    def test_a_manifest_made_to_hurt_is_refused(self, folder: Path, data: bytes) -> None:
        (folder / MANIFEST).write_bytes(data)
        with pytest.raises(BundleError):
            load(folder)

    def test_a_manifest_larger_than_memory_is_refused(self, folder: Path) -> None:
        with (folder / MANIFEST).open("rb+") as file:
            file.truncate(2**42)  # sparse: it takes no disk
        with pytest.raises(BundleError, match="larger than"):
            load(folder)

    @pytest.mark.parametrize("kind", ["empty folder", "nothing", "file"])
    def test_no_bundle_is_said_so(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "there"
        if kind == "empty folder":
            path.mkdir()
        elif kind == "file":
            path.write_bytes(b"x")
        with pytest.raises(BundleError, match=r"no bundle: manifest.json is missing; make one with edge-export"):
            load(path)

    def test_more_files_than_named_do_no_harm(self, made: Bundle, folder: Path) -> None:
        (folder / "engine.plan").write_bytes(b"a cache of this device")
        assert load(folder).contents == made.contents


class TestLeftOnDisk:
    """The photos and the page of parity, which a bin never opens."""

    PHOTOS = b"photos" * 1000

    @pytest.fixture
    def judged(self, made: Bundle, tmp_path: Path) -> Bundle:
        return write(
            tmp_path / "judged", made.manifest, {**made.contents, PARITY_PHOTOS: self.PHOTOS, PARITY_PAGE: b"<p>"}
        )

    def test_is_read_when_it_is_asked_for(self, judged: Bundle, tmp_path: Path) -> None:
        assert (judged.read(PARITY_PHOTOS), judged.read(PARITY_PAGE)) == (self.PHOTOS, b"<p>")
        assert write(tmp_path / "again", judged.manifest, judged.contents).contents == judged.contents

    def test_takes_no_memory(self, made: Bundle, tmp_path: Path) -> None:
        contents = {**made.contents, PARITY_PHOTOS: bytes(20_000_000)}
        folder = write(tmp_path / "large", made.manifest, contents).folder
        del contents
        tracemalloc.start()
        try:
            bundle = load(folder)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 1_000_000
        assert len(bundle.read(PARITY_PHOTOS)) == 20_000_000

    @pytest.mark.parametrize("file", [PARITY_PHOTOS, PARITY_PAGE])
    def test_is_verified_when_the_bundle_is_loaded(self, judged: Bundle, file: str) -> None:
        path = judged.folder / file
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(BundleError, match=f"{file} was altered"):
            load(judged.folder)

    def test_is_verified_anew_when_it_is_read(self, judged: Bundle, tmp_path: Path) -> None:
        path = judged.folder / PARITY_PHOTOS
        path.write_bytes(self.PHOTOS[:-1] + b"x")
        with pytest.raises(BundleError, match=rf"{judged.folder}: parity.npz was altered"):
            judged.read(PARITY_PHOTOS)
        path.write_bytes(self.PHOTOS + b"x")
        with pytest.raises(BundleError, match=r"parity.npz has 6001 bytes, expected 6000"):
            judged.read(PARITY_PHOTOS)
        path.unlink()
        with pytest.raises(BundleError, match=r"parity.npz is missing"):
            judged.read(PARITY_PHOTOS)
        (tmp_path / "elsewhere").write_bytes(self.PHOTOS)
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BundleError, match=r"parity.npz is a link"):
            judged.read(PARITY_PHOTOS)
        path.unlink()
        path.write_bytes(self.PHOTOS)
        assert judged.read(PARITY_PHOTOS) == self.PHOTOS


class TestArtifact:
    def test_recommended_by_default(self, made: Bundle) -> None:
        assert made.artifact().precision is Precision.FP32
        assert made.artifact(Precision.INT8).file == "model.int8.onnx"

    def test_what_there_is_not_is_named_with_what_there_is(self, made: Bundle) -> None:
        with pytest.raises(BundleError, match="no fp16 graph for onnxruntime \\(it has: fp32, int8\\)"):
            made.artifact(Precision.FP16)
        with pytest.raises(BundleError, match="no fp32 graph for tensorrt \\(it has: none\\)"):
            made.artifact(runtime="tensorrt")

    def test_file_that_the_manifest_does_not_name(self, made: Bundle) -> None:
        with pytest.raises(BundleError, match=r"no parity.npz"):
            made.read("parity.npz")


class TestWrite:
    def test_leaves_the_bundle_and_nothing_else(self, made: Bundle, tmp_path: Path) -> None:
        bundle = write(tmp_path / "out", made.manifest, made.contents)
        assert names(tmp_path) == ["out"]
        assert names(bundle.folder) == sorted([*made.contents, MANIFEST])
        assert bundle.manifest.version == made.manifest.version

    @pytest.mark.parametrize("kind", ["folder", "file"])
    def test_target_that_exists_stays_as_it_is(self, made: Bundle, tmp_path: Path, kind: str) -> None:
        target = tmp_path / "out"
        if kind == "folder":
            target.mkdir()
        mine = target / "mine" if kind == "folder" else target
        mine.write_bytes(b"keep")
        with pytest.raises(BundleError, match="exists; name another folder with -o, or remove it"):
            write(target, made.manifest, made.contents)
        assert mine.read_bytes() == b"keep"
        assert names(tmp_path) == ["out"]

    def test_an_existing_bundle_is_not_overwritten(self, made: Bundle, folder: Path) -> None:
        with pytest.raises(BundleError, match="exists"):
            write(folder, replace(made.manifest, name="other"), made.contents)
        assert load(folder).manifest == made.manifest

    @pytest.mark.parametrize("change", [{"labels": ("a",)}, {"recommended": Precision.FP16}])
    def test_a_manifest_that_contradicts_itself_leaves_nothing(
        self, made: Bundle, tmp_path: Path, change: dict[str, object]
    ) -> None:
        with pytest.raises(BundleError):
            write(tmp_path / "out", replace(made.manifest, **change), made.contents)  # type: ignore[arg-type]
        assert names(tmp_path) == []

    def test_a_figure_that_is_no_number_leaves_nothing(self, made: Bundle, tmp_path: Path) -> None:
        with pytest.raises(BundleError):
            write(tmp_path / "out", replace(made.manifest, output=OutputSpec(float("nan"))), made.contents)
        assert names(tmp_path) == []

    def test_an_artifact_without_its_file_leaves_nothing(self, made: Bundle, tmp_path: Path) -> None:
        contents = {name: data for name, data in made.contents.items() if name != "model.int8.onnx"}
        with pytest.raises(BundleError, match=r"model.int8.onnx"):
            write(tmp_path / "out", made.manifest, contents)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("name", ["../climbed", "sub/file"])
    def test_a_name_that_leaves_the_folder_writes_nothing(self, made: Bundle, tmp_path: Path, name: str) -> None:
        with pytest.raises(BundleError, match="plain name"):
            write(tmp_path / "in" / "out", made.manifest, {**made.contents, name: b"x"})
        assert names(tmp_path) == []

    def test_a_full_disk_is_a_bundle_error_and_leaves_nothing(self, made: Bundle, small_disk: Path) -> None:
        contents = {**made.contents, "large.bin": os.urandom(2_000_000)}
        with pytest.raises(BundleError, match="can't be written: No space left on device"):
            write(small_disk / "out", made.manifest, contents)
        assert names(small_disk) == []
        write(small_disk / "out", made.manifest, made.contents)

    def test_a_limit_of_the_file_size_is_a_bundle_error_and_leaves_nothing(
        self, made: Bundle, tmp_path: Path
    ) -> None:
        program = (
            "import resource, signal, sys\n"
            "from pathlib import Path\n"
            "from edge.bundle import load, write\n"
            "from edge.errors import BundleError\n"
            "made = load(Path(sys.argv[1]))\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
            "try:\n    write(Path(sys.argv[2]), made.manifest, made.contents)\n"
            "except BundleError as error:\n    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, made.folder, tmp_path / "out"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "can't be written: File too large" in done.stdout
        assert names(tmp_path) == []

    def test_killed_at_any_moment_there_is_no_bundle_or_a_whole_one(self, made: Bundle, tmp_path: Path) -> None:
        program = (
            "import shutil, sys\n"
            "from pathlib import Path\n"
            "from edge.bundle import load, write\n"
            "made, target = load(Path(sys.argv[1])), Path(sys.argv[2])\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    write(target, made.manifest, made.contents)\n"
            "    target.rename(target.with_name('gone'))\n"
            "    shutil.rmtree(target.with_name('gone'))\n"
        )
        rng = random.Random(0)
        whole = 0
        for number in range(12):
            place = tmp_path / str(number)
            place.mkdir()
            with subprocess.Popen(
                [sys.executable, "-c", program, made.folder, place / "out"], stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                try:
                    assert process.stdout.readline() == b"ready\n"
                    with pytest.raises(subprocess.TimeoutExpired):  # it never ends by itself
                        process.wait(rng.uniform(0.001, 0.08))
                finally:
                    process.kill()
            assert process.returncode == -signal.SIGKILL
            if (place / "out").exists():
                assert bundles.load(place / "out").manifest == made.manifest
                whole += 1
        assert whole < 12, "never killed while writing: the moments are chosen badly"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, timeout=20, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can be mounted only by root; the limit of the file size stands in")
    yield disk
    subprocess.run(["umount", disk], timeout=20, check=True)
