"""Costs that were kept, and whether those of today lie beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import UsageError
from edge.files import replace_bytes
from edge.ratios import Ratio
from edge.surroundings import Key

MARGIN = 0.04
"""Share by which the low end of a step's interval may lie beyond its baseline. The interval reaches about 1 % to
each side, so that a step is called slower from 5 % on: half of the 10 % that are to be seen."""


@dataclass(frozen=True)
class Kept:
    """One baseline."""

    key: Key
    bundle: str
    """Version of the bundle that it was measured with: to be read, not compared."""
    taken: str
    """Day, as in 2026-11-28."""
    ratios: dict[str, float]
    """Step to what it cost, as a multiple of the step that it is measured against."""


@dataclass(frozen=True)
class Compared:
    """One step beside its baseline."""

    found: Ratio
    kept: float | None
    """None: the baseline knows no such step."""

    @property
    def change(self) -> float | None:
        """Share by which it costs more, negative where it costs less; None without a baseline."""
        return None if self.kept is None else self.found.value / self.kept - 1

    @property
    def slower(self) -> bool:
        """Whether the whole interval lies beyond the baseline by more than the margin."""
        return self.kept is not None and self.found.low > self.kept * (1 + MARGIN)

    @property
    def faster(self) -> bool:
        """Whether the whole interval lies below the baseline by more than the margin: it is to be renewed."""
        return self.kept is not None and self.found.high < self.kept * (1 - MARGIN)


def read(path: Path) -> tuple[Kept, ...]:
    """Read the baselines of a file; none where it is not there yet. Raises UsageError where it can't be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Kept, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is no file of baselines ({error}): mend it, or remove it and write it anew with --renew"
        ) from error


def find(kept: Sequence[Kept], key: Key) -> Kept | None:
    """Return the baseline of this very key; None where there is none."""
    return next((one for one in kept if one.key == key), None)


def compare(found: Sequence[Ratio], kept: Kept) -> tuple[Compared, ...]:
    """Put each ratio beside its baseline."""
    return tuple(Compared(one, kept.ratios.get(one.step)) for one in found)


def renew(path: Path, fresh: Sequence[Kept]) -> None:
    """Write `fresh` into a file of baselines in place of those with the same keys; the others stay.

    Raises UsageError, OSError.
    """
    keys = [one.key for one in fresh]
    others = (one for one in read(path) if one.key not in keys)
    both = sorted((*others, *fresh), key=lambda one: one.key.told)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, msgspec.json.format(msgspec.json.encode(both), indent=2) + b"\n")
