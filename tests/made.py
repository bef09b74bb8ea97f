"""Small photos that a network learns in seconds: the project's own test data."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.preprocess import Pixels
from tests.forked import ENTRIES, run

KINDS = ("bars", "disc", "ring")
BIN = Path(sys.executable).parent
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def draw(kind: str, seed: int, size: int = 64) -> Pixels:
    """Draw bars, a disc or a ring in any colour on any ground: uint8 [size, size, 3] BGR."""
    rng = np.random.default_rng([seed, sum(kind.encode())])
    ground, colour = rng.integers(0, 100, 3), rng.integers(156, 256, 3)
    picture = np.full((size, size, 3), ground, dtype=np.uint8)
    ink = tuple(int(level) for level in colour)
    centre = (int(rng.integers(size * 2 // 5, size * 3 // 5)), int(rng.integers(size * 2 // 5, size * 3 // 5)))
    if kind == "bars":
        for start in range(int(rng.integers(2, 8)), size, 16):
            cv2.rectangle(picture, (start, 0), (start + 6, size), ink, -1)
    elif kind == "disc":
        cv2.circle(picture, centre, size * 2 // 5, ink, -1)
    else:
        cv2.circle(picture, centre, size * 2 // 5, ink, size // 12)
    noise = rng.integers(-8, 9, picture.shape)
    result: Pixels = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return result


def write_photos(
    folder: Path, per_class: int = 20, kinds: Sequence[str] = KINDS, seed: int = 0, size: int = 64
) -> Path:
    """Write folder/kind/kind_N.jpg, and return the folder."""
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            cv2.imwrite(str(folder / kind / f"{kind}_{number}.jpg"), draw(kind, seed * 10_000 + number, size))
    return folder


def pack(folder: Path, archive: Path) -> Path:
    """Zip a folder with its own name on top, and return the archive."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return archive


def command(
    name: str,
    *arguments: str | Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 240,
    forked: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a console script as a user does; a heavy one forked from a process that has imported PyTorch."""
    words, environment = [*map(str, arguments)], {**os.environ, **(env or {})}
    if forked and name in ENTRIES:
        return run(name, words, cwd or Path.cwd(), environment, timeout)
    return subprocess.run(
        [str(BIN / name), *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=timeout,
        check=False,
    )


def one_line_error(done: subprocess.CompletedProcess[str], name: str, *words: str) -> None:
    """Assert exit 2 with one line, the command's, on stderr at the end, holding all `words`, and no traceback."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{name}: error: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in last, last


def shared(path: str) -> Path:
    """Return a file of the data beside the project: fail where it must be there, skip where it need not."""
    file = SHARED / path
    if not file.exists():
        if os.environ.get("BINSIGHT_REQUIRE_SHARED") == "1":
            pytest.fail(f"{file} is missing, and BINSIGHT_REQUIRE_SHARED=1")
        pytest.skip(f"{file} is not beside the project")
    return file
