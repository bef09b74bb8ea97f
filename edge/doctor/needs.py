"""What one bin needs: its bundle proven here, a picture from its source, its flaps, and a port for its page."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from edge import bundle as bundles
from edge.backends import DEFAULT, Options, graph_of, open_backend
from edge.backends.tensorrt import is_buildable
from edge.bundle import TENSORRT, Bundle
from edge.doctor.finding import Finding, State, fail, ok, told, warn
from edge.errors import BinsightError
from edge.golden import self_test
from edge.hidden import hidden
from edge.intake import IntakeSettings
from edge.manifest import Precision, Verdict
from edge.sinks.flap import parse_command, parse_line
from edge.sources import open_source
from edge.sources.base import Frame
from edge.web import WebSettings
from edge.web.server import listen

PATIENCE_S = 10.0
"""For the first picture of a source that is open."""


def bundle(
    folder: Path,
    backend: str = "auto",
    precision: Precision | None = None,
    options: Options = DEFAULT,
    *,
    allow_failed: bool = False,
) -> Finding:
    """Load a bundle and run its self-test on the engine that serves first; no engine is built.

    `allow_failed`: whether edge-run is told to run a graph whose verdict is FAIL.
    """
    how = replace(options, build=False)
    try:
        loaded = bundles.load(folder)
        with open_backend(loaded, _first(loaded, backend, precision, how), precision, how) as engine:
            tested = self_test(loaded, engine)
            artifact = loaded.manifest.artifact_of(engine.info.file)
            shown = f"{folder}: {artifact.file} on {engine.info.provider}"
    except BinsightError as error:
        return told("bundle", State.FAIL, error, "export the run again, or copy the bundle anew")
    if artifact.verdict is Verdict.FAIL and not allow_failed:
        mend = "take another precision, or export the run again with more photos"
        return fail("bundle", f"{shown}: its parity is FAIL, so that edge-run refuses it", mend)
    found = f"{shown} passes its self-test ({tested.images} images), parity {artifact.verdict.value}"
    if artifact.verdict is Verdict.FAIL:
        return warn("bundle", found, "allow-failed-parity lets it run: export the run again, then take that out")
    if artifact.verdict is Verdict.INCONCLUSIVE:
        return warn("bundle", found, "edge-eval BUNDLE --parity says how many photos would tell")
    return ok("bundle", found)


def _first(loaded: Bundle, backend: str, precision: Precision | None, options: Options) -> str:
    """Return what serves while the TensorRT engine that was asked for is built, as edge.serving has it."""
    if backend == TENSORRT and is_buildable(graph_of(loaded, TENSORRT, precision), options):
        return "auto"
    return backend


def source(intake: IntakeSettings, patience: float = PATIENCE_S) -> Finding:
    """Open the source as edge-run does, and take a picture from it."""
    shown = hidden(intake.source)
    began = time.monotonic()
    try:
        with open_source(intake.source, intake.camera) as opened:
            until = time.monotonic() + patience
            taken = opened.read()
            while taken is not None and not isinstance(taken, Frame) and time.monotonic() < until:
                taken = opened.read()
    except BinsightError as error:
        return told("source", State.FAIL, error, "see docs/cameras.md")
    if not isinstance(taken, Frame):
        why = taken.why if taken else "it is empty"
        return fail("source", f"{shown} gives no picture: {why}", "see docs/cameras.md")
    height, width = taken.image.shape[:2]
    return ok("source", f"{shown} gave a picture of {width}x{height} after {time.monotonic() - began:.1f} s")


def flap(target: str) -> Finding:
    """Look whether its program or its chip is there; nothing moves."""
    try:
        if not target.startswith("gpio://"):
            parse_command(target)
            return ok("flap", f"{hidden(target.split(maxsplit=1)[0])} is there")
        line = parse_line(target)
    except BinsightError as error:
        return told("flap", State.FAIL, error, "see docs/events.md")
    if not os.access(line.chip, os.R_OK | os.W_OK):
        mend = "see gpiodetect; usermod -aG gpio $USER, then log in again"
        return fail("flap", f"{line.chip} is not there, or not for this user", mend)
    return ok("flap", f"line {line.line} of {line.chip} may be asked for")


def page(web: WebSettings) -> Finding:
    """Listen where the page is to be, for a moment."""
    try:
        listen(web.host, web.port).close()
    except BinsightError as error:
        return told("page", State.WARN, error, "well where it is this bin's own edge-run that listens there")
    return ok("page", f"port {web.port} of {web.host} is free")
