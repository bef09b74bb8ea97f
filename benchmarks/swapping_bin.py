"""A daemon that decides on each frame of benchmarks.bin_camera while its bundle is swapped again and again.

`python -m benchmarks.swapping_bin FOLDER BUNDLE BUNDLE SWAPS` prints one JSON object. FOLDER gets the link.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.bin_camera import COMMAND, FPS, address_of
from benchmarks.soak import held, point
from edge import sources
from edge.daemon import RunSettings, started
from edge.intake import IntakeSettings
from edge.loop import Loop
from edge.sources import Frame, Source
from edge.sources.capture import open_captured
from edge.sources.wrapper import Wrapper

PATIENCE_S = 60.0
"""For one swap."""


@dataclass
class Swapped:
    """What was measured."""

    took_s: list[float] = field(default_factory=list)
    """Of each swap: from the link's new target to the first answer."""
    mib: list[float] = field(default_factory=list)
    """Resident after each."""
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """Of each frame: from the capture of the one before it to its own, beyond the camera's interval."""
    frames: int = 0
    refused: int = 0


class Each(Wrapper):
    """Makes every frame a deposit, so that a swap may come at any, and notes when it was captured."""

    def __init__(self, within: Source, found: Swapped) -> None:
        super().__init__(within)
        self.single = True
        self._found, self._newest = found, 0.0

    def _take(self, frame: Frame) -> Frame:
        if self._newest:
            self._found.late_ms.append(max(0.0, frame.captured - self._newest - 1 / FPS) * 1e3)
        self._newest = frame.captured
        self._found.frames += 1
        return frame


def work(folder: Path, bundles: list[Path], swaps: int) -> Swapped:
    """Run the daemon as it is wired, and give its link one new target after the other."""
    sources.CAMERAS["bin://"] = ("bin", address_of)
    sources.open_captured = functools.partial(open_captured, command=COMMAND)  # type: ignore[attr-defined]
    link, stop, again, found = folder / "bundle", threading.Event(), threading.Event(), Swapped()
    point(link, bundles[0])
    settings = RunSettings(link, IntakeSettings("bin://busy"), backend="onnxruntime")
    with started(settings, stop, again) as loop:
        loop.source = Each(loop.source, found)
        threading.Thread(target=_swap, args=(loop, link, bundles, swaps, again, found), daemon=True).start()
        loop.run()
    return found


def _swap(loop: Loop, link: Path, bundles: list[Path], swaps: int, again: threading.Event, found: Swapped) -> None:
    for number in range(swaps):
        begun = time.monotonic()
        point(link, bundles[(number + 1) % 2])
        again.set()
        while (now := loop.board.snapshot()).swaps + now.refusals <= number:
            if time.monotonic() - begun > PATIENCE_S:
                break
            time.sleep(0.01)
        found.took_s.append(time.monotonic() - begun)
        found.refused = now.refusals
        time.sleep(0.3)  # the old one is let go of
        then = held(os.getpid())
        found.mib.append(then.parent_mib)
        found.files.append(then.files)
        found.threads.append(then.threads)
    loop.stop.set()


if __name__ == "__main__":
    folder, one, two, count = sys.argv[1:]
    print(json.dumps(asdict(work(Path(folder), [Path(one), Path(two)], int(count)))))
