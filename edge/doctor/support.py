"""Which systems bins run on: importable on the others too."""

from __future__ import annotations

from edge.doctor.finding import Finding, fail


def unsupported(system: str) -> Finding | None:
    """Say that bins do not run on a system; None where they may."""
    if system == "Linux":
        return None
    name = {"Darwin": "macOS"}.get(system, system or "this system")
    return fail(
        "system",
        f"{name} is not supported: a bin runs on Linux alone",
        "take a Jetson with JetPack 6 or 7, or any computer with Linux",
    )
