"""Where events go, behind one door. A new sink is one file and one line in OPENERS."""

from __future__ import annotations

from collections.abc import Callable

from edge.errors import SinkError
from edge.sinks.base import Sink
from edge.sinks.jsonl import Rotation, open_file, open_stdout

__all__ = ["OPENERS", "Rotation", "Sink", "open_sink"]

OPENERS: dict[str, Callable[[str, Rotation | None], Sink]] = {
    "-": open_stdout,
    "file": open_file,
}
"""Kind of sink to what opens it: schemes end in ://, `-` is stdout, all else is a file."""


def open_sink(target: str, rotation: Rotation | None = None) -> Sink:
    """Open `-` (stdout) or a file for events, which may be rotated. Raises SinkError."""
    scheme, separator, _ = target.partition("://")
    kind = f"{scheme}://" if separator else "-" if target == "-" else "file"
    if kind not in OPENERS:
        raise SinkError(f"no sink for {kind} in {target}; expected a file, or - for stdout")
    return OPENERS[kind](target, rotation)
