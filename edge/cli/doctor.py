"""edge-doctor: what this machine has and lacks to be a bin."""

from __future__ import annotations

import platform
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.app import NO, OK, cache_folder, run, say, say_json, shared_options
from edge.doctor.finding import Area, Finding, State, fail
from edge.doctor.support import unsupported

if TYPE_CHECKING:
    from edge.daemon import RunSettings

NAME = "edge-doctor"
EPILOG = """\b
Examples:
  edge-doctor
  edge-doctor runs/demo/bundle --json
  edge-doctor --config /etc/binsight/bin.toml
"""
SIGNS = {State.OK: "ok", State.WARN: "WARN", State.FAIL: "FAIL", State.ABSENT: "-"}
WIDEST = 110
"""Columns, where the terminal is that wide; 80 elsewhere."""
INDENT, ARROW = 23, "-> "
MEND = (
    "what OpenCV lacks: sudo apt install libgl1 libglib2.0-0; anything else: "
    "pip install --force-reinstall 'binsight[cpu]'"
)


@click.command(NAME, epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Try what this configuration of edge-run uses.",
)
@shared_options
def command(bundle: Path | None, config: Path | None, as_json: bool) -> int:
    """Look at this machine and say what a bin finds here, what is missing, and how to mend it.

    BUNDLE is loaded and proven on this machine; --config opens its camera, broker and webhook too. Nothing is
    changed or published. Exits 1 where a bin can't run, or not with that BUNDLE or configuration.
    """
    areas = _areas(bundle, config)
    findings = [finding for area in areas for finding in area.findings]
    if as_json:
        say_json(report(findings))
    else:
        for line in lines(areas, _width()):
            say(line)
    return NO if any(one.state is State.FAIL for one in findings) else OK


def main() -> None:
    """Run the command."""
    run(command, NAME)


def report(findings: Sequence[Finding]) -> dict[str, object]:
    """Return what --json holds."""
    return {
        "runs": all(one.state is not State.FAIL for one in findings),
        "findings": [
            {"check": one.check, "state": one.state.value, "found": one.found, "mend": one.mend}
            for one in findings
        ],
    }


def lines(areas: Sequence[Area], width: int) -> Iterator[str]:
    """Lay the findings out as text, area by area, and the verdict at the end."""
    for area in areas:
        yield area.name
        for one in area.findings:
            head = f"  {SIGNS[one.state]:5}{one.check:{INDENT - 7}}"
            yield from _wrapped(head, one.found, width)
            if one.mend:
                yield from _wrapped(" " * INDENT + ARROW, one.mend, width)
        yield ""
    yield from textwrap.wrap(verdict([one for area in areas for one in area.findings]), width)


def verdict(findings: Sequence[Finding]) -> str:
    """Say in a sentence whether a bin runs here."""
    named = {state: [one.check for one in findings if one.state is state] for state in SIGNS}
    warned = f"look at: {', '.join(dict.fromkeys(named[State.WARN]))}" if named[State.WARN] else ""
    if named[State.FAIL]:
        first = f"A bin can't run here before this is mended: {', '.join(dict.fromkeys(named[State.FAIL]))}."
        return f"{first} Then {warned}." if warned else first
    return f"A bin can run here; {warned}." if warned else "A bin can run here."


def _areas(bundle: Path | None, config: Path | None) -> list[Area]:
    wrong = unsupported(platform.system())
    if wrong:  # there most of what is imported below is missing
        return [Area("System", (wrong,))]
    try:
        from edge.cli.outlets import state_folder  # noqa: PLC0415
        from edge.doctor.examine import Wish, examine  # noqa: PLC0415
        from edge.doctor.machine import Machine  # noqa: PLC0415
    except ImportError as error:
        return [Area("Libraries", (fail("libraries", f"one does not load: {error}", MEND),))]

    settings = _configured(config, bundle) if config else None
    return examine(
        Machine(), Wish(settings.bundle if settings else bundle, settings, (state_folder(), cache_folder()))
    )


def _configured(config: Path, bundle: Path | None) -> RunSettings:
    """Read a configuration as edge-run does. Raises ConfigError, UsageError, SinkError."""
    from edge.cli import run as daemon  # noqa: PLC0415
    from edge.cli.engine import take_engine  # noqa: PLC0415

    daemon.hush()
    arguments = ["--config", str(config), *([str(bundle)] if bundle else [])]
    with daemon.command.make_context(daemon.NAME, arguments) as context:
        values = {**context.params}
    engine = take_engine(values)
    return daemon.take_settings(engine, values.pop("bin_id"), values.pop("as_json"), values)


def _width() -> int:
    return min(WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 80


def _wrapped(head: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
