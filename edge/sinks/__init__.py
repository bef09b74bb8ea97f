"""Where events go, behind one door. A new sink is one file and one line in OPENERS."""

from __future__ import annotations

from collections.abc import Callable

from edge.errors import SinkError
from edge.sinks.base import Sink
from edge.sinks.jsonl import open_file, open_stdout

__all__ = ["OPENERS", "Sink", "open_sink"]

OPENERS: dict[str, Callable[[str], Sink]] = {
    "-": open_stdout,
    "file": open_file,
}
"""Kind of sink to what opens it: schemes end in ://, `-` is stdout, all else is a file."""


def open_sink(target: str) -> Sink:
    """Open `-` (stdout) or a file for events. Raises SinkError."""
    scheme, separator, _ = target.partition("://")
    kind = f"{scheme}://" if separator else "-" if target == "-" else "file"
    if kind not in OPENERS:
        raise SinkError(f"no sink for {kind} in {target}; expected a file, or - for stdout")
    return OPENERS[kind](target)
