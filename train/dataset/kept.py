"""Findings on deposits that a bin kept: what waits for a label, and what labels say of the bin."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edge.intervals import wilson
from edge.kept import EVENT, UNSORTED, Why, guess_of, name_of
from train.dataset.examine import Examined
from train.dataset.findings import Finding, Kind

WORDS = {
    Why.RANDOM: "chosen at random",
    Why.REJECTED: "rejected",
    Why.LOW_MARGIN: "with a low margin",
}


def find_kept(examined: Examined) -> Iterator[Finding]:
    """Say how many have no label, and how often the bin was right where a person gave one."""
    if examined.unsorted:
        names = (name_of(PurePosixPath(name).stem) for name in examined.unsorted)
        counts = Counter(name.why for name in names if name)
        kinds = ", ".join(f"{counts[why]} {words}" for why, words in WORDS.items() if counts[why])
        what = f"{len(examined.unsorted)} pictures in {UNSORTED}/ have no label and are left out: {kinds}"
        yield Finding(Kind.KEPT, examined.unsorted, f"{what}; move each to the folder of its class")
    files, said, right = _sorted(examined)
    if files:
        parts = (f"of {right[why]} of {said[why]} {words}" for why, words in WORDS.items() if said[why])
        yield Finding(Kind.KEPT, files, f"the bin had guessed the label {', '.join(parts)}{_fair(said, right)}")


def _sorted(examined: Examined) -> tuple[tuple[str, ...], Counter[Why], Counter[Why]]:
    """Return the deposits with label and event, how many they are, and of how many the bin guessed the label."""
    files, said, right = list[str](), Counter[Why](), Counter[Why]()
    left = _left_behind(examined.root / UNSORTED)
    for sample in examined.samples:
        stem = sample.photo.path.stem
        name = name_of(stem)
        if name is None:
            continue
        guess = guess_of(sample.photo.path.with_suffix(EVENT)) or guess_of(left.get(stem, Path()))
        if guess is not None:
            files.append(sample.photo.name)
            said[name.why] += 1
            right[name.why] += guess == sample.photo.label
    return tuple(files), said, right


def _left_behind(folder: Path) -> dict[str, Path]:
    """Return the events of pictures that were moved alone, by their names without ending."""
    return {
        os.path.splitext(name)[0]: Path(base, name)
        for base, _, names in os.walk(folder)
        for name in names
        if name.endswith(EVENT)
    }


def _fair(said: Counter[Why], right: Counter[Why]) -> str:
    """Say what the fair sample means for the bin."""
    if not said[Why.RANDOM]:
        return ""
    low, high = wilson(right[Why.RANDOM], said[Why.RANDOM])
    return f"; where it stands it is right on {low:.0%} to {high:.0%} of all, as those by chance tell (95 %)"
