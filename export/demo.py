"""The whole way on images that the project makes: photos, training, export, parity, and a bin at work."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path

import click
import msgspec

from edge.cli.app import NO, OK, Interrupted, progress_bar, run, say, say_json, shared_options
from edge.cli.logs import note
from edge.daemon import RunSettings, started
from edge.errors import UsageError
from edge.evaluate import evaluate, open_judge
from edge.event import Deposit, Event
from edge.intake import IntakeSettings
from edge.manifest import Precision, Verdict
from edge.outlets import OutletSettings
from edge.progress import Phase, silent
from edge.scene import SceneSettings, script
from edge.scores import Scores
from edge.summary import Summary
from edge.waste import write_dataset

LEAST_ACCURACY = 0.9
"""On images of another seed than training's, and of the decisions on the moving scene."""
PHOTO_SIZE = 128
"""Pixels; the network takes 96 of them, so that a crop has something to leave out."""
UNSEEN_SEED, SCENE_SEED = 1_000_000, 2_000_000
"""Added to the demo's seed: what is judged was never drawn for training."""


@dataclass(frozen=True)
class DemoSettings:
    """How much is made and trained."""

    folder: Path
    per_class: int = 500
    """Photos of each of the six kinds; a seventh more each are drawn to judge."""
    epochs: int = 15
    deposits: int = 20
    """Items that drop into the bin."""
    seed: int = 0


@dataclass(frozen=True)
class Demonstrated:
    """What came of it."""

    run: Path
    bundle: Path
    parity: Verdict
    """The worst of all graphs."""
    unseen: Scores
    """Of the bundle on unseen images."""
    truth: tuple[str, ...]
    """What was dropped into the bin, in order."""
    decisions: tuple[str, ...]
    """What the daemon decided, in order."""
    summary: Summary

    @property
    def decisions_right(self) -> float:
        """Share, 0 to 1, of deposits and decisions that belong together in order, of whichever are more."""
        blocks = SequenceMatcher(None, self.truth, self.decisions, autojunk=False).get_matching_blocks()
        most = max(len(self.truth), len(self.decisions), 1)
        return sum(block.size for block in blocks) / most

    @property
    def passed(self) -> bool:
        """Whether the demo shows what it promises."""
        good = min(self.unseen.accuracy, self.decisions_right) >= LEAST_ACCURACY
        return self.parity is not Verdict.FAIL and good


