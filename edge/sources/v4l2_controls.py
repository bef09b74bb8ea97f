"""What a camera is told beside its format: exposure, white balance, focus and the frequency of the mains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.errors import SourceError
from edge.sources.device import AUTO, CameraSettings, Mains
from edge.sources.v4l2_node import TYPE_INTEGER_MENU, TYPE_MENU, Control, Node

_USER, _CAMERA = 0x980900, 0x9A0900
"""V4L2_CID_BASE and V4L2_CID_CAMERA_CLASS_BASE."""

WHITE_BALANCE_AUTO = _USER + 12
POWER_LINE_FREQUENCY = _USER + 24
WHITE_BALANCE_TEMPERATURE = _USER + 26
EXPOSURE_AUTO = _CAMERA + 1
EXPOSURE_ABSOLUTE = _CAMERA + 2
FOCUS_ABSOLUTE = _CAMERA + 10
FOCUS_AUTO = _CAMERA + 12

FREQUENCIES = {Mains.OFF: 0, Mains.HZ50: 1, Mains.HZ60: 2}
"""Values of POWER_LINE_FREQUENCY."""


@dataclass(frozen=True)
class Knob:
    """A pair of controls: who chooses, and the value where it is not the camera."""

    name: str
    """What it is called here; the option is --NAME."""
    who: int
    value: int
    alone: tuple[int, ...] = (1,)
    """Values of `who` under which the camera chooses, the best first."""
    told: tuple[int, ...] = (0,)
    """Values of `who` under which `value` holds, the best first."""


KNOBS = (
    # EXPOSURE_AUTO is a menu: 0 all by itself, 1 manual, 2 the time is given, 3 the iris is given. Webcams have
    # 1 and 3.
    Knob("exposure", EXPOSURE_AUTO, EXPOSURE_ABSOLUTE, alone=(3, 0), told=(1, 2)),
    Knob("white-balance", WHITE_BALANCE_AUTO, WHITE_BALANCE_TEMPERATURE),
    Knob("focus", FOCUS_AUTO, FOCUS_ABSOLUTE),
)


@dataclass(frozen=True)
class Wish:
    """A control and the value that it is to have."""

    control: Control
    value: int
    option: str
    """The option that asked for it, without its dashes."""
    asked: str
    """What the option said."""


def set_controls(node: Node, settings: CameraSettings, shown: str) -> None:
    """Set what `settings` ask for and read it back.

    Raises SourceError: the camera lacks a control, takes no such value, refuses it, or has another one afterwards.
    """
    asked = {
        "exposure": settings.exposure,
        "white-balance": settings.white_balance,
        "focus": settings.focus,
        "mains": settings.mains,
    }
    if not any(value is not None for value in asked.values()):
        return
    panel = Panel(node, shown)
    wishes = [wish for knob in KNOBS for wish in panel.turned(knob, asked[knob.name])]
    if settings.mains is not None:
        wishes.append(panel.mains(settings.mains))
    for wish in wishes:
        panel.set(wish)
    for wish in wishes:  # after all of them: one control may move another
        panel.check(wish)


class Panel:
    """The controls of one camera."""

    def __init__(self, node: Node, shown: str) -> None:
        self._node = node
        self._shown = shown
        self._controls: Mapping[int, Control] = node.controls()

    def turned(self, knob: Knob, asked: int | str | None) -> list[Wish]:
        """Return what to set, in order: `value` can often be set only where the camera does not choose."""
        if asked is None:
            return []
        if asked == AUTO:
            return [self._choice(knob.who, knob.alone, knob.name, AUTO)]
        number = int(asked)
        value = self._control(knob.value, knob.name, str(asked))
        if not value.minimum <= number <= value.maximum:
            raise SourceError(
                f"camera {self._shown} can't do --{knob.name} {number}: "
                f"its control {value.name!r} takes {value.span}"
            )
        wishes = [Wish(value, number, knob.name, str(number))]
        if knob.who in self._controls:
            wishes.insert(0, self._choice(knob.who, knob.told, knob.name, str(number)))
        return wishes

    def mains(self, mains: Mains) -> Wish:
        """Return what to set against flicker."""
        return self._choice(POWER_LINE_FREQUENCY, (FREQUENCIES[mains],), "mains", mains.value)

    def set(self, wish: Wish) -> None:
        """Set it. Raises SourceError."""
        try:
            self._node.set(wish.control.number, wish.value)
        except OSError as error:
            raise SourceError(
                f"camera {self._shown} refuses --{wish.option} {wish.asked}: its control {wish.control.name!r} "
                f"({wish.control.span}) does not take {wish.value}: {error.strerror}"
            ) from error

    def check(self, wish: Wish) -> None:
        """Read it back. Raises SourceError."""
        try:
            got = self._node.get(wish.control.number)
        except OSError as error:
            raise SourceError(
                f"camera {self._shown}: its control {wish.control.name!r} can't be read back: {error.strerror}"
            ) from error
        if got != wish.value:
            raise SourceError(
                f"camera {self._shown}: asked for --{wish.option} {wish.asked}, which is {wish.control.name!r} "
                f"= {wish.value}, got {got}; it takes {wish.control.span}: choose a value that it can have"
            )

    def _choice(self, number: int, values: tuple[int, ...], option: str, asked: str) -> Wish:
        """Return the first of `values` that the control can have."""
        control = self._control(number, option, asked)
        menu = control.kind in (TYPE_MENU, TYPE_INTEGER_MENU)
        known = self._node.menu(control) if menu else range(control.minimum, control.maximum + 1)
        for value in values:
            if value in known:
                return Wish(control, value, option, asked)
        offered = ", ".join(known.values()) if isinstance(known, dict) else control.span
        raise SourceError(
            f"camera {self._shown} can't do --{option} {asked}: its control {control.name!r} has {offered}"
        )

    def _control(self, number: int, option: str, asked: str) -> Control:
        if number in self._controls:
            return self._controls[number]
        there = (
            ", ".join(name for known, name in NAMES.items() if known in self._controls)
            or "nothing that can be set"
        )
        raise SourceError(
            f"camera {self._shown} can't do --{option} {asked}: it lacks {NAMES[number]}; it has {there}; "
            f"leave --{option} out"
        )


NAMES = {
    EXPOSURE_AUTO: "automatic exposure",
    EXPOSURE_ABSOLUTE: "a time of exposure",
    WHITE_BALANCE_AUTO: "automatic white balance",
    WHITE_BALANCE_TEMPERATURE: "a colour temperature",
    FOCUS_AUTO: "automatic focus",
    FOCUS_ABSOLUTE: "a distance of focus",
    POWER_LINE_FREQUENCY: "a frequency of the mains",
}
"""What to call a control that is not there."""
