"""500 deposits and an hour of nothing, in another scene than the segmenter was made on; and what was missed.

A network is not asked: an oracle answers in its place, so that the segmenter alone is judged.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.other_scene import JUDGED, Deposit, Film
from benchmarks.other_things import KINDS
from benchmarks.record import Row, keep
from edge.episodes import Episodes, Scores, Seen
from edge.motion import SceneWatch, thumbnail

IDLE = 0.2
"""Seconds from one look to the next while nothing happens."""

LATE = 2.0
"""Seconds after a thing's rest within which it must be decided."""


@dataclass(frozen=True)
class Said:
    """One decision."""

    time: float
    kind: int


@dataclass(frozen=True)
class Found:
    """What came of one film."""

    truth: Sequence[Deposit]
    said: Sequence[Said]
    looks: int

    def of(self, number: int) -> list[Said]:
        """The decisions that belong to a deposit: from its coming to LATE after its rest."""
        deposit = self.truth[number]
        return [said for said in self.said if deposit.time <= said.time <= deposit.rests + LATE]

    def stray(self) -> list[Said]:
        """The decisions that belong to no deposit."""
        return [
            said
            for said in self.said
            if not any(deposit.time <= said.time <= deposit.rests + LATE for deposit in self.truth)
        ]


def play(film: Film, *, stride: bool) -> Found:
    """Show a film to the segmenter. `stride`: an idle scene is looked at every IDLE seconds only."""
    watch, episodes, rng = SceneWatch(), Episodes(), np.random.default_rng(0)
    said, looks, rest = [], 0, 0.0
    for number in range(int(film.script.seconds * film.fps)):
        now = number / film.fps
        if film.away(now):
            outcome = episodes.lapse(now)
        elif now < rest - 1e-6:
            continue
        else:
            looks += 1
            sight = watch.look(thumbnail(film.picture(now)), now)
            rest = now + IDLE if stride and sight.idle else 0.0
            step = episodes.step(sight)
            outcome = step.outcome
            if step.classify:
                outcome = episodes.answer(oracle(film, now, rng))
            if episodes.said_empty:
                watch.absorb()
        if outcome is not None:
            said.append(Said(now, int(outcome.probabilities.argmax())))
    return Found(film.deposits, said, looks)


def oracle(film: Film, now: float, rng: np.random.Generator) -> Seen:
    """Answer as a network would: mostly right on what lies there, worse while it moves, anything on nothing."""
    newest = film.newest(now)
    logits = rng.normal(0, 1.6 if film.covered(now) else 0.7, len(KINDS))
    if newest is None:
        logits[int(now / 3) % len(KINDS)] += 3
    else:
        logits[newest.kinds[0]] += 1.2 if film.covered(now) else 3
    scores: Scores = np.exp(logits).astype(np.float32)
    return Seen(scores / scores.sum())


FILMS, EACH = 25, 20
"""Films of deposits, and deposits of each."""
EMPTY_FILMS, EMPTY_MINUTES = 6, 10.0
"""Films in which nothing is thrown in, and minutes of each."""
LEAST_RIGHT = 0.99
PROCESSES = 2
"""Films that are shown side by side."""


def _shown(seed: int) -> Found:
    """Show one of the judged films."""
    cv2.setNumThreads(1)
    film = Film(seed, EACH) if seed < JUDGED + FILMS else Film(seed, 0, EMPTY_MINUTES)
    return play(film, stride=seed % 2 == 0)


def prove_deposits() -> bool:
    """Show the judged films, and keep the figures."""
    begun = time.monotonic()
    missed: Counter[str] = Counter()
    doubled: Counter[str] = Counter()
    total = stray = labelled = 0
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        empty = pool.map(_shown, range(JUDGED + FILMS, JUDGED + FILMS + EMPTY_FILMS))
        shown = pool.map(_shown, range(JUDGED, JUDGED + FILMS))
        films, false = list(shown), sum(len(found.said) for found in empty)
    for found in films:
        stray += len(found.stray())
        for number, deposit in enumerate(found.truth):
            said = found.of(number)
            total += 1
            missed[deposit.way] += not said
            doubled[deposit.way] += len(said) > 1
            labelled += len(said) == 1 and said[0].kind in deposit.kinds
    once = total - missed.total() - doubled.total()
    minutes = (time.monotonic() - begun) / 60
    rows: list[Row] = [
        (f"of {total} deposits, exactly one event", f"{once} ({once / total:.1%})", f"at least {LEAST_RIGHT:.0%}"),
        ("two events or more", _by_way(doubled), "0"),
        ("no event", _by_way(missed), ""),
        ("events between deposits, of hands, lamps and the like", f"{stray}", ""),
        ("one event with the right label (an oracle with noise answers)", f"{labelled / total:.1%}", ""),
        (f"events in {EMPTY_FILMS * EMPTY_MINUTES:.0f} minutes of empty scene", f"{false}", "0"),
        ("taken by the proof", f"{minutes:.0f} minutes", ""),
    ]
    keep(
        "deposits",
        "The segmenter on scenes of seeds that nobody had seen; some constants were chosen on other seeds of them",
        rows,
    )
    return once >= LEAST_RIGHT * total and not doubled.total() and not false


def _by_way(counts: Counter[str]) -> str:
    ways = ", ".join(f"{way} {count}" for way, count in counts.most_common() if count)
    return f"{counts.total()}{f' ({ways})' if ways else ''}"