def demonstrate(
    settings: DemoSettings,
    cache: Path,
    say: Callable[[str], object],
    phase: Phase = silent,
) -> Demonstrated:
    """Make photos, train, export, judge, and run the daemon, all below `settings.folder`.

    `say` gets a line before each step. Raises BinsightError.
    """
    from export.run import export  # noqa: PLC0415  torch is heavy: --help must not wait for it
    from train.device import choose_device  # noqa: PLC0415
    from train.recipe import Recipe  # noqa: PLC0415
    from train.run import train  # noqa: PLC0415

    folder = settings.folder
    if folder.exists():
        raise UsageError(f"{folder} exists; name another folder with -o, or remove it")
    say(f"1/5 drawing photos into {folder / 'photos'}")
    write_dataset(folder / "photos", settings.per_class, settings.seed, PHOTO_SIZE)
    unseen = folder / "unseen"
    write_dataset(unseen, max(1, settings.per_class // 7), settings.seed + UNSEEN_SEED, PHOTO_SIZE)
    say("2/5 training a ResNet-18 from nothing")
    recipe = Recipe(
        model="resnet18", weights="none", img_size=96, epochs=settings.epochs, lr=2e-3, seed=settings.seed
    )
    device = choose_device("auto")
    trained = train(
        folder / "photos", folder / "run", recipe, device, cache, command="edge-demo", phase=phase, say=say
    )
    assert trained is not None  # noqa: S101  one process, which is the first
    say("3/5 exporting, and proving that the graphs answer as PyTorch does")
    exported = export(trained.run, None, (Precision.FP16,), cache)
    bundle = exported.bundle.folder
    say(f"4/5 judging the bundle on {unseen}")
    with open_judge(bundle, allow_failed_parity=True) as judge:  # what failed is said at the end
        judged = evaluate(judge, unseen, cache)
    say(f"5/5 watching {settings.deposits} items drop into a bin")
    scene = SceneSettings(seed=settings.seed + SCENE_SEED, deposits=settings.deposits)
    decisions, summary = _watch(bundle, scene, folder / "events.jsonl")
    return Demonstrated(
        run=trained.run,
        bundle=bundle,
        parity=exported.verdict,
        unseen=judged.scores,
        truth=tuple(deposit.label for deposit in script(scene)),
        decisions=decisions,
        summary=summary,
    )


def _watch(bundle: Path, scene: SceneSettings, events: Path) -> tuple[tuple[str, ...], Summary]:
    """Run the daemon on the moving scene, and read its decisions from the events that it wrote."""
    source = f"demo://?seed={scene.seed}&deposits={scene.deposits}"
    settings = RunSettings(
        bundle,
        IntakeSettings(source),
        outlets=OutletSettings((str(events),)),
        bin_id="demo",
        allow_failed_parity=True,
    )
    with started(settings, threading.Event()) as loop:
        summary = loop.run()
    lines = events.read_bytes().splitlines()
    return tuple(msgspec.json.decode(line, type=Event[Deposit]).data.label for line in lines), summary


@click.command(epilog="Example: edge-demo -o demo", context_settings={"show_default": True})
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder of the demo.  [default: demo, demo-2, ...]"
)
@click.option("--per-class", type=click.IntRange(8), default=DemoSettings.per_class, help="Photos of each kind.")
@click.option("--epochs", type=click.IntRange(1), default=DemoSettings.epochs)
@click.option("--deposits", type=click.IntRange(1), default=DemoSettings.deposits, help="Items for the bin.")
@click.option("--seed", type=click.IntRange(0, UNSEEN_SEED - 1), default=DemoSettings.seed)
@shared_options
def command(output: Path | None, per_class: int, epochs: int, deposits: int, seed: int, as_json: bool) -> int:
    """Show the whole way, without camera, GPU, data set or network. Exits 1 where it falls short."""
    folder = output or _next_folder()
    existed = folder.exists()
    settings = DemoSettings(folder, per_class, epochs, deposits, seed)
    try:
        shown = demonstrate(settings, folder / "cache", note, progress_bar)
    except Interrupted as stop:
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
            stop.note = f"{folder} was removed"
        raise
    if as_json:
        say_json(_as_json(shown))
    else:
        _print(shown)
    return OK if shown.passed else NO


def _next_folder() -> Path:
    number, folder = 1, Path("demo")
    while folder.exists():
        number += 1
        folder = Path(f"demo-{number}")
    return folder


def _as_json(shown: Demonstrated) -> dict[str, object]:
    return {
        "run": str(shown.run),
        "bundle": str(shown.bundle),
        "parity": shown.parity.value,
        "unseen_accuracy": shown.unseen.accuracy,
        "unseen_images": shown.unseen.images,
        "deposits": len(shown.truth),
        "decisions": len(shown.decisions),
        "decisions_right": shown.decisions_right,
        "passed": shown.passed,
        "report": str(shown.run / "report.html"),
    }


def _print(shown: Demonstrated) -> None:
    say("deposit   dropped    decided")
    for number, (dropped, decided) in enumerate(_paired(shown.truth, shown.decisions), start=1):
        mark = "" if dropped == decided else "   <- wrong"
        say(f"{number:7d}   {dropped:9}  {decided:9}{mark}")
    say(f"parity with PyTorch: {shown.parity.value}")
    say(f"accuracy on {shown.unseen.images} unseen images: {shown.unseen.accuracy:.1%}")
    say(f"decisions right on the moving scene: {shown.decisions_right:.1%} of {len(shown.truth)} deposits")
    say(f"bundle: {shown.bundle}")
    say(f"report: {shown.run / 'report.html'}")


def _paired(truth: Sequence[str], decisions: Sequence[str]) -> list[tuple[str, str]]:
    """Lay deposits beside the decisions that belong to them in order; - where one has no partner."""
    pairs: list[tuple[str, str]] = []
    for _, i, j, k, m in SequenceMatcher(None, truth, decisions, autojunk=False).get_opcodes():
        pairs.extend(zip_longest(truth[i:j], decisions[k:m], fillvalue="-"))
    return pairs


def main() -> None:
    """Run edge-demo."""
    run(command, "edge-demo")
