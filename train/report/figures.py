"""results.png and learning_curve.png: how a run went epoch by epoch, and what more photos should bring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, NullLocator

from edge.files import replace_file
from train.insight.curve import LearningCurve
from train.report.rows import EpochRow, best_epoch

TRAIN, VAL, OTHER = "#8a94a3", "#0c346e", "#3f7d6e"
FAINT = "#69707a"
EXPECTED = "#d97706"


def draw_results(rows: Sequence[EpochRow], path: Path) -> None:
    """Draw loss, accuracy, learning rate and speed over the epochs to a PNG, whole or not at all.

    Needs at least one row; losses that are not finite leave gaps. Raises OSError.
    """
    figure = Figure(figsize=(11, 7), dpi=120, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    (loss, accuracy), (rate, speed) = figure.subplots(2, 2)
    epochs = [row.epoch for row in rows]
    _curve(loss, epochs, [row.train_loss for row in rows], TRAIN, "train")
    _curve(loss, epochs, [row.val_loss for row in rows], VAL, "validation")
    _curve(accuracy, epochs, [row.train_accuracy for row in rows], TRAIN, "train")
    _curve(accuracy, epochs, [row.val_accuracy for row in rows], VAL, "validation")
    _curve(rate, epochs, [row.learning_rate for row in rows], OTHER)
    _curve(speed, epochs, [row.images_per_second for row in rows], OTHER)
    _mark_best(accuracy, rows)
    titles = {loss: "Loss", accuracy: "Accuracy", rate: "Learning rate", speed: "Training images per second"}
    for axes, title in titles.items():
        _dress(axes, title, epochs)
        _mark_unfreezing(axes, rows)
    if all(row.learning_rate > 0 for row in rows):
        rate.set_yscale("log")
    speed.set_ylim(bottom=0)
    for axes in titles:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", frameon=False)
    replace_file(path, lambda temporary: figure.savefig(temporary, format="png"))


def draw_curve(curve: LearningCurve, path: Path) -> None:
    """Draw accuracy over the number of photos, and what twice as many should bring, to a PNG. Raises OSError."""
    figure = Figure(figsize=(5.6, 4), dpi=120, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    axes, its = figure.subplots(), curve.overall
    sizes, accuracy = [*curve.sizes, 2 * curve.sizes[-1]], [100 * share for share in curve.accuracy]
    axes.errorbar(
        curve.sizes, accuracy, [100 * share for share in curve.spread], color=VAL, marker="o", label="measured"
    )
    doubt = [[100 * (its.then - its.low)], [100 * (its.high - its.then)]]
    axes.plot(sizes[-2:], [100 * its.now, 100 * its.then], color=EXPECTED, linestyle=":")
    axes.errorbar(
        sizes[-1:], [100 * its.then], doubt, color=EXPECTED, marker="o", capsize=4, label="expected, 95 %"
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    _plain(axes, "Accuracy of the probe, %", "photos that it learns from")
    axes.legend(loc="lower right", frameon=False)
    replace_file(path, lambda temporary: figure.savefig(temporary, format="png"))


def _curve(axes: Axes, epochs: list[int], values: list[float], colour: str, label: str | None = None) -> None:
    size = 4 if len(epochs) <= 40 else 0
    axes.plot(epochs, values, color=colour, label=label, linewidth=1.8, marker="o", markersize=size)


def _dress(axes: Axes, title: str, epochs: list[int]) -> None:
    _plain(axes, title, "epoch")
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _plain(axes: Axes, title: str, x: str) -> None:
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlabel(x, color=FAINT)
    axes.tick_params(colors=FAINT)
    axes.grid(axis="y", color="#e6e9ed")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _mark_best(axes: Axes, rows: Sequence[EpochRow]) -> None:
    best = next(row for row in rows if row.epoch == best_epoch(rows))
    label = f"best: {best.val_accuracy:.1%}, epoch {best.epoch}"
    axes.plot(best.epoch, best.val_accuracy, "o", color=EXPECTED, markersize=9, label=label, zorder=3)


def _mark_unfreezing(axes: Axes, rows: Sequence[EpochRow]) -> None:
    """Draw a line between the last epoch with a frozen backbone and the first without."""
    head = [row.epoch for row in rows if row.phase == "head"]
    if head and len(head) < len(rows):
        axes.axvline(max(head) + 0.5, color=FAINT, linestyle=":", label="backbone unfrozen")
