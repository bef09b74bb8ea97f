"""GPIO lines that are none: what gpiod 2 offers, as far as it is used, with its own names and parameters."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Lines:
    """One chip, /dev/gpiochip0, of 32 lines, each of which anybody may have."""

    def __init__(self) -> None:
        self.said: list[tuple[float, str, Any]] = []
        """Monotonic seconds, line, and the value that it was given."""
        self.settings: Any = None
        """Path, config and consumer of the newest request."""
        self.asked = 0
        """How often a line was asked for."""
        self.error: OSError | None = None
        """Raised where a line is asked for."""
        self.gone: OSError | None = None
        """Raised where a line is used."""
        self.holder = ""
        """Who has the line that is asked for."""
        self.kept = 0
        """Edges that the kernel keeps."""
        self._edges: list[SimpleNamespace] = []

    def edge(self, at: float | None = None) -> None:
        """Move the line that is listened to, at so many monotonic seconds."""
        now = time.monotonic() if at is None else at
        self._edges = [*self._edges, SimpleNamespace(timestamp_ns=round(now * 1e9))][-self.kept :]

    def values(self) -> list[Any]:
        return [value for _, line, value in self.said if line != "release"]

    def module(self) -> ModuleType:
        made = ModuleType("gpiod")
        names = {
            "Direction": ("INPUT", "OUTPUT"),
            "Edge": ("FALLING", "RISING", "BOTH"),
            "Bias": ("AS_IS", "PULL_UP", "PULL_DOWN"),
            "Clock": ("MONOTONIC",),
        }
        kinds = {kind: SimpleNamespace(**{name: name for name in all_}) for kind, all_ in names.items()}
        made.line = SimpleNamespace(  # type: ignore[attr-defined]
            Value=SimpleNamespace(ACTIVE=1, INACTIVE=0), **kinds
        )
        made.LineSettings = SimpleNamespace  # type: ignore[attr-defined]
        made.request_lines = self._request_lines  # type: ignore[attr-defined]
        made.is_gpiochip_device = lambda path: path == "/dev/gpiochip0"  # type: ignore[attr-defined]
        made.Chip = lambda path: _Chip(self)  # type: ignore[attr-defined]
        return made

    def _request_lines(
        self,
        path: str,
        config: dict[Any, Any],
        consumer: str | None = None,
        event_buffer_size: int | None = None,
    ) -> _Request:
        self.asked += 1
        if self.error:
            raise self.error
        self.settings = (path, config, consumer)
        self.kept = event_buffer_size or 16
        self._edges = []
        return _Request(self)


class _Request:
    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def set_value(self, line: int | str, value: Any) -> None:
        self._lines.said.append((time.monotonic(), str(line), value))

    def wait_edge_events(self, timeout: float | None = None) -> bool:
        assert timeout == 0, "nobody waits for a line"
        return bool(self._lines._edges or self._lines.gone)

    def read_edge_events(self, max_events: int | None = None) -> list[SimpleNamespace]:
        if self._lines.gone:
            raise self._lines.gone
        most = max_events or 64
        edges, self._lines._edges = self._lines._edges[:most], self._lines._edges[most:]
        return edges

    def release(self) -> None:
        self._lines.said.append((time.monotonic(), "release", None))


class _Chip:
    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __enter__(self) -> _Chip:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_info(self) -> SimpleNamespace:
        return SimpleNamespace(num_lines=32)

    def get_line_info(self, line: int) -> SimpleNamespace:
        return SimpleNamespace(used=bool(self._lines.holder), consumer=self._lines.holder)


def installed(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Put them where gpiod would be."""
    lines = Lines()
    monkeypatch.setitem(sys.modules, "gpiod", lines.module())
    return lines


def check_likeness(gpiod: Any) -> None:
    """Assert that the real module has what is used of it."""
    import inspect

    def parameters(function: Any) -> set[str]:
        return {*inspect.signature(function).parameters}

    assert "path" in parameters(gpiod.request_lines)  # which in 2.1 hands the rest on unnamed
    assert {"config", "consumer", "event_buffer_size"} <= parameters(gpiod.Chip.request_lines)
    settings = {"direction", "output_value", "active_low", "edge_detection", "bias", "debounce_period"}
    assert settings | {"event_clock"} <= parameters(gpiod.LineSettings)
    assert [*inspect.signature(gpiod.LineRequest.set_value).parameters] == ["self", "line", "value"]
    assert parameters(gpiod.LineRequest.wait_edge_events) == {"self", "timeout"}
    assert parameters(gpiod.LineRequest.read_edge_events) == {"self", "max_events"}
    assert "timestamp_ns" in gpiod.EdgeEvent.__annotations__
    assert "num_lines" in gpiod.ChipInfo.__annotations__
    assert "consumer" in gpiod.line_info.LineInfo.__annotations__
    assert {"get_info", "get_line_info", "__enter__"} <= {*dir(gpiod.Chip)}
    line, fake = gpiod.line, Lines().module()
    assert line.Value.ACTIVE is not line.Value.INACTIVE
    for kind in ("Direction", "Edge", "Bias", "Clock"):
        for name in vars(getattr(fake.line, kind)):
            assert getattr(getattr(line, kind), name)
