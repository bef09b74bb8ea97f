"""How soon a command is there: nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

from edge import choices
from edge.backends import BACKENDS, OPENERS

HEAVY = ("numpy", "cv2", "msgspec", "PIL", "onnxruntime", "openvino", "tqdm", "sqlite3", "ssl", "paho", "uvicorn")
MOST_MODULES = 350
"""Python's own and click among them: 170 with Python 3.11."""


def _imported(code: str) -> set[str]:
    told = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    asked = (
        "sys.argv = ['edge-run', '--help']\nfrom edge.cli.run import main\ntry: main()\nexcept SystemExit: pass"
    )
    found = _imported(asked)
    assert "edge.cli.run" in found
    assert not found & set(HEAVY)
    assert len(found) <= MOST_MODULES


def test_the_package_itself_imports_nothing() -> None:
    assert {name for name in _imported("import edge") if name.startswith("edge")} == {"edge"}


def test_every_backend_can_be_chosen() -> None:
    assert choices.BACKENDS == BACKENDS
    assert sorted(BACKENDS) == sorted(("auto", *OPENERS))  # other tests put openers in and out
