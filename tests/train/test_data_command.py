"""edge-data, run as a user runs it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.made import command, one_line_error, pack, write_photos


def test_a_good_data_set_is_fit_to_train_on(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 12)
    done = command("edge-data", data, "-o", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["fit to train on", f"report: {tmp_path / 'report' / 'report.html'}"]
    assert "36 images in 3 classes, 0 of them unreadable" in done.stdout
    page = (tmp_path / "report" / "report.html").read_text()
    assert "disc" in page
    assert json.loads((tmp_path / "report" / "report.json").read_text())["images"] == 36


def test_a_conflict_exits_1_and_allow_lets_it_pass(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 12)
    shutil.copy(data / "disc" / "disc_1.jpg", data / "ring" / "odd.jpg")
    arguments = (data, "-o", tmp_path / "report", "--json")
    done = command("edge-data", *arguments)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["images"] == 37
    assert told["classes"] == {"bars": 12, "disc": 12, "ring": 13}
    conflicts = [finding for finding in told["findings"] if finding["kind"] == "label_conflict"]
    assert [sorted(finding["files"]) for finding in conflicts] == [["disc/disc_1.jpg", "ring/odd.jpg"]]
    assert "disc and ring" in conflicts[0]["detail"]
    assert command("edge-data", *arguments, "--allow").returncode == 0


def test_a_leak_in_a_split_zip_one_folder_down_exits_1(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_photos(root / "Training", 8)
    write_photos(root / "valid", 4, seed=1)
    (root / "valid" / "disc" / "again.JPEG").write_bytes((root / "Training" / "disc" / "disc_1.jpg").read_bytes())
    done = command("edge-data", pack(root, tmp_path / "set.zip"), "-o", tmp_path / "report", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    leaks = [finding["files"] for finding in told["findings"] if finding["kind"] == "split_leak"]
    assert leaks == [["Training/disc/disc_1.jpg", "valid/disc/again.JPEG"]]
    assert told["splits"]["val"]["disc"] == 5


def test_the_report_lies_in_reports_by_default_and_is_written_anew(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    for _ in range(2):
        done = command("edge-data", "photos", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "report: reports/photos/report.html"
    assert (tmp_path / "reports" / "photos" / "report.html").is_file()


def test_bad_input_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one_line_error(command("edge-data", tmp_path / "empty"), "edge-data", "holds no images in class folders")
    one_line_error(command("edge-data", tmp_path / "nowhere"), "edge-data", "does not exist")
    write_photos(tmp_path / "one", 5, kinds=("disc",))
    one_line_error(command("edge-data", tmp_path / "one"), "edge-data", "one class (disc)")
    (tmp_path / "broken.zip").write_bytes(b"PK nonsense")
    one_line_error(command("edge-data", tmp_path / "broken.zip"), "edge-data", "no zip that can be read")
    with zipfile.ZipFile(tmp_path / "climbs.zip", "w") as file:
        file.writestr("../../out.jpg", b"x")
    one_line_error(command("edge-data", tmp_path / "climbs.zip"), "edge-data", "climbs out")
    assert not (tmp_path / "reports").exists()


def test_a_report_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 5)
    (tmp_path / "file").write_text("no folder")
    one_line_error(command("edge-data", data, "-o", tmp_path / "file" / "report"), "edge-data", "file")


@pytest.mark.parametrize("name", ["<b>&amp.jpg", "wörter und leer.jpg", "'quote\".jpg"])
def test_names_that_are_hard_to_write_stand_in_both_reports(tmp_path: Path, name: str) -> None:
    data = write_photos(tmp_path / "photos", 6)
    (data / "disc" / name).write_bytes(b"no image")
    done = command("edge-data", data, "-o", tmp_path / "report")
    assert done.returncode == 1  # one of 19 is over 5 %
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [finding["files"] for finding in told["findings"] if finding["kind"] == "unreadable"] == [
        [f"disc/{name}"]
    ]
    assert "<b>&amp.jpg" not in (tmp_path / "report" / "report.html").read_text()
