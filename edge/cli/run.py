"""edge-run: the camera daemon."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import click
import cv2

from edge.cli.app import Interrupted, failed_parity_option, note, run, say_json, shared_options
from edge.cli.engine import Engine, engine_options
from edge.cli.outlets import outlet_options, take_outlets
from edge.daemon import RunSettings, started
from edge.errors import SourceError, UsageError
from edge.show import check
from edge.summary import Summary

NAME = "edge-run"
EPILOG = """\b
Examples:
  edge-run runs/demo/bundle demo://
  edge-run bundle 0 --events events.jsonl --bin kitchen-3
  edge-run bundle 0 --mqtt mqtts://broker.example --mqtt-password-file secret
  edge-run bundle photos/ --json
"""


@click.command(NAME, epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--bin", "bin_id", metavar="ID", help="Name of this bin in events. Default: the host's name.")
@click.option("--max-frames", type=click.IntRange(min=1), help="End after so many frames.")
@click.option("--show", is_flag=True, help="Show picture and answer in a window; q closes.")
@outlet_options
@engine_options
@failed_parity_option
@shared_options
def command(engine: Engine, bin_id: str | None, as_json: bool, **options: Any) -> None:
    """Watch SOURCE with BUNDLE and say what is thrown in: one event for each deposit.

    SOURCE is a camera (0, /dev/video0), a video file, a folder of images (each one a deposit), or demo://.
    Ctrl-C or SIGTERM ends cleanly; a second one at once.
    """
    if options["show"]:
        _check_display()
    name = _bin_id(bin_id)
    outlets = take_outlets(options, name, as_json)
    settings = RunSettings(
        backend=engine.backend,
        precision=engine.precision,
        options=engine.options,
        outlets=outlets,
        bin_id=name,
        **options,
    )
    summary = _run(settings)
    if as_json:
        say_json(asdict(summary))


def main() -> None:
    """Run the command."""
    # Their own complaints about a file or a device would stand beside our one line that says the same.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    run(command, NAME)


def _run(settings: RunSettings) -> Summary:
    stop = threading.Event()
    with started(settings, stop) as loop, _stopping(stop):
        info = loop.backend.info
        note(f"{NAME}: {info.file} on {info.provider}, source {settings.source}, bin {settings.bin_id}")
        try:
            summary = loop.run()
        except SourceError:
            note(table(loop.summary()))
            raise
        except BrokenPipeError:  # the summary is still worth saying
            note(f"{NAME}: the reader of the events has gone")
            summary = loop.summary()
        note(table(summary))
        return summary


def table(summary: Summary) -> str:
    """Lay the summary out as text."""
    broken = f", {summary.broken} broken pictures left out" if summary.broken else ""
    doubtful = ((summary.rejected_unsure, "unsure"), (summary.rejected_stranger, "strangers"))
    rejected = ", ".join(f"{count} {what}" for count, what in doubtful if count)
    lines = [
        f"{summary.frames} frames in {summary.seconds:.1f} s ({summary.fps:.1f} a second), "
        f"{summary.decisions} decisions{f' ({rejected} rejected)' if rejected else ''}{broken}"
    ]
    taken = [(step, value) for step, value in summary.latency_ms.items() if value]
    if taken:
        lines.append(f"{'step':12}{'p50 ms':>10}{'p99 ms':>10}")
        lines.extend(f"{step:12}{value.p50:10.2f}{value.p99:10.2f}" for step, value in taken)
    return "\n".join(lines)


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stop`, and the second end the command."""

    def on_signal(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        if stop.is_set():
            raise Interrupted(signum)
        stop.set()

    before = {signum: signal.signal(signum, on_signal) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _bin_id(given: str | None) -> str:
    if given is None:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-") or "bin"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given):
        raise UsageError(f"--bin is {given!r}; expected 1 to 64 letters, digits, dots, dashes and underscores")
    return given


def _check_display() -> None:
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError(
            "--show needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set; leave --show out"
        )
    check()
