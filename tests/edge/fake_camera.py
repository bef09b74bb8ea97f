"""A camera that fails as it is told to, behind the real capture process.

The nth opening plays the nth line of a script; the last line serves for all that follow.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge.errors import SourceError
from edge.preprocess import Pixels
from edge.sources import capture_child
from edge.sources.device import Address, CameraSettings, Shot

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.edge.fake_camera import main; main()",
)
SECRET = "hunter2-is-secret"


@dataclass(frozen=True)
class Play:
    """One opening of the camera."""

    fault: str = ""
    """What happens after `frames` of them; those that begin with open happen at once."""
    frames: int = 10
    fps: float = 100.0
    sizes: tuple[tuple[int, int], ...] = ((160, 120),)
    """Width and height, in turn."""
    linger: bool = False
    """Whether closing it is noted in a file `closed`."""
    draws: bool = True
    """False: one picture again and again, so that all but drawing it is measured."""


def write_script(folder: Path, plays: list[Play]) -> Address:
    (folder / "script.json").write_text(json.dumps([asdict(play) for play in plays]))
    (folder / "openings").write_text("")
    return Address(f"fake://bin7:{SECRET}@{folder}", f"fake://{folder}")


def openings(folder: Path) -> list[tuple[float, int]]:
    """Return when the camera was opened, monotonic seconds, and by which process."""
    lines = (folder / "openings").read_text().splitlines()
    return [(float(line.split()[0]), int(line.split()[1])) for line in lines]


def picture(number: int, width: int, height: int) -> Pixels:
    """Return a picture whose pixels all are of its number: half of another one shows."""
    image = np.full((height, width, 3), number % 251, dtype=np.uint8)
    image[0, 0] = (number & 0xFF, number >> 8 & 0xFF, number >> 16)
    return image


def number_of(image: Pixels) -> int:
    """Return the number of a whole picture; -1 where it is torn."""
    blue, green, red = map(int, image[0, 0])
    number = blue | green << 8 | red << 16
    body = image.reshape(-1, 3)[1:]
    return number if body.min() == body.max() == number % 251 else -1


class FakeCamera:
    def __init__(self, play: Play, folder: Path) -> None:
        self._play, self._folder = play, folder
        self._number = 0
        self._due = time.monotonic()
        self._picture = picture(0, *play.sizes[0])

    def read(self) -> Shot:
        if self._number >= self._play.frames and self._play.fault:
            fault = self._play.fault
            if fault in ("stamp", "late"):
                time.sleep(0.01)
                captured = time.monotonic() - (5.0 if fault == "late" else 0.0)
                stamp = self._number + (0.0 if fault == "stamp" else 1.0)
                self._number += fault == "late"
                return Shot(picture(0, 160, 120), captured, stamp)
            _fail(fault)
        self._due = max(self._due + 1 / self._play.fps, time.monotonic() - 0.1)
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._number += 1
        size = self._play.sizes[self._number % len(self._play.sizes)]
        image = picture(self._number, *size) if self._play.draws else self._picture
        return Shot(image, time.monotonic(), float(self._number))

    def close(self) -> None:
        if self._play.linger:
            (self._folder / "closed").write_text("")


def _fail(fault: str) -> None:
    if fault == "hang":
        time.sleep(3600)
    elif fault == "raise":
        raise SourceError("the stream has ended")
    elif fault == "bug":
        raise ZeroDivisionError(f"while reading fake://bin7:{SECRET}@somewhere")
    elif fault == "exit":
        os._exit(7)
    else:
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "crash": signal.SIGSEGV}[fault])


def open_fake(address: Address, settings: CameraSettings) -> FakeCamera:
    folder = Path(address.uri.rpartition("@")[2])
    with (folder / "openings").open("a") as file:
        file.write(f"{time.monotonic()} {os.getpid()}\n")
    plays = json.loads((folder / "script.json").read_text())
    play = Play(**plays[min(len(openings(folder)), len(plays)) - 1])
    os.write(2, f"[rtsp @ 0x1] opening {address.uri}\n".encode())
    if play.fault == "open-hang":
        time.sleep(3600)
    if play.fault == "open-refuse":
        raise SourceError(f"camera {address.shown} refuses; look at its password")
    if play.fault == "open-chatter":
        for _ in range(200_000):
            with suppress(BlockingIOError):  # as a library in C would not even notice
                os.write(2, b"a library that never stops\n")
    return FakeCamera(play, folder)


def main() -> None:
    capture_child.DEVICES["fake"] = "tests.edge.fake_camera:open_fake"
    capture_child.main()
