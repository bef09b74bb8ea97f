"""A camera over a bin, behind the real capture process: 720p at 30 frames a second, drawn beforehand.

`bin://busy` gives a deposit every CYCLE_S, `bin://idle` an empty bin with the noise of its sensor.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.preprocess import Pixels
from edge.sources import capture_child
from edge.sources.device import Address, CameraSettings, Shot
from edge.waste import LABELS, Shadow, draw_bin, draw_item, place

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmarks.bin_camera import main; main()",
)
SIZE = (1280, 720)
DRAWN = (320, 180)
"""What is drawn is enlarged: it has to be there before the camera counts as one that does not answer."""
FPS = 30.0
CYCLE_S, FALL_S, REST_S = 2.8, 0.2, 1.9
"""From one deposit to the next; how long it falls, and how long it lies there before it is taken away."""
QUIET_S = 8.0
"""At first nothing comes, so that the daemon learns the empty bin."""
THINGS = 4
NOISES = 7
"""Pictures of noise that are added in turn: no divisor of the frames of a cycle."""


class BinCamera:
    """Gives each picture when it is due; what is late is not made up for."""

    def __init__(self, busy: bool) -> None:
        rng = np.random.default_rng(5)
        empty = draw_bin(rng, DRAWN[1], DRAWN[0]) // 4 * 3
        self._empty = _enlarged(empty)
        self._things = [_thing(rng, empty, LABELS[number]) for number in range(THINGS)] if busy else []
        self._noises = [rng.integers(0, 9, self._empty.shape, dtype=np.uint8) for _ in range(NOISES)]
        self._number = 0
        self._due = time.monotonic()

    def read(self) -> Shot:
        picture = cv2.add(self._scene(self._number / FPS), self._noises[self._number % NOISES])
        self._number += 1
        self._due = max(self._due + 1 / FPS, time.monotonic())
        time.sleep(max(0.0, self._due - time.monotonic()))
        return Shot(picture.astype(np.uint8, copy=False), time.monotonic())

    def close(self) -> None:
        return

    def _scene(self, seconds: float) -> Pixels:
        number, since = divmod(seconds - QUIET_S, CYCLE_S)
        if not self._things or since >= FALL_S + REST_S or number < 0:
            return self._empty
        poses = self._things[int(number) % THINGS]
        return poses[min(len(poses) - 1, int(since / FALL_S * (len(poses) - 1)))]


def _thing(rng: np.random.Generator, empty: Pixels, label: str) -> list[Pixels]:
    """Draw the poses of a thing: falling, then at rest."""
    width, height = DRAWN
    item, shadow = draw_item(label, rng, round(height * 0.7)), Shadow(0.02, 0.02, 0.02, 0.3)
    steps: npt.NDArray[np.float64] = np.linspace(0.2, 1.0, round(FALL_S * FPS)) ** 2
    return [_enlarged(place(empty, item, width / 2, height / 2 * step, shadow)) for step in steps]


def _enlarged(picture: Pixels) -> Pixels:
    large: Pixels = cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    return large


def open_bin(address: Address, settings: CameraSettings) -> BinCamera:
    return BinCamera(address.uri.endswith("busy"))


def address_of(uri: str) -> Address:
    return Address(uri, uri)


def main() -> None:
    capture_child.DEVICES["bin"] = "benchmarks.bin_camera:open_bin"
    capture_child.main()
