"""How the charts of a page look: colours, plain axes, and a PNG written whole."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from edge.files import replace_file

BLUE, GREY, GREEN = "#0c346e", "#8a94a3", "#3f7d6e"
ORANGE = "#d97706"
"""What is to be seen first: the best epoch, the threshold, the expectation."""
SOFT = "#a9bbd6"
FAINT, LINE, PALE = "#69707a", "#e6e9ed", "#edf0f4"
HALF = (5.6, 4.0)
"""Inches of a chart that shares the page's width with another."""


def sheet(size: tuple[float, float] = HALF) -> Figure:
    """Return an empty figure of this width and height in inches, 120 pixels each."""
    return Figure(figsize=size, dpi=120, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))


def dress(axes: Axes, title: str, x: str = "") -> None:
    """Give the axes a title, a name for what goes to the right, and no more lines than are needed."""
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel(x, color=FAINT)
    axes.tick_params(colors=FAINT)
    axes.grid(axis="y", color=LINE)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all. Raises OSError."""
    replace_file(path, lambda temporary: figure.savefig(temporary, format="png"))
