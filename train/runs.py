"""Where runs lie, and what they are called."""

from __future__ import annotations

from pathlib import Path

from edge.errors import TrainError
from train.checkpoint import BEST


def next_run(data: Path, model: str, folder: Path = Path("runs")) -> Path:
    """Return a name for a new run below `folder`: the data's and the model's, numbered from the second on."""
    name = f"{data.absolute().stem}-{model.rpartition(':')[2]}"  # timm:NAME
    number = 1
    while (path := folder / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return path


def newest_run(folder: Path = Path("runs")) -> Path:
    """Return the run below `folder` whose weights are newest. Raises TrainError where there is none."""
    runs = [path.parent.parent for path in folder.glob(f"[!.]*/{BEST}")]
    if not runs:
        raise TrainError(f"no run below {folder.absolute()}; train one with edge-train, or name its folder")
    return max(runs, key=lambda run: (run / BEST).stat().st_mtime_ns)


def newest_begun(folder: Path = Path("runs")) -> Path | None:
    """Return the run below `folder` that was begun last; None where there is none."""
    runs = [path.parent for path in folder.glob("[!.]*/args.yaml")]  # a dot: one that was killed in its making
    return max(runs, key=lambda run: (run / "args.yaml").stat().st_mtime_ns, default=None)
