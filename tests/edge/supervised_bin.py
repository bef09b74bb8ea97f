"""edge-run as it is, with a camera of the tests, deposits without end, and an engine that can be stopped.

`python -m tests.edge.supervised_bin FOLDER ...`: where FOLDER holds a file `hang`, no inference comes back.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

from edge import sources
from edge.backends.base import Answers
from edge.backends.onnxruntime import OnnxRuntime
from edge.cli.run import main
from edge.preprocess import Pixels
from edge.sources import Clock, Counts, Frame
from edge.sources.base import Closing
from edge.sources.device import Address
from tests.edge.fake_camera import COMMAND
from tests.tiny import COLOURS, solid

EACH_S = 0.1
"""Seconds from one deposit to the next."""


class Deposits(Closing):
    """Every frame is a deposit: `deposits://`."""

    single = True
    live = False
    broken = 0
    counts = Counts()

    def __init__(self, uri: str, clock: Clock) -> None:
        self._clock = clock
        self._number = 0

    def read(self) -> Frame:
        time.sleep(EACH_S)
        self._number += 1
        image = solid([*COLOURS][self._number % 3])
        return Frame(image, self._clock(), self._number * EACH_S)

    def __enter__(self) -> Deposits:
        return self


def run(folder: Path) -> None:
    infer = OnnxRuntime.infer

    def hanging(self: OnnxRuntime, batch: Pixels) -> Answers:
        while (folder / "hang").exists():
            time.sleep(0.1)
        return infer(self, batch)

    OnnxRuntime.infer = hanging  # type: ignore[method-assign]
    sources.OPENERS["deposits://"] = Deposits
    sources.CAMERAS["fake://"] = ("fake", lambda uri: Address(uri, "fake://camera"))
    sources.open_captured = functools.partial(sources.open_captured, command=COMMAND)  # type: ignore[attr-defined]
    main()


if __name__ == "__main__":
    run(Path(sys.argv.pop(1)))
