"""edge-run: the camera daemon."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edge import opencv
from edge.choices import MAX_AGE
from edge.cli.app import Interrupted, failed_parity_option, run, say_json, shared_options
from edge.cli.config import Configured, section
from edge.cli.engine import Engine, engine_options
from edge.cli.intake import intake_options, take_intake
from edge.cli.keep import keep_options, take_keep
from edge.cli.logs import FORMS, note, speak_json
from edge.cli.outlets import outlet_options, state_folder, take_outlets
from edge.cli.trigger import take_trigger, trigger_options
from edge.cli.web import take_web, web_options
from edge.errors import SourceError, UsageError
from edge.hidden import hidden

if TYPE_CHECKING:
    from edge.daemon import RunSettings
    from edge.summary import Summary

NAME = "edge-run"
EPILOG = """\b
Examples:
  edge-run runs/demo/bundle demo://
  edge-run bundle 0 --events events.jsonl --bin kitchen-3
  edge-run bundle 0 --mqtt mqtts://broker.example --mqtt-password-file secret
  edge-run bundle photos/ --json
  edge-run --config bin.toml
"""


@click.command(NAME, cls=Configured, epilog=EPILOG)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source")
@section(
    "Run",
    click.option("--bin", "bin_id", metavar="ID", help="Name of this bin in events. Default: the host's name."),
    click.option("--max-frames", type=click.IntRange(min=1), help="End after so many frames."),
    click.option("--show", is_flag=True, help="Show picture and answer in a window; q closes."),
    click.option(
        "--log-format",
        type=click.Choice(FORMS),
        default="text",
        show_default=True,
        help="Lines on stderr; json: an object each.",
    ),
)
@section("Source", intake_options)
@section(
    "Decisions",
    trigger_options,
    click.option(
        "--max-frame-age",
        type=click.FloatRange(0.05, 60),
        default=MAX_AGE,
        show_default=True,
        metavar="SECONDS",
        help="Beyond it nothing is decided on a camera's frame.",
    ),
)
@outlet_options
@section("Pictures that are kept", keep_options)
@section("Page", web_options)
@section("Engine", engine_options, failed_parity_option)
@shared_options
def command(engine: Engine, bin_id: str | None, as_json: bool, **options: Any) -> None:
    """Watch SOURCE with BUNDLE and say what is thrown in: one event for each deposit.

    SOURCE is a camera (0, /dev/video0, csi://0, rtsp://HOST/PATH), a video file, a folder of images (each one a
    deposit), a recording, or demo://.
    Ctrl-C or SIGTERM ends cleanly; a second one at once. SIGHUP, or other files at BUNDLE (best: a link's new
    target), swaps the bundle.
    """
    if options["log_format"] == "json":
        speak_json(bin=_bin_id(bin_id))
    if options["show"]:
        _check_display()
    settings = take_settings(engine, bin_id, as_json, options)
    summary = _run(settings)
    if as_json:
        say_json(asdict(summary))


def take_settings(engine: Engine, bin_id: str | None, as_json: bool, options: dict[str, Any]) -> RunSettings:
    """Make settings of what the command was given. Takes them out of `options`. Raises UsageError, SinkError."""
    from edge.daemon import RunSettings  # noqa: PLC0415  heavy
    from edge.supervise import orders  # noqa: PLC0415  heavy

    options.pop("log_format")
    name = _bin_id(bin_id)
    outlets = take_outlets(options, name, as_json)
    return RunSettings(
        intake=take_intake(options),
        trigger=take_trigger(options),
        web=take_web(options),
        keep=take_keep(options),
        state=state_folder(),
        supervisor=orders(os.environ, os.getpid()),
        backend=engine.backend,
        precision=engine.precision,
        options=engine.options,
        outlets=outlets,
        bin_id=name,
        **options,
    )


def main() -> None:
    """Run the command."""
    if sys.stderr:  # where a supervisor ends a daemon that stands still, this says in what
        faulthandler.enable()
    hush()
    run(command, NAME)


def hush() -> None:
    """Silence the complaints of OpenCV about a file or a device: our one line says the same."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "cv2" in sys.modules:  # it has read them
        opencv.set_log_level(opencv.SILENT)


def _run(settings: RunSettings) -> Summary:
    from edge.daemon import started  # noqa: PLC0415  heavy

    stop, again = threading.Event(), threading.Event()
    with started(settings, stop, again) as loop, _signals(stop, again):
        info = loop.model.info
        source = hidden(settings.intake.source)
        note(f"{NAME}: {info.file} on {info.provider}, source {source}, bin {settings.bin_id}")
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
def _signals(stop: threading.Event, again: threading.Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stop`, and the second end the command; SIGHUP sets `again`."""

    def on_signal(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        if signum == signal.SIGHUP:
            again.set()
        elif stop.is_set():
            raise Interrupted(signum)
        else:
            stop.set()

    before = {
        signum: signal.signal(signum, on_signal) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
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
    from edge.show import check  # noqa: PLC0415  heavy

    check()
