"""edge-data."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from pathlib import Path

import click

from edge.cli.app import NO, OK, cache_folder, progress_bar, run, say, say_json, shared_options
from edge.errors import UsageError
from train.dataset.survey import Survey, spoiling, survey
from train.report.data_json import as_json as to_dict
from train.report.data_page import HTML, write_report

NAMED = 5
"""Findings of a kind that the screen names; all stand in the report."""


@click.command(
    epilog="Example: edge-data photos.zip -o reports/photos",
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Report folder.  [default: reports/NAME]")
@click.option(
    "--weights", help="Look for wrong labels too, by a network that has not seen them: imagenet, or a file."
)
@click.option("--model", default="mobilenet_v2", help="Of the weights.")
@click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N, for --weights.")
@click.option("--allow", is_flag=True, help="Exit 0 whatever is found.")
@shared_options
def command(
    data: Path, output: Path | None, weights: str | None, model: str, device: str, allow: bool, as_json: bool
) -> int:
    """Examine DATA, a folder or .zip of class folders, before an hour of training is spent on it.

    Exits 1 where a finding would spoil a training: one picture in two classes or in two splits, a class
    with too few photos, or over 5 % of the files unreadable.
    """
    folder = output or Path("reports") / data.absolute().stem
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, expected a folder for the report; name another with -o")
    found = survey(data, cache_folder(), progress_bar)
    if weights:
        from train.insight.labels import with_suspects  # noqa: PLC0415  torch is heavy

        found = with_suspects(found, model, weights, device, cache_folder(), progress_bar)
    write_report(folder, found, str(data.absolute()), shlex.join(["edge-data", *sys.argv[1:]]))
    if as_json:
        say_json({**to_dict(found, str(data.absolute())), "report": str(folder / HTML)})
    else:
        _print(found)
        say(f"report: {folder / HTML}")
    return NO if spoiling(found) and not allow else OK


def _print(found: Survey) -> None:
    examined = found.examined
    counts = Counter(sample.photo.label for sample in examined.samples)
    width = max(map(len, examined.labels))
    for label in examined.labels:
        say(f"{label:{width}}  {counts[label]:6d}")
    say(f"{examined.files} images in {len(examined.labels)} classes, {len(examined.broken)} of them unreadable")
    kinds = Counter(finding.kind for finding in found.findings)
    for kind, count in kinds.items():
        mine = [finding for finding in found.findings if finding.kind is kind]
        say(f"{kind.value}: {count}")
        for finding in mine[:NAMED]:
            say(f"  {finding.detail}{': ' if finding.files else ''}{_files(finding.files)}")
        if count > NAMED:
            say(f"  and {count - NAMED} more")
    bad = len(spoiling(found))
    say(f"{bad} finding{'' if bad == 1 else 's'} would spoil a training" if bad else "fit to train on")


def _files(files: tuple[str, ...]) -> str:
    return ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")


def main() -> None:
    """Run edge-data."""
    run(command, "edge-data")
