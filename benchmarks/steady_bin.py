"""A daemon that decides on each frame of benchmarks.bin_camera, with one measure for steady time left out.

`python -m benchmarks.steady_bin BUNDLE WAY SECONDS` prints one JSON object. Meanwhile its page is asked, and its
bundle is loaded and verified again and again.
"""

from __future__ import annotations

import functools
import gc
import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import cv2

from benchmarks.bin_camera import COMMAND, address_of
from edge import daemon, sources, steady
from edge.backends import Options, onnxruntime
from edge.daemon import RunSettings, started
from edge.intake import IntakeSettings
from edge.sources import Frame, Source
from edge.sources.capture import open_captured
from edge.sources.wrapper import Wrapper
from edge.web import WebSettings
from tests.broker import free_port

WARM_S = 4.0
LOOK_EACH_S = 2.0
ASK = """
import sys, time, urllib.request
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=5).read()
    except OSError:
        time.sleep(0.5)
    time.sleep(0.02)
"""


@dataclass
class Took:
    """What was measured."""

    frame_ms: list[float] = field(default_factory=list)
    """From each frame's arrival to when the loop asks for the next."""
    cpu_s: float = 0.0
    """Of this process, for all of them."""
    collect_ms: float = 0.0
    """Of a full garbage collection at the end, in which everything waits."""
    blocks: int = 0
    """Pieces of memory that Python took in the second half of the time, and did not give back."""


class Each(Wrapper):
    """Makes every frame a deposit, and looks at the clock before and after."""

    def __init__(self, within: Source, took: Took, seconds: float) -> None:
        super().__init__(within)
        self.single = True
        self._took, self._half = took, seconds / 2
        self._begin, self._given = time.monotonic() + WARM_S, 0.0
        self._cpu = self._blocks = 0.0

    def read(self) -> Any:
        now = time.monotonic()
        if self._given > self._begin:
            self._took.frame_ms.append((now - self._given) * 1e3)
            self._took.cpu_s = cpu_seconds() - self._cpu
            if now - self._begin > self._half:
                self._blocks = self._blocks or sys.getallocatedblocks()
                self._took.blocks = sys.getallocatedblocks() - int(self._blocks)
        else:
            self._cpu = cpu_seconds()
        return super().read()

    def _take(self, frame: Frame) -> Frame:
        self._given = time.monotonic()
        return frame


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def with_spinning(threads: int) -> Any:
    options = SESSION_OPTIONS(threads)
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    return options


SESSION_OPTIONS = onnxruntime.session_options
SETTLE = steady.settle


def only_switch() -> None:
    sys.setswitchinterval(steady.SWITCH_S)


def only_freeze() -> None:
    gc.collect()
    gc.freeze()


SETTLES: dict[str, Callable[[], None]] = {"no gc.freeze": only_switch, "switch after 5 ms": only_freeze}
THREADS = {"1 thread": 1, "2 threads": 2}


def work(bundle: Path, way: str, seconds: float) -> Took:
    """Run it for so long after it has warmed up."""
    sources.CAMERAS["bin://"] = ("bin", address_of)
    sources.open_captured = functools.partial(open_captured, command=COMMAND)  # type: ignore[attr-defined]
    daemon.settle = SETTLES.get(way, SETTLE)  # type: ignore[attr-defined]
    if way == "spinning":
        onnxruntime.session_options = with_spinning
    stop, again, took, port = threading.Event(), threading.Event(), Took(), free_port()
    settings = RunSettings(
        bundle,
        IntakeSettings("bin://busy"),
        backend="onnxruntime",
        options=Options(threads=THREADS.get(way, 0)),
        web=WebSettings(port),
    )
    asker = Popen([sys.executable, "-c", ASK, f"http://127.0.0.1:{port}/events.json"])
    try:
        with started(settings, stop, again) as loop:
            if way == "OpenCV's threads":
                cv2.setNumThreads(-1)
            loop.source = Each(loop.source, took, seconds)
            threading.Thread(target=_look, args=(again, stop), daemon=True).start()
            timer = threading.Timer(WARM_S + seconds, stop.set)
            timer.start()
            loop.run()
            took.collect_ms = _collect_ms()
    finally:
        asker.kill()
        asker.wait()
    return took


def _look(again: threading.Event, stop: threading.Event) -> None:
    while not stop.wait(LOOK_EACH_S):
        again.set()


def _collect_ms() -> float:
    begun = time.perf_counter()
    gc.collect()
    return (time.perf_counter() - begun) * 1e3


if __name__ == "__main__":
    folder, chosen, number = sys.argv[1:]
    print(json.dumps(asdict(work(Path(folder), chosen, float(number)))))
