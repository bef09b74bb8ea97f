"""results.png and learning_curve.png: how a run went epoch by epoch, and what more photos should bring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from train.insight.curve import LearningCurve
from train.report import plot
from train.report.plot import BLUE, GREEN, GREY, ORANGE, PALE
from train.report.rows import EpochRow, best_epoch

TRAIN, VAL = GREY, BLUE
DOTTED = 40
"""Of more epochs, a curve has no dots."""


def draw_results(rows: Sequence[EpochRow], path: Path) -> None:
    """Draw loss, accuracy, learning rates and speed over the epochs to a PNG, whole or not at all.

    Marked are the epoch whose weights were kept, and the epochs in which the backbone was frozen. Losses that are
    not finite leave gaps, and without a row the picture says so. Raises OSError.
    """
    if not rows:
        _say_untrained(path)
        return
    figure = plot.sheet((11, 7))
    (loss, accuracy), (rate, speed) = figure.subplots(2, 2)
    titles = {loss: "Loss", accuracy: "Accuracy", rate: "Learning rate", speed: "Training images per second"}
    for axes, title in titles.items():
        _dress(axes, title, rows)
    _curve(loss, rows, [row.train_loss for row in rows], TRAIN, "train")
    _curve(loss, rows, [row.val_loss for row in rows], VAL, "validation")
    _curve(accuracy, rows, [row.train_accuracy for row in rows], TRAIN, "train")
    _curve(accuracy, rows, [row.val_accuracy for row in rows], VAL, "validation")
    _rates(rate, rows)
    # Features from a table go by a hundred times faster than photos: beside them nothing else would be seen.
    seen = [row for row in rows if row.phase != "head"] or rows
    _curve(speed, seen, [row.images_per_second for row in seen], GREEN)
    _mark_best(loss, accuracy, rows)
    accuracy.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")
    speed.set_ylim(bottom=0)
    for axes in titles:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", frameon=False)
    plot.save(figure, path)


def _say_untrained(path: Path) -> None:
    figure = plot.sheet((11, 3))
    figure.text(0.5, 0.5, "No epoch was trained: the weights were judged as they came.", ha="center", size=14)
    plot.save(figure, path)


def draw_curve(curve: LearningCurve, path: Path) -> None:
    """Draw accuracy over the number of photos, and what twice as many should bring, to a PNG. Raises OSError."""
    figure = plot.sheet()
    axes, its = figure.subplots(), curve.overall
    sizes, accuracy = [*curve.sizes, 2 * curve.sizes[-1]], [100 * share for share in curve.accuracy]
    axes.errorbar(
        curve.sizes, accuracy, [100 * share for share in curve.spread], color=BLUE, marker="o", label="measured"
    )
    doubt = [[100 * (its.then - its.low)], [100 * (its.high - its.then)]]
    axes.plot(sizes[-2:], [100 * its.now, 100 * its.then], color=ORANGE, linestyle=":")
    axes.errorbar(sizes[-1:], [100 * its.then], doubt, color=ORANGE, marker="o", capsize=4, label="expected, 95 %")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    plot.dress(axes, "Accuracy of the probe, %", "photos that it learns from")
    axes.legend(loc="lower right", frameon=False)
    plot.save(figure, path)


def _dress(axes: Axes, title: str, rows: Sequence[EpochRow]) -> None:
    plot.dress(axes, title, "epoch")
    axes.set_xlim(rows[0].epoch - 0.5, rows[-1].epoch + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    frozen = [row.epoch for row in rows if row.phase == "head"]
    if frozen and len(frozen) < len(rows):
        axes.axvspan(min(frozen) - 0.5, max(frozen) + 0.5, color=PALE, zorder=0, label="backbone frozen")


def _curve(
    axes: Axes, rows: Sequence[EpochRow], values: Sequence[float], colour: str, label: str | None = None
) -> None:
    size = 4 if len(rows) <= DOTTED else 0
    epochs = [row.epoch for row in rows]
    axes.plot(epochs, values, color=colour, label=label, linewidth=1.8, marker="o", markersize=size)


def _rates(axes: Axes, rows: Sequence[EpochRow]) -> None:
    """Draw the head's rate, and the backbone's where it learns; one that is zero has no place on a log scale."""
    backbone = [row.backbone_rate or float("nan") for row in rows]
    known = any(row.backbone_rate for row in rows)
    if known:
        _curve(axes, rows, backbone, GREY, "backbone")
    _curve(axes, rows, [row.learning_rate for row in rows], GREEN, "head" if known else None)
    if all(row.learning_rate > 0 for row in rows):
        axes.set_yscale("log")


def _mark_best(loss: Axes, accuracy: Axes, rows: Sequence[EpochRow]) -> None:
    best = next(row for row in rows if row.epoch == best_epoch(rows))
    for axes, value, label in (
        (loss, best.val_loss, "kept"),
        (accuracy, best.val_accuracy, f"kept: {best.val_accuracy:.1%}, epoch {best.epoch}"),
    ):
        axes.plot(best.epoch, value, "o", color=ORANGE, markersize=9, label=label, zorder=3)
