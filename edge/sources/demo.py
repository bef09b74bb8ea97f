"""`demo://`: the moving scene that the project draws itself, as fast as it is read."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from edge.errors import UsageError, nearest
from edge.scene import SceneSettings, frames
from edge.sources.base import Clock, Closing, Counts, Frame


class Demo(Closing):
    """Frames of a scene in the scene's own time."""

    single = False
    live = False
    broken = 0
    counts = Counts()

    def __init__(self, settings: SceneSettings, clock: Clock) -> None:
        self._frames = frames(settings)
        self._clock = clock

    def read(self) -> Frame | None:
        """Return the next frame, None after the scene's end."""
        for seconds, image in self._frames:
            return Frame(image, self._clock(), seconds)
        return None

    def __enter__(self) -> Demo:
        return self


def open_demo(uri: str, clock: Clock = time.monotonic) -> Demo:
    """Open `demo://` or `demo://?seed=3&deposits=20`. Raises UsageError on an unknown key or a bad value."""
    return Demo(parse(uri), clock)


def parse(uri: str) -> SceneSettings:
    """Read the scene's settings from the query of `uri`. Raises UsageError."""
    parts = urlsplit(uri)
    if parts.netloc or parts.path:
        raise UsageError(f"{uri}: expected demo:// or demo://?seed=3&deposits=20")
    kinds: dict[str, type[Any]] = {key: type(value) for key, value in asdict(SceneSettings()).items()}
    values: dict[str, Any] = {}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key not in kinds:
            raise UsageError(f"{uri}: unknown key {key!r}; nearest: {nearest(key, kinds)}")
        try:
            values[key] = kinds[key](text)
        except ValueError:
            wanted = "a whole number" if kinds[key] is int else "a number"
            raise UsageError(f"{uri}: {key} is {text!r}; expected {wanted}") from None
    return SceneSettings(**values)
