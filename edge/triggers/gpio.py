"""A lid switch on a GPIO line: the kernel queues its edges, so that none is missed between two looks."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from edge import gpio
from edge.errors import GpioError, UsageError
from edge.sinks.mqtt_settings import MqttSettings
from edge.sources.base import Clock
from edge.triggers.base import Closing, Standing, Throws, TriggerSettings

OPTION = "--trigger"

EDGES = 64
"""That the kernel keeps for us between two looks; more are a line that chatters, and its oldest go."""

LONGEST_TRY_S = 10.0
"""Between tries for a line that was lost (a chip on USB), in seconds."""

EXPECTED = "edge=falling|rising|both, debounce_ms=0 to 1000 or bias=pull-up|pull-down|none"


class Edge(str, Enum):
    """Which change of the line is a signal."""

    FALLING = "falling"
    RISING = "rising"
    BOTH = "both"


class Bias(str, Enum):
    """What holds the line while the switch is open."""

    PULL_UP = "pull-up"
    PULL_DOWN = "pull-down"
    NONE = "none"
    """A resistor outside, or an output that drives both ways: the line's bias is left as it is."""


@dataclass(frozen=True)
class SwitchSettings:
    """One line that is listened to."""

    chip: str
    """/dev/gpiochip0."""
    line: int
    """Its offset on the chip."""
    edge: Edge = Edge.FALLING
    debounce_ms: int = 50
    """The line must hold its new value for so many milliseconds."""
    bias: Bias = Bias.PULL_UP


class Switch(Closing):
    """Throws are edges of a line. It holds no thread: the kernel listens."""

    def __init__(self, settings: SwitchSettings, hold_ms: int, gpiod: Any, clock: Clock = time.monotonic) -> None:
        """`gpiod` is the module of that name, 2.0 or later. Raises GpioError."""
        self._settings, self._gpiod, self._clock = settings, gpiod, clock
        self._throws = Throws(hold_ms / 1000)
        self._standing = Standing(f"{settings.chip} line {settings.line}", LONGEST_TRY_S, clock)
        self._again = 0.0
        """Not tried again before this time."""
        self._request: Any = self._open()
        self._standing.hears()

    @property
    def healthy(self) -> bool:
        """Whether the line is ours."""
        return self._standing.healthy

    def poll(self, time: float) -> bool:
        """Read the edges that came. A line that is lost is asked for again."""
        try:
            if self._request is None and time >= self._again:
                self._request = self._open()
            if self._request is not None:
                self._read()
        except (OSError, GpioError) as error:
            text = str(error) if isinstance(error, GpioError) else f"it is gone: {error.strerror or error}"
            self._release()
            self._again = time + self._standing.fails(text)
        return self._throws.take(time)

    def close(self) -> None:
        """Release the line, for good."""
        self._release()
        self._again = float("inf")

    def __enter__(self) -> Switch:
        return self

    def _release(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            with suppress(OSError):  # of a chip that is no more
                request.release()

    def _read(self) -> None:
        if self._request.wait_edge_events(0):
            for edge in self._request.read_edge_events(EDGES):
                self._throws.add(edge.timestamp_ns / 1e9)
        self._standing.hears()

    def _open(self) -> Any:
        settings, line = self._settings, self._gpiod.line
        biases = {Bias.PULL_UP: line.Bias.PULL_UP, Bias.PULL_DOWN: line.Bias.PULL_DOWN, Bias.NONE: line.Bias.AS_IS}
        edges = {Edge.FALLING: line.Edge.FALLING, Edge.RISING: line.Edge.RISING, Edge.BOTH: line.Edge.BOTH}
        wanted = self._gpiod.LineSettings(
            direction=line.Direction.INPUT,
            edge_detection=edges[settings.edge],
            bias=biases[settings.bias],
            debounce_period=timedelta(milliseconds=settings.debounce_ms),
            event_clock=line.Clock.MONOTONIC,
        )
        return gpio.request(self._gpiod, settings.chip, settings.line, wanted, events=EDGES)


def parse_switch(target: str) -> SwitchSettings:
    """Read gpio://CHIP/LINE?... Raises UsageError."""
    address = gpio.parse(target, OPTION, ("edge", "debounce_ms", "bias"), EXPECTED)
    debounce = address.options.get("debounce_ms", "50")
    try:
        if not debounce.isascii() or not debounce.isdecimal() or int(debounce) > 1000:
            raise ValueError(debounce)
        return SwitchSettings(
            chip=address.chip,
            line=address.line,
            edge=Edge(address.options.get("edge", Edge.FALLING.value)),
            debounce_ms=int(debounce),
            bias=Bias(address.options.get("bias", Bias.PULL_UP.value)),
        )
    except ValueError as error:
        raise UsageError(f"{OPTION} is {target}; expected {EXPECTED} behind the ?") from error


def open_switch(settings: TriggerSettings, mqtt: MqttSettings | None, bin_id: str) -> Switch:  # noqa: ARG001
    """Open gpio://CHIP/LINE?edge=..&debounce_ms=..&bias=.. Raises UsageError, GpioError."""
    return Switch(parse_switch(settings.text), settings.hold_ms, gpio.load(OPTION))
