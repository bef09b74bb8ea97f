"""The whole machine, area by area. A new area is one file and one line in `examine`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.daemon import RunSettings
from edge.doctor import board, cameras, clock, disk, engines, memory, needs, network, nvidia, power, service
from edge.doctor.finding import Area, Finding, warn
from edge.doctor.machine import Machine


@dataclass(frozen=True)
class Wish:
    """What the machine is to run."""

    bundle: Path | None = None
    settings: RunSettings | None = None
    """Of a configuration; None: there is none."""
    folders: tuple[Path, ...] = ()
    """Which the bin writes to, without those that `settings` names."""


def examine(machine: Machine, wish: Wish) -> list[Area]:
    """Look at the whole machine, and at what `wish` needs of it. Nothing is changed."""
    settings = wish.settings
    backend = settings.backend if settings else "auto"
    looks: dict[str, Callable[[], Sequence[Finding]]] = {
        "System": lambda: board.look(machine),
        "GPU": lambda: nvidia.look(machine, backend),
        "Power": lambda: power.look(machine),
        "Memory": lambda: memory.look(machine, *([settings.options.workspace] if settings else [])),
        "Disk": lambda: disk.look(machine, _folders(wish)),
        "Libraries": lambda: engines.look(machine, backend),
        "Cameras": lambda: cameras.look(machine),
        "Clock": lambda: clock.look(machine),
        "Service": lambda: service.look(machine),
    }
    found = [Area(name, tuple(_guarded(name, look))) for name, look in looks.items()]
    if wanted := _guarded("This bin", lambda: _wanted(wish)):
        found.append(Area("This bin", tuple(wanted)))
    return found


def _guarded(name: str, look: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    """Let what one area did not foresee not hide the others."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001  drivers and libraries fail in ways of their own
        said = f"{type(error).__name__}: {error}"
        return [warn(name.lower(), f"can't be looked at: {said}", "please report it with --debug's output")]


def _wanted(wish: Wish) -> list[Finding]:
    settings, found = wish.settings, []
    if wish.bundle and settings:
        allowed = settings.allow_failed_parity
        found.append(
            needs.bundle(wish.bundle, settings.backend, settings.precision, settings.options, allow_failed=allowed)
        )
    elif wish.bundle:
        found.append(needs.bundle(wish.bundle))
    if settings:
        found += [needs.source(settings.intake), *network.look(settings.outlets)]
        found += [needs.flap(target) for target in settings.outlets.flaps]
        found += [needs.page(settings.web)] if settings.web else []
    return found


def _folders(wish: Wish) -> list[Path]:
    """Return the folders that the bin writes to: a broken one is found before an event is lost."""
    settings, found = wish.settings, [*wish.folders]
    if settings:
        outlets = settings.outlets
        found += [Path(name).absolute().parent for name in outlets.events if name != "-"]
        found += [outlets.outbox.path.parent] if outlets.outbox else []
        found += [settings.keep.folder] if settings.keep else []
        found += [settings.intake.record.parent] if settings.intake.record else []
    return found
