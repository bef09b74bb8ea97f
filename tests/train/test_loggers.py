from __future__ import annotations

import os
import socket
import struct
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import wandb
from torch.utils.data import DataLoader, TensorDataset

from edge.errors import TrainError, UsageError
from train import loggers
from train.loggers import make_loggers
from train.recipe import Optimizer, Recipe

RECIPE = Recipe(model="resnet18", lr=0.25, optimizer=Optimizer.SGD)


class Tiny(lightning.LightningModule):
    """One weight, whose loss at step n is known: 1 + n."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.fails = fails

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        if self.fails and index == 1:
            raise TrainError("loss is not a number")
        loss = 0 * self.weight.sum() + 1 + self.global_step
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(names: list[str], run: Path, fails: bool = False) -> None:
    run.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        # Lightning's remarks on a training as small as this one.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning)
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=make_loggers(names, run, RECIPE),
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=run,
        )
        trainer.fit(Tiny(fails), DataLoader(TensorDataset(torch.zeros(2, 1))))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A home folder that is empty, and a network in which nobody may be called; gives the home."""
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("WANDB_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    with socket.create_server(("127.0.0.1", 0)) as server:
        # What W&B's own process would reach for too, be it the service or its reports of faults.
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
        yield home
        wandb.teardown()  # its process has this test's surroundings
        os.environ.pop("WANDB_SERVICE", None)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_tensorboard_reads_the_losses_and_the_recipe_back(alone: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    fit(["tensorboard"], run)
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("train_loss")] == [(0, 1.0), (1, 2.0)]
    assert "lr: 0.25" in (run / "tensorboard" / "hparams.yaml").read_text()
    assert {path.name for path in run.iterdir()} == {"tensorboard"}
    assert not list(alone.iterdir())


def wandb_records(run: Path) -> list[Any]:
    """Read every record of every W&B run below `run`: LevelDB's log format after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    records = []
    for file in sorted(run.glob("wandb/*run-*/*.wandb")):
        data, at, parts = file.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:  # no header fits in the rest of a block
                at += 32768 - at % 32768
                continue
            _, size, kind = struct.unpack("<IHB", data[at : at + 7])
            parts += data[at + 7 : at + 7 + size]
            at += 7 + size
            if kind in (1, 4):  # whole, or the last part
                records.append(wandb_internal_pb2.Record.FromString(parts))
                parts = b""
    return records


def exit_codes(run: Path, runs: int = 1, seconds: float = 60) -> list[int]:
    """Wait for W&B's own process, which on a busy machine writes after it was told, and return how runs ended."""
    end = time.monotonic() + seconds
    while True:
        codes = [record.exit.exit_code for record in wandb_records(run) if record.HasField("exit")]
        if len(codes) >= runs or time.monotonic() > end:
            return codes
        time.sleep(0.2)


def test_wandb_offline_keeps_the_losses_and_the_recipe_in_the_run_folder(alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    environment = dict(os.environ)
    fit(["wandb-offline"], run)
    assert exit_codes(run) == [0]  # the last that is written
    records = wandb_records(run)
    losses = [
        item.value_json
        for record in records
        if record.HasField("history")
        for item in record.history.item
        if "train_loss" in (item.key, *item.nested_key)
    ]
    assert losses == ["1", "2"]
    config = {
        item.key: item.value_json
        for record in records
        if record.HasField("run")
        for item in record.run.config.update
    }
    assert config["lr"] == "0.25"
    assert config["optimizer"] == '"sgd"'
    assert {path.name for path in run.iterdir()} == {"wandb"}
    assert not [path for path in alone.rglob("*") if path.is_file()]
    assert not list(Path.cwd().iterdir())
    assert set(os.environ) - set(environment) <= {"WANDB_SERVICE"}, "only what wandb itself finds its process by"


def test_wandb_says_that_a_training_failed_and_goes_on_in_the_same_run(alone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(TrainError, match="not a number"):
        fit(["wandb-offline"], run, fails=True)
    assert exit_codes(run) == [1]
    fit(["wandb-offline"], run)
    assert exit_codes(run, runs=2) == [1, 0]
    ids = {record.run.run_id for record in wandb_records(run) if record.HasField("run")}
    assert len(ids) == 1


def test_names_that_cannot_serve(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown log 'tensorbord'; nearest: tensorboard"):
        make_loggers(["tensorbord"], tmp_path, RECIPE)
    with pytest.raises(UsageError, match="log wandb is asked for 2 times"):
        make_loggers(["wandb", "wandb-offline"], tmp_path, RECIPE)
    assert make_loggers([], tmp_path, RECIPE) == []


@pytest.mark.parametrize(("name", "extra"), [("tensorboard", "tensorboard"), ("wandb-offline", "wandb")])
def test_a_missing_library_names_its_extra(
    name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda library: None)
    with pytest.raises(TrainError, match=rf"pip install 'binsight\[{extra}\]'"):
        make_loggers([name], tmp_path, RECIPE)
