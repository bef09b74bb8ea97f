"""Several processes that train together, as torchrun starts them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edge.errors import UsageError
from tests.made import command, write_photos
from train import checkpoint
from train.backbone import make_classifier
from train.processes import Processes, read_processes

OPTIONS = (
    *("--model", "squeezenet1_1", "--img-size", "64", "--epochs", "3", "--frozen-epochs", "1", "--amp", "off"),
    *("--batch-size", "8", "--dropout", "0", "--lr", "0.0003", "--workers", "0", "--device", "cpu"),
)
"""A network without BatchNorm: what each photo gives does not depend on who else is in its half of the batch."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    write_photos(folder / "photos", 15)
    torch.manual_seed(0)
    torch.save(make_classifier("squeezenet1_1", 1000).backbone.state_dict(), folder / "weights.pth")
    return folder / "photos"


def _options(photos: Path) -> list[str]:
    return [str(photos), *OPTIONS, "--weights", str(photos.parent / "weights.pth")]


def _together(arguments: list[str], processes: int = 2) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"),
            *("-m", "train.cli.train", *arguments),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )


def _rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "results.csv").read_text().splitlines()))


def test_two_processes_end_where_one_does(photos: Path, tmp_path: Path) -> None:
    done = _together([*_options(photos), "-o", str(tmp_path / "two")])
    assert done.returncode == 0, done.stderr
    assert command("edge-train", *_options(photos), "-o", tmp_path / "one").returncode == 0
    one, two = _rows(tmp_path / "one"), _rows(tmp_path / "two")
    assert len(one) == len(two) == 3
    for mine, its in zip(two, one, strict=True):
        assert float(mine["train_loss"]) == pytest.approx(float(its["train_loss"]), rel=1e-2)
        assert float(mine["val_loss"]) == pytest.approx(float(its["val_loss"]), rel=1e-2)
    states = [
        torch.load(tmp_path / name / checkpoint.LAST, weights_only=True)["weights"] for name in ("one", "two")
    ]
    for key in states[0]:
        assert torch.allclose(states[0][key], states[1][key], atol=2e-3), key
    # Each epoch is said once, and the run is written by one of them.
    assert done.stderr.count("epoch 3/3") == 1
    assert done.stdout.count("report:") == 1
    assert (tmp_path / "two" / "report.html").exists()


@pytest.mark.slow
def test_an_error_of_all_processes_is_exit_2_and_says_itself(photos: Path, tmp_path: Path) -> None:
    done = _together([str(photos), *OPTIONS, "--weights", "no-such-file", "-o", str(tmp_path / "run")])
    assert "exitcode  : 2" in done.stderr
    assert "edge-train: error: weights 'no-such-file'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_batch_must_be_large_enough_to_share(photos: Path, tmp_path: Path) -> None:
    done = _together([*_options(photos), "--batch-size", "2", "-o", str(tmp_path / "run")])
    assert "take at least 4" in done.stderr


def test_who_is_who() -> None:
    assert read_processes({}) == Processes(0, 1, 0, 1)
    its = read_processes({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"})
    assert (its.rank, its.machines, its.first) == (5, 2, False)
    with pytest.raises(UsageError, match="start with torchrun"):
        read_processes({"RANK": "0", "WORLD_SIZE": "2"})
