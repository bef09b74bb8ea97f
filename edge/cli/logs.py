"""Lines on stderr: what a command tells of its work, as text or each as a JSON object, and never with a secret."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

import click

from edge.hidden import discreet

FORMS = ("text", "json")
"""What --log-format takes."""

log = logging.getLogger(__name__)


class Text(logging.Formatter):
    """Errors of libraries quote what they were given, and a log is read by many."""

    def format(self, record: logging.LogRecord) -> str:
        """Lay the record out, without secrets."""
        return discreet(super().format(record))


class Json(logging.Formatter):
    """An object a line: time (RFC 3339, UTC), level, logger, message, `always`, and traceback of an error."""

    def __init__(self, always: dict[str, str]) -> None:
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Lay the record out, without secrets."""
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        said = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._always,
            "message": discreet(record.getMessage()),
        }
        if record.exc_info:
            said["traceback"] = discreet(self.formatException(record.exc_info))
        return json.dumps(said)


def begin(name: str) -> None:
    """Say warnings of all, and what our own code has to say, in the command's name."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Text(f"{name}: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("edge").setLevel(logging.INFO)


def say_all() -> None:
    """Say all that there is to say, from now on."""
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("edge").setLevel(logging.DEBUG)


def says_all() -> bool:
    """Whether `say_all` was asked for."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def speak_json(**always: str) -> None:
    """Make each line an object from now on, which holds `always`, too."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Json(always))


def speaks_json() -> bool:
    """Whether `speak_json` was asked for."""
    return any(isinstance(handler.formatter, Json) for handler in logging.getLogger().handlers)


def printable(text: str) -> str:
    """Escape what a terminal would obey: a file's name may hold anything."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )


def note(text: str) -> None:
    """Tell of the work, without secrets."""
    if speaks_json():
        log.info("%s", text)
    else:
        click.echo(printable(discreet(text)), err=True)
