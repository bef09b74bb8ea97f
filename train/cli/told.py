"""What edge-train says at its end."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge.cli.app import say, say_scores

if TYPE_CHECKING:
    from train.run import Trained


def as_plain(trained: Trained) -> dict[str, Any]:
    """Return what --json prints."""
    from train.results import told  # noqa: PLC0415  torch is heavy: --help must not wait for it

    result = {"run": str(trained.run), "best_epoch": trained.best_epoch, "seconds": trained.seconds}
    return {**result, "test": asdict(trained.scores), **told(trained.insight, trained.doubt, trained.labels)}


def say_trained(trained: Trained) -> None:
    """Print it for people."""
    from train.insight.words import tell_doubling  # noqa: PLC0415

    scores = trained.scores
    say_scores(scores)
    say(
        f"test accuracy {scores.accuracy:.1%}, macro F1 {scores.macro_f1:.3f}, calibration error "
        f"{scores.calibration_error:.1%}, on {scores.images} photos; best epoch {trained.best_epoch}"
    )
    insight = trained.insight
    if insight.suspects:
        its = insight.suspects
        say(f"labels that look wrong: {its.flagged} of {len(its.order)}, in {trained.run / 'suspects.csv'}")
    if insight.curve:
        say(tell_doubling(insight.curve, trained.labels))
    for line in insight.notes:
        say(line)
    say(f"report: {trained.run / 'report.html'}")
