"""A training that is killed goes on, and ends where it would have ended."""

import csv
import io
import os
import random
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import torch

from edge.errors import TrainError
from tests.made import BIN, command, one_line_error, write_photos
from train import checkpoint
from train.recipe import Amp
from train.resume import go_on, read_order
from train.runs import newest_begun

OPTIONS = (
    *("--model", "resnet18", "--img-size", "32", "--epochs", "6", "--frozen-epochs", "2", "--batch-size", "8"),
    *("--amp", "off", "--dropout", "0.2", "--ema", "0.9", "--mixup", "0.2", "--cutmix", "1", "--erasing", "0.3"),
    *("--patience", "0"),
)
"""With all that draws random numbers or keeps a state of its own."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_photos(folder / "photos", 14)
    from train.backbone import make_classifier

    torch.manual_seed(0)
    torch.save(make_classifier("resnet18", 1000).backbone.state_dict(), folder / "weights.pth")
    return folder / "photos"


def _begin(photos: Path, run: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(BIN / "edge-train"), str(photos), *_options(photos), "-o", str(run), "--resume"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _kill_after_three_epochs(photos: Path, run: Path) -> None:
    process = _begin(photos, run)
    while not (run / "results.csv").exists() or len(_results(run)) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def _options(photos: Path) -> tuple[str, ...]:
    return (*OPTIONS, "--weights", str(photos.parent / "weights.pth"))


def _weights(run: Path) -> list[dict[str, torch.Tensor]]:
    files = (run / checkpoint.BEST, run / checkpoint.LAST)
    return [torch.load(file, weights_only=True)["weights"] for file in files]


def _results(run: Path) -> list[tuple[str, ...]]:
    rows = csv.DictReader((run / "results.csv").read_text().splitlines())
    return [(row["epoch"], row["train_loss"], row["val_loss"], row["val_accuracy"]) for row in rows]


@pytest.fixture(scope="module")
def undisturbed(photos: Path) -> tuple[Path, float]:
    """A run that nobody killed, and how many seconds it took."""
    run, begun = photos.parent / "undisturbed", time.monotonic()
    assert _begin(photos, run).wait(timeout=200) == 0
    return run, time.monotonic() - begun


def test_kill_9_at_any_moment_and_resume_end_with_the_same_weights(
    photos: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    """The moments are drawn anew each time, over all of the command: before, in and after the epochs."""
    whole, seconds = undisturbed
    seed = int.from_bytes(os.urandom(4), "big")
    rng = random.Random(seed)
    run = tmp_path / "run"
    for _ in range(3):
        process = _begin(photos, run)
        try:
            process.wait(timeout=rng.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert _begin(photos, run).wait(timeout=200) == 0, f"seed {seed}"
    for mine, its in zip(_weights(run), _weights(whole), strict=True):
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[key], its[key]) for key in its), f"seed {seed}"
    assert _results(run) == _results(whole), f"seed {seed}"
    assert (run / "report.html").exists()


@pytest.mark.slow
def test_a_run_killed_between_two_epochs_goes_on_with_the_next(
    photos: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    """Killed as soon as the third epoch is written down: what was done is not done again."""
    run = tmp_path / "run"
    _kill_after_three_epochs(photos, run)
    done = command("edge-train", "--resume", "-o", run)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/6" not in done.stderr
    assert "epoch 6/6" in done.stderr
    mine, its = _weights(run)[1], _weights(undisturbed[0])[1]
    assert all(torch.equal(mine[key], its[key]) for key in its)


def test_a_finished_run_is_only_judged_again(undisturbed: tuple[Path, float]) -> None:
    run, _ = undisturbed
    before = _weights(run)
    done = command("edge-train", "--resume", "-o", run)
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stderr
    assert all(torch.equal(a[key], b[key]) for a, b in zip(before, _weights(run), strict=True) for key in a)


def test_another_option_than_the_run_was_begun_with(undisturbed: tuple[Path, float], photos: Path) -> None:
    done = command("edge-train", photos, "--resume", "-o", undisturbed[0], "--lr", "0.5")
    one_line_error(done, "edge-train", "--lr 0.001", "got 0.5", "leave the option out")


def test_another_grouping_or_another_split(undisturbed: tuple[Path, float], photos: Path, tmp_path: Path) -> None:
    run, _ = undisturbed
    done = command("edge-train", photos, "--resume", "-o", run, "--group-by", "folder:1")
    one_line_error(done, "edge-train", "--group-by", "leave the option out")
    done = command("edge-train", photos, "--resume", "-o", run, "--split", run / "split.json")
    one_line_error(done, "edge-train", "--split and --resume exclude each other")


def test_what_the_machine_needs_may_change(undisturbed: tuple[Path, float]) -> None:
    order = go_on(undisturbed[0], None, {"amp": Amp.BF16})
    assert order.recipe.amp is Amp.BF16
    assert order.command.startswith("edge-train ")


def test_the_newest_run_is_not_one_that_was_killed_in_its_making(tmp_path: Path) -> None:
    for number, name in enumerate(("first", ".second-abcd")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "args.yaml").write_text("")
        os.utime(tmp_path / name / "args.yaml", ns=(number, number))
    assert newest_begun(tmp_path) == tmp_path / "first"


@pytest.mark.slow
def test_costs_are_those_of_the_run_whatever_became_of_the_file(tmp_path: Path) -> None:
    data, costs = write_photos(tmp_path / "photos", 6), tmp_path / "costs.csv"
    table = "truth,bars,disc,ring\nbars,0,1,1\ndisc,1,0,1\nring,9,9,0\n"
    costs.write_text(table)
    options = ("--model", "resnet18", "--weights", "none", "--img-size", "32", "--epochs", "1", "--costs", costs)
    assert command("edge-train", data, *options, "-o", tmp_path / "run").returncode == 0
    costs.unlink()
    done = command("edge-train", "--resume", "-o", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "costs.csv").read_text() == table
    about = checkpoint.load(tmp_path / "run" / checkpoint.BEST).about
    assert about.pricing.costs == ((0, 1, 1), (1, 0, 1), (9, 9, 0))


def test_photos_that_changed_since(undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    run, _ = undisturbed
    other = write_photos(tmp_path / "photos", 14, seed=5)
    done = command("edge-train", other, "--resume", "-o", run)
    one_line_error(done, "edge-train", "have changed since")


def test_nothing_to_resume(tmp_path: Path) -> None:
    one_line_error(command("edge-train", "--resume", cwd=tmp_path), "edge-train", "DATA is missing")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    done = command("edge-train", write_photos(tmp_path / "photos", 4), "--resume", "-o", tmp_path / "run")
    one_line_error(done, "edge-train", "run exists")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_an_order_is_read_as_it_was_written(undisturbed: tuple[Path, float], photos: Path) -> None:
    order = read_order(undisturbed[0])
    assert order.data == photos
    assert order.recipe.model == "resnet18"
    assert order.recipe.mixup == pytest.approx(0.2)
    assert go_on(undisturbed[0], None, {"epochs": 6}) == order


@pytest.mark.parametrize("text", ["", "[]", "{", "model: 3\ndata: x", "epochs: many\ndata: x"])
def test_an_order_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "args.yaml").write_text(text)
    with pytest.raises(TrainError, match=r"args.yaml can't be read"):
        read_order(tmp_path)


@pytest.mark.slow
def test_a_checkpoint_from_cuda_goes_on_on_a_cpu(
    undisturbed: tuple[Path, float], photos: Path, tmp_path: Path
) -> None:
    """A file says of each tensor where it lay. These lay on a GPU, which this machine need not have."""
    run = tmp_path / "run"
    _kill_after_three_epochs(photos, run)
    for name in (checkpoint.BEST, checkpoint.LAST):
        _move_to_cuda(run / name)
    done = command("edge-train", "--resume", "-o", run, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    mine, its = _weights(run)[1], _weights(undisturbed[0])[1]
    assert all(torch.equal(mine[key], its[key]) for key in its)


def _move_to_cuda(path: Path) -> None:
    """Rewrite where the tensors of a checkpoint lay: in its pickle, a string of 3 letters becomes one of 6."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith("/data.pkl"):
                assert data.count(b"X\x03\x00\x00\x00cpu") == 1
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            new.writestr(item.filename, data)
    path.write_bytes(out.getvalue())
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(path, weights_only=True)
