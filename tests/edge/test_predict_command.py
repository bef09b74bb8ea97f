"""edge-predict as a real process."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle
from edge.draw import GREEN, RED
from edge.manifest import Verdict
from edge.preprocess import Pixels, decode
from tests.edge.test_eval_command import users_folder
from tests.edge.test_evaluate import put
from tests.made import BIN, command, one_line_error
from tests.tiny import COLOURS, make_bundle, png, solid, with_verdict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("predict") / "bundle", reject_threshold=0.9)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A blue and a red photo, and one between red and green."""
    folder = tmp_path / "photos"
    put(folder / "1.png", "blue")
    put(folder / "sub" / "2.png", "red")
    (folder / "unsure.png").write_bytes(png(solid("red") // 2 + solid("green") // 2))
    return folder


def edge_predict(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return command("edge-predict", *arguments, timeout=60, **options)


def test_the_runtime_leaves_no_trace_of_its_telemetry(made: Bundle, photos: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        ["env", "-u", "ORT_DISABLE_TELEMETRY", BIN / "edge-predict", made.folder, photos],
        env={**os.environ, **places},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []


def test_what_failed_parity_is_refused_unless_it_is_allowed(made: Bundle, photos: Path, tmp_path: Path) -> None:
    bundle = with_verdict(made, tmp_path / "bundle", Verdict.FAIL, "3 points are lost")
    one_line_error(
        edge_predict(bundle, photos), "edge-predict", "FAIL (3 points are lost)", "--allow-failed-parity"
    )
    done = edge_predict(bundle, photos, "--allow-failed-parity", "--json")
    assert (done.returncode, json.loads(done.stdout)["images"]) == (0, 3)
    assert done.stderr.count("FAIL") == 1


class TestAnswers:
    def test_table(self, made: Bundle, photos: Path) -> None:
        done = edge_predict(made.folder, photos)
        assert (done.returncode, done.stderr) == (0, "")
        head, *rows = [line.split() for line in done.stdout.splitlines()]
        assert head == ["label", "confidence", "decision", "reason", "file"]
        assert [(row[0], row[2], row[3]) for row in rows[:2]] == [
            ("blue", "accepted", str(photos / "1.png")),
            ("red", "accepted", str(photos / "sub" / "2.png")),
        ]
        assert rows[2][2:] == ["rejected", "unsure", str(photos / "unsure.png")]
        assert [float(row[1].rstrip("%")) > 90 for row in rows] == [True, True, False]

    def test_csv(self, made: Bundle, photos: Path) -> None:
        odd = photos / 'a, "quoted".png'
        put(odd, "green")
        done = edge_predict(made.folder, photos, "--csv")
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [row["file"] for row in rows] == [str(path) for path in sorted(photos.rglob("*.png"))]
        assert {row["file"]: (row["label"], row["decision"]) for row in rows}[str(odd)] == ("green", "accepted")
        assert all(0 < float(row["confidence"]) <= 1 for row in rows)

    def test_json(self, made: Bundle, photos: Path) -> None:
        done = edge_predict(made.folder, photos, "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert (result["images"], result["unreadable"]) == (3, [])
        first, _, last = result["predictions"]
        assert (first["file"], first["label"], first["decision"]) == (str(photos / "1.png"), "blue", "accepted")
        assert first["confidence"] == max(first["probabilities"].values()) == first["probabilities"]["blue"]
        assert list(first["probabilities"]) == ["blue", "green", "red"]
        assert sum(first["probabilities"].values()) == pytest.approx(1)
        assert (first["reason"], last["decision"], last["reason"]) == ("", "rejected", "unsure")
        assert first["strangeness"] is None

    def test_a_stranger_is_named_as_one(self, photos: Path, tmp_path: Path) -> None:
        (photos / "dark.png").write_bytes(png(solid("red") // 5 * 3))
        bundle = make_bundle(
            tmp_path / "bundle", reject_threshold=0.9, strangeness=True, stranger_threshold=0.3
        ).folder
        rows = {
            Path(row["file"]).name: row
            for row in csv.DictReader(io.StringIO(edge_predict(bundle, photos, "--csv").stdout))
        }
        assert (rows["1.png"]["decision"], rows["1.png"]["reason"]) == ("accepted", "")
        assert (rows["dark.png"]["decision"], rows["dark.png"]["reason"]) == ("rejected", "stranger")
        assert float(rows["dark.png"]["confidence"]) > 0.9
        shown = json.loads(edge_predict(bundle, photos, "--json").stdout)["predictions"]
        assert {Path(row["file"]).name: row["strangeness"] for row in shown}["dark.png"] == pytest.approx(0.4)

    def test_without_a_threshold_nothing_is_rejected(self, photos: Path, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle").folder
        result = json.loads(edge_predict(bundle, photos, "--json").stdout)
        assert {row["decision"] for row in result["predictions"]} == {"accepted"}

    def test_grid(self, made: Bundle, photos: Path, tmp_path: Path) -> None:
        done = edge_predict(made.folder, photos, "--grid", tmp_path / "grid.png")
        assert done.returncode == 0, done.stderr
        assert "unsure.png" in done.stdout, "the table is printed too"
        picture = decode((tmp_path / "grid.png").read_bytes())
        assert count(picture, COLOURS["blue"]) > 100 * 100
        assert count(picture, COLOURS["red"]) > 100 * 100
        assert count(picture, RED[::-1]) > 4 * 100, "the rejected one has a red frame"
        assert count(picture, GREEN[::-1]) == 0
        left, right = picture[:, : picture.shape[1] // 3], picture[:, picture.shape[1] * 2 // 3 :]
        assert count(left, COLOURS["blue"]) > 0 == count(right, COLOURS["blue"]), "in the order of the table"
        assert count(left, RED[::-1]) == 0

    def test_unreadable_is_named_and_the_rest_is_answered(
        self, made: Bundle, photos: Path, tmp_path: Path
    ) -> None:
        broken = photos / "broken.jpg"
        broken.write_bytes(b"broken")
        done = edge_predict(made.folder, photos, "--json", "--grid", tmp_path / "grid.png")
        assert done.returncode == 1
        assert done.stderr == f"left out {broken}: not an image that can be read (JPEG, PNG, WebP, BMP or TIFF)\n"
        result = json.loads(done.stdout)
        assert (result["images"], [one["file"] for one in result["unreadable"]]) == (3, [str(broken)])
        assert (tmp_path / "grid.png").exists()

    def test_nothing_readable(self, made: Bundle, tmp_path: Path) -> None:
        (tmp_path / "broken.jpg").write_bytes(b"broken")
        done = edge_predict(made.folder, tmp_path / "broken.jpg", "--grid", tmp_path / "grid.png")
        assert done.returncode == 1
        assert "left out" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout.split() == ["label", "confidence", "decision", "reason", "file"]

    @pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)], ids=["table", "csv", "json"])
    @pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
    def test_a_name_that_is_no_text(
        self, made: Bundle, tmp_path: Path, form: tuple[str, ...], encoding: str
    ) -> None:
        folder = tmp_path / "photos"
        put(folder / os.fsdecode(b"\xff\xe9.png"), "red")
        put(folder / "猫.png", "red")
        arguments = (made.folder, folder, *form, "--grid", tmp_path / "grid.png")
        done = edge_predict(*arguments, env={"PYTHONIOENCODING": f"{encoding}:strict"})
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("accepted") == 2

    def test_many_images_do_not_outgrow_a_reader_that_has_gone(self, made: Bundle, tmp_path: Path) -> None:
        photo = tmp_path / "1.png"
        put(photo, "red")
        with subprocess.Popen(
            [BIN / "edge-predict", made.folder, *[photo] * 2000], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()  # as `| head -1` does
            errors = process.stderr.read()
        assert (process.returncode, errors) == (0, b"")


def count(picture: Pixels, colour: tuple[int, ...]) -> int:
    return int((picture == colour).all(axis=2).sum())


def in_a_shell(line: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run edge-predict as "$@" in a line of shell."""
    return subprocess.run(
        ["sh", "-c", line, "sh", BIN / "edge-predict", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestErrors:
    def test_input(self, made: Bundle, photos: Path, tmp_path: Path) -> None:
        one_line_error(edge_predict(tmp_path, photos), "edge-predict", "is no bundle")
        one_line_error(edge_predict(made.folder, tmp_path / "none.jpg"), "edge-predict", "none.jpg does not exist")
        (tmp_path / "empty").mkdir()
        one_line_error(edge_predict(made.folder, tmp_path / "empty"), "edge-predict", "no images in")

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (("--cvs",), "--csv"),
            (("--csv", "--json"), "exclude each other"),
            (("--backend", "tpu"), "'tpu'"),
            (("--precision", "int8"), "no int8 graph"),
        ],
    )
    def test_options(self, made: Bundle, photos: Path, arguments: tuple[str, ...], word: str) -> None:
        done = edge_predict(made.folder, photos, *arguments)
        one_line_error(done, "edge-predict", word)
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""

    def test_a_name_of_two_lines_gives_one_line(self, made: Bundle, tmp_path: Path) -> None:
        done = edge_predict(made.folder, tmp_path / "two\nlines.png")
        one_line_error(done, "edge-predict", "two lines.png does not exist")
        assert len(done.stderr.splitlines()) == 1

    def test_a_full_disk_under_stdout(self, made: Bundle, photos: Path) -> None:
        done = in_a_shell('"$@" > /dev/full', made.folder, photos)
        one_line_error(done, "edge-predict", "No space left on device")
        assert len(done.stderr.splitlines()) == 1

    def test_a_closed_stdout(self, made: Bundle, photos: Path, tmp_path: Path) -> None:
        done = in_a_shell('"$@" >&-', made.folder, photos, "--grid", tmp_path / "grid.png")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "grid.png").exists()

    def test_missing_argument(self, made: Bundle) -> None:
        done = edge_predict(made.folder)
        one_line_error(done, "edge-predict", "PATHS")
        assert len(done.stderr.splitlines()) == 1

    def test_an_altered_bundle(self, made: Bundle, photos: Path, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle").folder
        with (bundle / "model.fp32.onnx").open("rb+") as file:
            file.seek(100)
            file.write(b"\xff")
        done = edge_predict(bundle, photos)
        one_line_error(done, "edge-predict", "model.fp32.onnx was altered")


class TestAsACommand:
    def test_help_has_an_example(self) -> None:
        done = edge_predict("--help")
        assert done.returncode == 0
        assert "Example: edge-predict " in done.stdout

    def test_works_in_a_folder_with_the_users_own_modules(
        self, made: Bundle, photos: Path, tmp_path: Path
    ) -> None:
        done = edge_predict(made.folder, photos, cwd=users_folder(tmp_path / "work"))
        assert (done.returncode, done.stderr) == (0, "")

    def test_leaves_nothing_where_it_ran(self, made: Bundle, photos: Path, tmp_path: Path) -> None:
        work = tmp_path / "work"
        work.mkdir()
        assert edge_predict(made.folder, photos, cwd=work).returncode == 0
        assert list(work.iterdir()) == []

    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, made: Bundle, tmp_path: Path, signum: signal.Signals) -> None:
        pipe = tmp_path / "pipe.png"
        os.mkfifo(pipe)  # the command waits there until the signal comes
        with subprocess.Popen(
            [BIN / "edge-predict", made.folder, pipe], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                with pipe.open("wb"):  # opens when the command reads
                    process.send_signal(signum)
                    out, err = process.communicate(timeout=30)
            finally:
                process.kill()
        assert process.returncode == 128 + signum
        assert (out, err) == ("", "edge-predict: interrupted\n")
