"""edge-train as a user runs it: what it writes, and what it says to bad input."""

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import torch

from tests.made import BIN, command, one_line_error, pack, write_photos
from train import checkpoint

QUICK = ("--model", "resnet18", "--weights", "none", "--img-size", "32", "--epochs", "1", "--batch-size", "16")


@pytest.mark.slow
def test_a_zip_becomes_a_run_and_a_bundle_in_a_folder_with_names_like_ours(tmp_path: Path) -> None:
    """The user's own train.py, export.py and edge/ do not get in the way."""
    for name in ("train.py", "export.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("raise SystemExit('the wrong module')")
    pack(write_photos(tmp_path / "photos", 8), tmp_path / "photos.zip")
    done = command("edge-train", "photos.zip", *QUICK, "--json", cwd=tmp_path, forked=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["run"] == "runs/photos-resnet18"
    assert set(result["test"]) >= {"accuracy", "macro_f1"}
    assert "epoch 1/1" in done.stderr
    exported = command("edge-export", cwd=tmp_path, forked=False)
    assert exported.returncode == 0, exported.stderr
    # A second training gets a name of its own.
    again = command("edge-train", "photos.zip", *QUICK, cwd=tmp_path)
    assert "runs/photos-resnet18-2/report.html" in again.stdout
    assert "recall" in again.stdout


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", 12)


def _refused(tmp_path: Path, data: Path, *words: str, options: tuple[str, ...] = ()) -> None:
    done = command("edge-train", data, *QUICK, "-o", tmp_path / "run", *options)
    one_line_error(done, "edge-train", *words)
    assert not (tmp_path / "run").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _refused(tmp_path, tmp_path / "empty", "no images", "class/*.jpg")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    _refused(tmp_path, tmp_path / "nowhere", "does not exist")


def test_one_class(tmp_path: Path) -> None:
    _refused(tmp_path, write_photos(tmp_path / "photos", 5, kinds=("disc",)), "one class (disc)", "at least 2")


def test_a_class_with_one_image(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 5)
    _refused(tmp_path, write_photos(data, 1, kinds=("lonely",)), "'lonely' has 1", "at least 3")


def test_a_truncated_photo_is_named_skipped_and_counted(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 12)
    broken = data / "ring" / "ring_0.jpg"
    broken.write_bytes(broken.read_bytes()[:-300])
    done = command("edge-train", data, *QUICK, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "1 photos can't be read and were left out" in done.stderr
    assert "left out ring/ring_0.jpg" in done.stderr
    assert "ring/ring_0.jpg" in (tmp_path / "run" / "report.html").read_text()


def test_over_five_per_cent_broken(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 10)
    for number in range(2):
        (data / "ring" / f"ring_{number}.jpg").write_bytes(b"GIF89a")
    _refused(tmp_path, data, "2 of 30 photos can't be read", "ring/ring_0.jpg")


def test_a_zip_that_climbs_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr("../../outside.jpg", b"x")
    _refused(tmp_path, tmp_path / "evil.zip", "climbs out")
    assert not (tmp_path.parent / "outside.jpg").exists()


def test_a_zip_that_is_a_bomb(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a/1.bmp", "w") as one,
    ):
        for _ in range(300):
            one.write(bytes(1024 * 1024))
    _refused(tmp_path, tmp_path / "bomb.zip", "would unpack from")


def test_an_unknown_model_offers_the_nearest(tmp_path: Path, photos: Path) -> None:
    _refused(tmp_path, photos, "unknown model 'resnet-50'", "resnet50", options=("--model", "resnet-50"))


def test_a_device_that_is_not_there(tmp_path: Path, photos: Path) -> None:
    done = command(
        "edge-train", photos, *QUICK, "-o", tmp_path / "run", "--device", "cuda", env={"CUDA_VISIBLE_DEVICES": ""}
    )
    one_line_error(done, "edge-train", "device cuda can't be had", "--device cpu")
    done = command("edge-train", photos, *QUICK, "-o", tmp_path / "run", "--device", "tpu")
    one_line_error(done, "edge-train", "unknown device 'tpu'")


def test_an_output_folder_that_exists_is_left_alone(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("mine")
    done = command("edge-train", photos, *QUICK, "-o", tmp_path / "run")
    one_line_error(done, "edge-train", "exists", "-o")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["precious.txt"]


def test_an_unknown_option_is_one_line(tmp_path: Path, photos: Path) -> None:
    one_line_error(command("edge-train", photos, "--epoch", "3"), "edge-train", "--epoch")
    one_line_error(command("edge-train"), "edge-train", "DATA")


def test_help_has_an_example() -> None:
    done = command("edge-train", "--help")
    assert done.returncode == 0
    assert "Example: edge-train" in done.stdout


@pytest.mark.parametrize(
    ("signum", "workers"),
    [
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 0, marks=pytest.mark.slow),
        (signal.SIGINT, 2),
    ],
)
def test_an_interrupt_keeps_the_best_weights_and_names_them(
    tmp_path: Path, photos: Path, signum: int, workers: int
) -> None:
    """As a terminal does it, to the whole process group; into an empty folder, as a mounted one is."""
    run = tmp_path / "run"
    run.mkdir()
    options = (
        "--model",
        "resnet18",
        "--weights",
        "none",
        "--img-size",
        "32",
        "--epochs",
        "500",
        "--patience",
        "0",
    )
    process = subprocess.Popen(
        [str(BIN / "edge-train"), str(photos), *options, "--workers", str(workers), "-o", str(run)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (run / checkpoint.BEST).is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(process.pid, signum)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signum
    assert "Traceback" not in said
    assert f"the best weights so far are kept in {run / checkpoint.BEST}" in said.splitlines()[-1]
    checkpoint.load(run / checkpoint.BEST)
    assert not list(run.rglob(".*"))


@pytest.mark.parametrize("after", ["start", "first epoch"])
def test_a_full_disk_is_one_sentence_and_the_best_so_far_stays(tmp_path: Path, photos: Path, after: str) -> None:
    """A real file system that is full: a tmpfs of 60 MB, where a checkpoint of ResNet-18 takes 45 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = "60m" if after == "first epoch" else "20m"
    if (
        os.geteuid()
        or not shutil.which("mount")
        or _run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk)
    ):
        pytest.skip("mounting a small file system takes root")
    try:
        done = command("edge-train", photos, *QUICK, "-o", disk / "run")
        one_line_error(done, "edge-train", "No space left on device", str(disk / "run" / "weights"), "make room")
        assert not list(disk.rglob(".*"))
        kept = disk / "run" / checkpoint.BEST
        if after == "first epoch":
            checkpoint.load(kept)
            assert str(kept) in done.stderr
        else:
            assert not kept.exists()
    finally:
        _run("umount", disk)


def _run(*words: str | Path) -> int:
    return subprocess.run([*map(str, words)], capture_output=True, check=False).returncode


def test_the_backbones_are_listed() -> None:
    done = command("edge-train", "--list-models")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[0] == "mobilenet_v2"
    assert "72.2% on ImageNet" in lines[0]
    assert {"resnet50", "efficientnet_v2_s", "vit_b_16"} <= {line.split()[0] for line in lines}
    models = json.loads(command("edge-train", "--list-models", "--json").stdout)["models"]
    assert models[0]["name"] == "mobilenet_v2"
    assert models[0]["parameters"] == 3_504_872


def test_no_data_and_nothing_to_go_on_with(tmp_path: Path) -> None:
    one_line_error(command("edge-train", cwd=tmp_path), "edge-train", "DATA is missing")


def test_a_size_that_the_backbone_does_not_take(tmp_path: Path, photos: Path) -> None:
    _refused(tmp_path, photos, "does not take --img-size 32", "nearest", options=("--model", "inception_v3"))


def test_stages_that_there_are_not(tmp_path: Path, photos: Path) -> None:
    _refused(tmp_path, photos, "--unfreeze 99", "stages of resnet18", options=("--unfreeze", "99"))


def test_costs_that_do_not_fit_the_classes(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "costs.csv").write_text("truth,bars,disc\nbars,0,1\ndisc,1,0\n")
    _refused(tmp_path, photos, "costs.csv", "ring", options=("--costs", str(tmp_path / "costs.csv")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_cuda_where_there_is_none_says_what_to_install(tmp_path: Path, photos: Path) -> None:
    _refused(tmp_path, photos, "device cuda can't be had", torch.__version__, options=("--device", "cuda"))
    _refused(tmp_path, photos, "--amp fp16 needs a CUDA GPU", options=("--amp", "fp16"))


def test_curves_go_to_tensorboard_and_to_wandb_offline(tmp_path: Path, photos: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pytest.importorskip("wandb")
    more = ("--epochs", "2", "--log", "tensorboard", "--log", "wandb")
    done = command(
        "edge-train", photos, *QUICK, *more, "-o", tmp_path / "run", env={"WANDB_MODE": "offline"}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    events = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    column = rows[0].split(",").index("val_loss")
    scalars = {one.step: one.value for one in events.Scalars("val_loss")}
    assert scalars == {
        number: pytest.approx(float(row.split(",")[column])) for number, row in enumerate(rows[1:], start=1)
    }
    assert list((tmp_path / "run" / "wandb").rglob("*.wandb"))
    assert not (tmp_path / "wandb").exists()
