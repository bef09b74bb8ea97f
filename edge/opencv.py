"""How much OpenCV itself says on stderr."""

from __future__ import annotations

from typing import Any

SILENT = 0
"""Of its levels: nothing at all."""


def log_level() -> int:
    """Return its level, 0 to 6."""
    return int(_logging().getLogLevel())


def set_log_level(level: int) -> None:
    """Let it say no more than that."""
    _logging().setLogLevel(level)


def _logging() -> Any:
    """Return what has both: a module of its own, in 4.10 cv2 itself."""
    import cv2  # noqa: PLC0415  heavy

    return cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2
