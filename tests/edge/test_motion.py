from __future__ import annotations

import numpy as np
import pytest

from edge.episodes import Episodes, Seen
from edge.motion import SceneWatch, Sight, WatchSettings, thumbnail
from edge.preprocess import Pixels
from edge.scene import SceneSettings, frames, script

FPS = 10.0


class Bench:
    """A grey bin with texture, a light, and a box that can be laid into it."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.bin = self.rng.uniform(60, 140, (3, 48, 64))
        self.watch = SceneWatch()
        self.number = 0

    def show(self, seconds: float, *, light: float = 1.0, box: int = 0, level: float = 230.0) -> list[Sight]:
        """Show the bin for so long, with a box of `box` cells square of that level."""
        sights = []
        for _ in range(round(seconds * FPS)):
            scene = self.bin.copy()
            scene[:, 5 : 5 + box, 5 : 5 + box] = level
            noisy = np.clip(scene * light + self.rng.normal(0, 1.0, scene.shape), 0, 255)
            sights.append(self.watch.look(noisy.astype(np.float32), self.number / FPS))
            self.number += 1
        return sights


def occupied(sights: list[Sight]) -> set[bool]:
    return {sight.occupied for sight in sights}


class Told:
    """What episodes make of sights: how many deposits were decided."""

    def __init__(self) -> None:
        self._episodes = Episodes()

    def __call__(self, sights: list[Sight]) -> int:
        count, seen = 0, Seen(np.array([0.9, 0.1], dtype=np.float32))
        for sight in sights:
            step = self._episodes.step(sight)
            outcome = self._episodes.answer(seen) if step.classify else step.outcome
            count += outcome is not None
        return count


def test_a_thing_is_seen_once_and_then_is_part_of_the_scene() -> None:
    bench, told = Bench(), Told()
    assert told(bench.show(2)) == 0
    stays = bench.show(30, box=12)
    assert told(stays) == 1
    assert stays[0].occupied
    assert not stays[-1].occupied
    assert told(bench.show(5)) == 0  # taking it away is no deposit
    assert told(bench.show(5, box=12)) == 1  # and throwing it in again is


def test_what_comes_on_top_is_a_deposit_of_its_own() -> None:
    bench, told = Bench(), Told()
    told(bench.show(2))
    assert told(bench.show(5, box=12)) == 1
    bench.bin[:, 25:40, 30:45] = 30  # beside it
    assert told(bench.show(5, box=12)) == 1
    bench.bin[:, 8:16, 8:16] = 180
    assert told(bench.show(5, box=4)) == 1  # on top, so that most of the box is hidden


def test_a_speck_is_nothing() -> None:
    bench = Bench()
    bench.show(2)
    assert occupied(bench.show(2, box=2)) == {False}


@pytest.mark.parametrize("light", [0.3, 0.7, 0.9, 1.1, 1.6])
def test_a_change_of_the_light_is_no_deposit(light: float) -> None:
    bench = Bench()
    bench.show(2)
    assert occupied(bench.show(3, light=light)) == {False}
    assert occupied(bench.show(1, light=light, box=12)) == {True}


def test_flicker_is_no_deposit_and_no_movement() -> None:
    bench = Bench()
    bench.show(2)
    sights = [sight for light in (0.8, 1.2) * 40 for sight in bench.show(1 / FPS, light=light)]
    assert occupied(sights) == {False}
    assert {sight.moving for sight in sights} == {False}


def test_the_light_may_drift_all_day() -> None:
    bench = Bench()
    bench.show(2)
    slope = np.linspace(0, 60, 64)  # not a change of the whole picture: one side gets the evening sun
    before = bench.bin.copy()
    for part in np.linspace(0, 1, 60):
        bench.bin = before + slope * part
        assert occupied(bench.show(1)) == {False}


def test_the_lights_go_out_and_on_again() -> None:
    bench = Bench()
    bench.show(2)
    assert occupied(bench.show(5, light=0.02)) == {False}
    assert occupied(bench.show(5)) == {False}


def test_resting_is_settled_and_moving_is_not() -> None:
    bench = Bench()
    bench.show(2)
    falling = [sight for box in (8, 10, 12, 14, 16) for sight in bench.show(1 / FPS, box=box)]
    assert {sight.moving for sight in falling} == {True}
    assert [sight.moving for sight in bench.show(1, box=16)[:4]] == [True, False, False, False]


def test_a_gleam_that_wanders_does_not_keep_a_thing_moving() -> None:
    bench = Bench()
    bench.show(2)
    bench.show(0.3, box=20)
    sights = []
    for number in range(6):  # over the thing and beside it
        bench.bin[:, 35:38, 10 + number * 4 : 13 + number * 4] += 60
        sights += bench.show(0.1, box=20)
    assert {sight.occupied for sight in sights} == {True}
    assert {sight.moving for sight in sights} == {False}


def test_cells_that_differ_alone_are_noise() -> None:
    bench = Bench()
    bench.show(2)
    bench.bin[:, 2:46:3, 2:62:3] += 40  # many, and each beside another's neighbour
    assert occupied(bench.show(1)) == {False}


def test_a_thing_that_comes_while_the_camera_is_pushed_is_seen() -> None:
    bench, told = Bench(), Told()
    told(bench.show(3))
    bench.bin = np.roll(bench.bin, 2, axis=2)
    assert told(bench.show(3, box=14)) == 1
    assert told(bench.show(3, box=14)) == 0


def test_a_push_alone_is_no_deposit() -> None:
    bench, told = Bench(), Told()
    told(bench.show(3))
    bench.bin = np.roll(bench.bin, 2, axis=2)
    assert told(bench.show(3)) == 0


def test_memory_does_not_grow() -> None:
    bench = Bench()
    bench.show(1)
    for number in range(20):
        bench.bin = np.roll(bench.bin, 7, axis=2)
        bench.show(0.3, box=10 + number)
    assert len(bench.watch._known) <= WatchSettings().kept


@pytest.mark.parametrize("shape", [(1080, 1920, 3), (48, 64, 3), (7, 5, 3)])
def test_a_thumbnail_is_small_whatever_it_is_made_from(shape: tuple[int, int, int]) -> None:
    image: Pixels = np.full(shape, (10, 20, 30), dtype=np.uint8)
    made = thumbnail(image)
    assert made.shape == (3, 48, 64)
    assert made.dtype == np.float32
    assert made[:, 0, 0].tolist() == [10, 20, 30]


def test_black_cells_do_not_speak_for_the_light() -> None:
    bench = Bench()
    bench.bin[:, :, 20:] = 0  # a dark bag: noise alone
    bench.show(2)
    assert occupied(bench.show(3, light=1.1)) == {False}
    assert occupied(bench.show(0.5, light=1.1, box=12)) == {True}


@pytest.mark.parametrize("seed", range(3))
def test_every_deposit_of_the_moving_scene_is_one_decision(seed: int) -> None:
    settings = SceneSettings(seed=seed, deposits=6, width=160, height=120, fps=10.0)
    watch, episodes, decided = SceneWatch(), Episodes(), []
    seen = Seen(np.array([0.9, 0.1], dtype=np.float32))
    for time, image in frames(settings):
        step = episodes.step(watch.look(thumbnail(image), time))
        if step.outcome or (step.classify and episodes.answer(seen)):
            decided.append(time)
    truth = script(settings)
    assert len(decided) == len(truth)
    assert all(deposit.settles < time < deposit.gone for deposit, time in zip(truth, decided, strict=True))
