"""What CI measured of each commit, drawn: every figure over the commits, with its interval.

`python -m benchmarks.history FOLDER -o history.png`. FOLDER holds, at any depth, the JSON that `make gate` and
`make bench` write, which CI keeps as artifacts.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """One figure of one commit."""

    figure: str
    """What was measured, and where it can be compared with: one line in the drawing."""
    unit: str
    commit: str
    """Seven digits of its name."""
    time: datetime
    value: float
    low: float
    high: float
    """Ends of the interval: of the gate 90 % of the value, of a benchmark the middle half of its times."""


def read(folder: Path) -> list[Point]:
    """Return all figures of all JSON files below `folder`, in the order of their commits. Raises ValueError."""
    points: list[Point] = []
    for file in sorted(folder.rglob("*.json")):
        try:
            data = json.loads(file.read_text())
            commit = data["commit_info"]["id"][:7]
            time = datetime.fromisoformat(data["commit_info"]["time"])
            parts = _benchmarks(data) if "benchmarks" in data else _steps(data)
            points += [Point(figure, unit, commit, time, *its) for figure, unit, its in parts]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} was not written by make gate or make bench: {error!r}") from error
    return sorted(points, key=lambda point: point.time)


Figure = tuple[str, str, tuple[float, float, float]]
"""Name, unit, and value with the ends of its interval."""


def _steps(data: Mapping[str, Any]) -> Iterator[Figure]:
    for row in data["rows"]:
        for one in row["steps"]:
            name = f"{one['step']} over {one['over']}\n{row['precision']} on {row['backend']}, {row['device']}"
            yield name, "ratio", (one["ratio"], *one["interval"])


def _benchmarks(data: Mapping[str, Any]) -> Iterator[Figure]:
    cpu = data["machine_info"]["cpu"].get("brand_raw") or data["machine_info"]["machine"]
    for one in data["benchmarks"]:
        stats = one["stats"]
        yield f"{one['name']}\n{cpu}", "ms", tuple(stats[key] * 1e3 for key in ("median", "q1", "q3"))


def draw(points: Iterable[Point], file: Path) -> None:
    """Draw each figure by itself, over its commits."""
    import matplotlib as mpl  # noqa: PLC0415  heavy

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figures: dict[str, list[Point]] = {}
    for point in points:
        figures.setdefault(point.figure, []).append(point)
    columns = min(3, len(figures))
    rows = math.ceil(len(figures) / columns)
    canvas, panels = plt.subplots(rows, columns, figsize=(5.2 * columns, 2.7 * rows), squeeze=False)
    for panel in panels.flat[len(figures) :]:
        panel.remove()
    for panel, (name, its) in zip(panels.flat, figures.items(), strict=False):
        _panel(panel, name, its)
    canvas.tight_layout()
    canvas.savefig(file, dpi=100)
    plt.close(canvas)


def _panel(panel: Any, name: str, its: list[Point]) -> None:
    at = range(len(its))
    panel.fill_between(at, [one.low for one in its], [one.high for one in its], color="#9ecae1", linewidth=0)
    panel.errorbar(
        at,
        [one.value for one in its],
        yerr=[[one.value - one.low for one in its], [one.high - one.value for one in its]],
        color="#08519c",
        marker="o",
        markersize=4,
        linewidth=1,
        capsize=2,
    )
    panel.set_title(name, fontsize=8)
    panel.set_ylabel(its[0].unit, fontsize=8)
    panel.set_ylim(0, 1.15 * max(one.high for one in its))
    step = max(1, len(its) // 8)
    panel.set_xticks(at[::step], [one.commit for one in its[::step]], rotation=45, fontsize=7)
    panel.tick_params(axis="y", labelsize=7)
    panel.grid(axis="y", alpha=0.3)


def main() -> None:
    """Read and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("history.png"))
    asked = parser.parse_args()
    try:
        points = read(asked.folder)
    except ValueError as error:
        sys.exit(f"history: {error}")
    if not points:
        sys.exit(f"history: {asked.folder} holds no JSON of make gate or make bench")
    draw(points, asked.output)
    sys.stdout.write(f"{asked.output}: {len({one.commit for one in points})} commits\n")


if __name__ == "__main__":
    main()
