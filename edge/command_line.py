"""A command that the operator wrote on one line."""

from __future__ import annotations

import shlex
import shutil

from edge.errors import UsageError
from edge.hidden import hidden


def split(text: str, option: str, others: str) -> list[str]:
    """Split what was given to `option` as a shell would; no shell is started. Raises UsageError.

    `others`: what else the option takes, for the error, which shows no more than the program: what follows
    may hold secrets.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{option} is no command: {error}; expected one as in a shell, or {others}") from error
    if not words or shutil.which(words[0]) is None:
        program = hidden(words[0]) if words else ""
        raise UsageError(f"{option}: no program {program!r} is there; expected one on the path, or {others}")
    return words
