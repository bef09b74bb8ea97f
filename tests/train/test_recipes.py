"""The recipes of docs/training.md, as they are written there, on drawn photos."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.made import command, pack, write_photos
from tests.signs import write_signs
from train import checkpoint
from train.backbone import make_classifier

DOC = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text()
LEAST_SIGNS = 0.973


def _recipe(name: str, *more: str | Path) -> list[str]:
    """Return the arguments of a documented command, with `more` after them: the last word of an option counts."""
    found = re.search(rf"<!-- recipe: {name} -->\n```sh\nedge-train (.*?)\n```", DOC)
    assert found, name
    return [*shlex.split(found[1]), "-o", "run", "--json", *map(str, more)]


def _weights(folder: Path, model: str) -> Path:
    """Write weights for a backbone as somebody else would hand them over, with a head of 1000."""
    torch.manual_seed(0)
    torch.save(make_classifier(model, 1000).backbone.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def _train(folder: Path, arguments: list[str]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    done = command("edge-train", *arguments, cwd=folder, timeout=400)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((folder / "run" / "results.csv").read_text().splitlines()))
    return json.loads(done.stdout), rows


def _split_photos(folder: Path) -> Path:
    """Lay photos out as train, val and test folders."""
    for seed, (role, count) in enumerate({"train": 16, "val": 6, "test": 6}.items()):
        write_photos(folder / "photos" / role, count, seed=seed)
    return folder / "photos"


@pytest.mark.slow
def test_a_frozen_resnet_50_with_adam(tmp_path: Path) -> None:
    _split_photos(tmp_path)
    weights = _weights(tmp_path, "resnet50")
    result, rows = _train(tmp_path, _recipe("frozen", "--weights", weights, "--img-size", "64"))
    assert {row["phase"] for row in rows} == {"head"}
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert result["test"]["images"] == 18
    given = torch.load(weights, weights_only=True)
    kept = torch.load(tmp_path / "run" / checkpoint.BEST, weights_only=True)["weights"]
    assert all(torch.equal(kept[key], given[key]) for key in given if not key.startswith("fc."))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_whole_resnet_50_with_adam_or_sgd(tmp_path: Path, optimizer: str) -> None:
    _split_photos(tmp_path)
    more = ("--weights", _weights(tmp_path, "resnet50"), "--img-size", "32", "--epochs", "2")
    if optimizer == "adam":
        more = (*more, "--optimizer", "adam", "--lr", "0.0005")
    _, rows = _train(tmp_path, _recipe("whole", *more))
    assert {row["phase"] for row in rows} == {"all"}
    given = torch.load(tmp_path / "weights.pth", weights_only=True)
    kept = torch.load(tmp_path / "run" / checkpoint.LAST, weights_only=True)["weights"]
    assert not torch.equal(kept["layer1.0.conv1.weight"], given["layer1.0.conv1.weight"])


@pytest.mark.slow
def test_an_efficientnet_from_a_zip_that_stops_early_and_keeps_its_best(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="the extra binsight[timm] is not installed")
    pack(write_photos(tmp_path / "photos", 10), tmp_path / "photos.zip")
    shutil.rmtree(tmp_path / "photos")
    weights = _weights(tmp_path, "timm:tf_efficientnetv2_b0")
    # A rate at which nothing is learnt: validation stops gaining at once.
    more = ("--weights", weights, "--img-size", "32", "--lr", "1e-9", "--patience", "2")
    result, rows = _train(tmp_path, _recipe("early", *more))
    assert len(rows) < 40
    assert len(rows) == max(result["best_epoch"], 2) + 2, "two epochs of the head, then two without a gain"
    loaded = checkpoint.load(tmp_path / "run" / checkpoint.BEST)
    assert loaded.about.epoch == result["best_epoch"]
    assert yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())["dropout"] == pytest.approx(0.3)


@pytest.mark.slow
def test_a_resnet_18_tells_signs_of_32_pixels(tmp_path: Path) -> None:
    """Nothing is changed here but where the photos lie."""
    write_signs(tmp_path / "signs", 300)
    result, rows = _train(tmp_path, _recipe("signs"))
    assert len(rows) <= 15
    assert result["test"]["images"] == 90
    assert result["test"]["accuracy"] >= LEAST_SIGNS


def test_a_mobilenet_learns_its_head_first_and_then_everything(tmp_path: Path) -> None:
    pack(write_photos(tmp_path / "photos", 10), tmp_path / "photos.zip")
    more = ("--weights", _weights(tmp_path, "mobilenet_v2"), "--img-size", "32", "--epochs", "4")
    _, rows = _train(tmp_path, _recipe("default", *more))
    assert (rows[0]["phase"], rows[-1]["phase"]) == ("head", "all")
