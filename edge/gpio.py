"""A GPIO line: how it is named, and the kernel's leave to use it, for the flap and for a lid switch."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from edge.errors import GpioError, UsageError, nearest

CONSUMER = "binsight"
"""Who has the line, as gpioinfo shows it."""

INSTALL = "pip install 'binsight[gpio]'"


@dataclass(frozen=True)
class LineAddress:
    """One line of a chip, and what was asked for behind a `?`."""

    chip: str
    """/dev/gpiochip0."""
    line: int
    """Its offset on the chip."""
    options: Mapping[str, str]


def parse(target: str, option: str, known: Collection[str], expected: str) -> LineAddress:
    """Read gpio://CHIP/LINE?NAME=VALUE&... as it was given to `option`. Raises UsageError.

    `known`: names that may stand behind the `?`; `expected`: says what does, for the error.
    """
    parts = urlsplit(target)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options.keys() - known:
        raise UsageError(f"{option} {target}: {name} is no option of a line; nearest: {nearest(name, known)}")
    line = parts.path.strip("/")
    if not (parts.netloc and line.isascii() and line.isdecimal()):
        raise UsageError(f"{option} is {target}; expected gpio://gpiochip0/17 with {expected} behind a ?")
    return LineAddress(str(Path("/dev") / parts.netloc), int(line), options)


def load(option: str) -> Any:
    """Return the module gpiod, 2.0 or later. Raises GpioError."""
    try:
        import gpiod  # noqa: PLC0415
    except ImportError as error:
        raise GpioError(f"{option} gpio:// needs gpiod, which is not installed: {INSTALL}") from error
    if not hasattr(gpiod, "request_lines"):
        raise GpioError(f"{option} gpio:// needs gpiod 2.0 or later: {INSTALL} in an environment")
    return gpiod


def request(gpiod: Any, chip: str, line: int, settings: Any, events: int | None = None) -> Any:
    """Return gpiod's request for the line; `events`: edges that the kernel keeps. Raises GpioError."""
    try:
        return gpiod.request_lines(chip, config={line: settings}, consumer=CONSUMER, event_buffer_size=events)
    except (OSError, ValueError) as error:
        raise GpioError(f"line {line} of {chip} can't be had: {_why(gpiod, chip, line, error)}") from error


def _why(gpiod: Any, chip: str, line: int, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        found = ", ".join(sorted(path.name for path in Path("/dev").glob("gpiochip*"))) or "none"
        return f"no such chip (this machine has: {found}); name one that is there (see gpiodetect)"
    if isinstance(error, PermissionError):
        return "this user may not open the chip; join the group gpio (usermod -aG gpio $USER) and log in again"
    if not gpiod.is_gpiochip_device(chip):
        return f"{chip} is no GPIO chip; expected one like /dev/gpiochip0 (see gpiodetect)"
    with suppress(OSError, ValueError), gpiod.Chip(chip) as opened:
        lines = opened.get_info().num_lines
        if line >= lines:
            return f"the chip has lines 0 to {lines - 1}; name one of them (see gpioinfo)"
        if getattr(error, "errno", None) == errno.EBUSY:
            holder = opened.get_line_info(line).consumer or "the kernel"
            return f"{holder} has it; end that, or take a line that nobody uses (see gpioinfo)"
    return f"{getattr(error, 'strerror', None) or error}; expected a free line that can do this (see gpioinfo)"
