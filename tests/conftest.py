"""What several tests share: one small training and its bundle, made once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.made import write_photos

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as the commands do, before anything imports ONNX Runtime


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Take back what a command's --debug did to the log: it is this process's too."""
    loggers = [logging.getLogger(), logging.getLogger("edge")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@dataclass(frozen=True)
class TinyRun:
    """A run of resnet18 at 32 pixels on made photos, with its bundle."""

    data: Path
    run: Path
    bundle: Path
    cache: Path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    torch = pytest.importorskip("torch")

    from edge.manifest import Precision
    from export.run import export
    from train.recipe import Recipe
    from train.run import train

    folder = tmp_path_factory.mktemp("tiny-run")
    data = write_photos(folder / "photos", 40)
    recipe = Recipe(model="resnet18", weights="none", img_size=32, epochs=4, batch_size=16)
    train(data, folder / "run", recipe, torch.device("cpu"), folder / "cache")
    export(folder / "run", None, (Precision.FP16,), folder / "cache")
    return TinyRun(data, folder / "run", folder / "run" / "bundle", folder / "cache")


@pytest.fixture(autouse=True)
def no_user_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's own caches out of every test, and the tests out of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
