"""A Jetson's power modes and a machine's clocks, as its files tell them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
CORES = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"
"""Below a root: where the kernel tells the clock of each core."""

Ask = Callable[[Sequence[str]], str | None]
"""Runs a program, and returns what it printed; None where it is missing, fails or does not answer."""


@dataclass(frozen=True)
class Modes:
    """What nvpmodel tells."""

    now: int | None
    """The number of the mode; None where nothing tells it."""
    names: Mapping[int, str]
    """Number to name, of all that the board has; empty where there is no nvpmodel."""
    usual: int | None
    """The number that the board starts with; None where nothing tells it."""


def modes(root: Path = ROOT, ask: Ask | None = None) -> Modes:
    """Return the power modes of the Jetson whose files lie below `root`.

    nvpmodel keeps the number of its mode in /var/lib/nvpmodel/status and the rest in /etc/nvpmodel.conf. Where the
    first is missing, the program itself is asked by `ask`; without one, it is not.
    """
    table = _read(root / "etc/nvpmodel.conf")
    found = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", table)
    now = _number(r"pmode:\s*(\d+)", _read(root / "var/lib/nvpmodel/status"))
    if now is None and ask:  # the second line of its answer is the number
        now = _number(r"^(\d+)$", ask(("nvpmodel", "-q")) or "")
    usual = _number(r"<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>", table)
    return Modes(now, {int(number): name for number, name in found}, usual)


def power_mode(root: Path = ROOT, ask: Ask | None = None) -> str:
    """Return a Jetson's power mode and whether its cores' clocks are fixed, as one phrase; empty elsewhere.

    jetson_clocks fixes them: it makes the least frequency of each core its greatest.
    """
    told = modes(root, ask)
    if told.now is None:
        return ""
    spans = [span(core, "scaling_") for core in root.glob(CORES)]
    fixed = spans and all(one and one[0] == one[1] for one in spans)
    return f"{told.names.get(told.now, f'mode {told.now}')}, clocks {'fixed' if fixed else 'moving'}"


def span(folder: Path, prefix: str = "") -> tuple[int, int] | None:
    """Return between which frequencies a clock may move, in the kernel's unit; None where it is not told.

    `folder`: of cpufreq, whose files have the prefix `scaling_` and tell kHz, or of devfreq, which tells Hz.
    """
    least, most = (_number(r"^(\d+)$", _read(folder / f"{prefix}{which}_freq")) for which in ("min", "max"))
    return None if least is None or most is None else (least, most)


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
