"""The page, as options on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.choices import LOOPBACK
from edge.errors import UsageError

if TYPE_CHECKING:
    from edge.web import WebSettings

FILE = click.Path(path_type=Path, dir_okay=False)

OPTIONS = (
    click.option("--web", metavar="[HOST:]PORT", help=f"Show a page and metrics there. [HOST: {LOOPBACK}]"),
    click.option("--web-token-file", type=FILE, help="Holds what lets in; other machines need it."),
    click.option("--web-live", is_flag=True, help="Let the page show what the camera sees."),
)


def web_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of these to a command, which gives what it gets to `take_web`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def take_web(values: dict[str, Any]) -> WebSettings | None:
    """Take these options out of a command's `values`; None: no page is wanted. Raises UsageError."""
    from edge.web import WebSettings  # noqa: PLC0415  heavy

    where, file, live = (values.pop(name) for name in ("web", "web_token_file", "web_live"))
    if where is None:
        if file or live:
            raise UsageError(f"{'--web-token-file' if file else '--web-live'} needs a page; add --web PORT")
        return None
    host, port = _place(where)
    return WebSettings(port, host, _token(file), live)


def _place(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]:|([^:\[\]\s]+):)?(\d{1,5})", text, re.ASCII)
    if not found or int(found[3]) > 65535:
        raise UsageError(f"--web is {text!r}; expected PORT or HOST:PORT, such as 8080, 0.0.0.0:8080 or [::]:8080")
    return found[1] or found[2] or LOOPBACK, int(found[3])


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no text"
        raise UsageError(f"--web-token-file {path} can't be read: {why}; expected a file with one line") from error
