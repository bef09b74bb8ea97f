"""What holds of the packages as a whole."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

from edge.errors import BinsightError, nearest

PACKAGES = ("edge", "train", "export")

SIGNAL_CARRIERS = {"edge.cli.app.Interrupted"}
"""Not an error but Ctrl-C on its way out, which no `except Exception` may swallow."""

ALONE = """
import importlib, pkgutil, sys
BLOCKED = ["torch", "torchvision", "lightning", "onnx", "onnxscript", "matplotlib", "onnxruntime"]
BLOCKED += ["train", "export"]
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(name + " is out of reach of edge")
sys.meta_path.insert(0, Blocker())
import edge
for module in pkgutil.walk_packages(edge.__path__, "edge.", onerror=lambda name: sys.exit("broken: " + name)):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_edge_imports_without_torch_onnx_and_the_runtime() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert {"edge.bundle", "edge.backends.onnxruntime", "edge.cli.run", "edge.cli.eval", "edge.sinks"} <= imported
    assert done.stderr == ""


def test_the_blocker_of_that_test_blocks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE.replace("import edge\n", "import onnxruntime\n")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "out of reach of edge" in done.stderr


def test_importing_edge_does_nothing() -> None:
    program = (
        "import logging, os, signal, sys\n"
        "import cv2\n"  # which alters the environment itself
        "before = dict(os.environ), signal.getsignal(signal.SIGINT), list(logging.getLogger().handlers)\n"
        "import edge.cli.run, edge.cli.eval, edge.cli.predict, edge.loop, edge.backends\n"
        "after = dict(os.environ), signal.getsignal(signal.SIGINT), list(logging.getLogger().handlers)\n"
        "print(before == after)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True\n", done


def exceptions() -> list[type[BaseException]]:
    """Return every exception class that the packages define."""
    found = set()
    for package in PACKAGES:
        top = importlib.import_module(package)
        for module in pkgutil.walk_packages(top.__path__, f"{package}."):
            for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(kind, BaseException) and kind.__module__.partition(".")[0] in PACKAGES:
                    found.add(kind)
    return sorted(found, key=str)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_error_descends_from_the_root() -> None:
    pytest.importorskip("torch", reason="train and export are not to be imported without torch")
    kinds = exceptions()
    assert len(kinds) > 10, "not all were found"
    stray = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if not issubclass(kind, BinsightError)}
    assert stray <= SIGNAL_CARRIERS


class TestNearest:
    def test_near_words_come_first_and_few(self) -> None:
        assert nearest("onnxruntme", ["auto", "cuda", "onnxruntime"]) == "onnxruntime"

    def test_all_words_where_none_is_near(self) -> None:
        assert nearest("zzz", ["cuda", "auto"]) == "auto, cuda"
