"""The suite of edge on Python 3.10 with the oldest versions that pyproject.toml claims, or with the newest of all.

`python -m benchmarks.versions oldest|newest [arguments of pytest]`, or `make test-oldest`, `make test-newest`.
Each has an environment of its own, .venv-oldest and .venv-newest, without torch: what needs it is skipped there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.declared import PYPROJECT, oldest

ROOT = PYPROJECT.parent
EXTRAS = ("cpu", "gpio", "openvino")
TOOLS = ("hypothesis", "onnx", "packaging", "pytest", "pytest-benchmark", "websocket-client")
"""What the tests of edge need beside edge."""
OLDEST, FIRST_OF_NEWEST = (3, 10), (3, 12)
"""The Python of the oldest versions; the one from which on the newest found is taken."""


def main() -> None:
    """Make the environment, and run the tests in it."""
    which, *arguments = sys.argv[1:] or [""]
    if which not in ("oldest", "newest"):
        sys.exit("usage: python -m benchmarks.versions oldest|newest [arguments of pytest]")
    python = prepare(which, interpreter(which))
    done = subprocess.run(
        [python, "-m", "pytest", *(arguments or ["tests/edge"])],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
        check=False,
    )
    sys.exit(done.returncode)


def prepare(which: str, python: Path) -> Path:
    """Install what is wanted, and return the environment's own Python."""
    folder = ROOT / f".venv-{which}"
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = folder / "bin" / "python"
    pip = [inside, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    edge = f"{ROOT}[{','.join(EXTRAS)}]"
    subprocess.run([*pip, *wanted(which), *TOOLS, "--editable", edge], check=True)
    return inside


def wanted(which: str) -> Sequence[str]:
    """Return what pip is told beside the tools: pins to the oldest versions, or to take the newest."""
    if which == "newest":
        return ("--upgrade", "--upgrade-strategy=eager")
    return oldest(*EXTRAS)


def interpreter(which: str) -> Path:
    """Return the Python to take. Ends with how to get one where this machine has none."""
    found = find(which)
    if found is None:
        number, more = ("3.10", "") if which == "oldest" else ("3.12", " or later")
        sys.exit(f"there is no Python {number}{more} here: pyenv install {number}, or a package python{number}")
    return found


def find(which: str) -> Path | None:
    """Return the oldest Python that edge claims, or the newest there is; None where this machine has none."""
    fit = [one for one in pythons() if (one[0] == OLDEST if which == "oldest" else one[0] >= FIRST_OF_NEWEST)]
    return max(fit)[1] if fit else None


def pythons() -> Iterator[tuple[tuple[int, int], Path]]:
    """Yield version and path of every Python on this machine's PATH and of pyenv's, as far as their names tell."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for path in home.glob("versions/3.*/bin/python"):
        found = re.match(r"3\.(\d+)\.\d+$", path.parts[-3])  # no release candidates
        if found:
            yield (3, int(found[1])), path
    for minor in range(10, 30):
        program = shutil.which(f"python3.{minor}")
        if program and "shims" not in program:  # pyenv's, which may refuse
            yield (3, minor), Path(program)


if __name__ == "__main__":
    main()
