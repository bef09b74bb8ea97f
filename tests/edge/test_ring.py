"""Frames that cross between two real processes, whole or not at all."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edge.errors import SourceError
from edge.sources.ring import LARGEST, SLOTS, Reader, Ring, Writer
from tests.edge.fake_camera import ROOT, number_of, picture

WRITERS = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from edge.sources.ring import Ring, Writer
from tests.edge.fake_camera import picture
for _ in sys.stdin:
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    ring = Ring(int(sys.argv[2]), int(sys.argv[3]))
    writer = Writer(ring)
    while True:
        number = ring.newest()[0] + 1
        writer.write(picture(number, *((640, 480), (320, 240))[number % 2]), time.monotonic())
"""
"""Each line on stdin begins a process that writes as fast as it can, and says its id."""

READER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from edge.sources.ring import Reader, Ring
reader = Reader(Ring(int(sys.argv[2]), int(sys.argv[3])))
held = reader.take()
print(held.number, flush=True)
time.sleep(3600)
"""


HOLDER = """
import fcntl, sys, time
fcntl.lockf(int(sys.argv[2]), fcntl.LOCK_EX, 9)
print(flush=True)
time.sleep(3600)
"""


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring.make()
    yield made
    made.close()


@contextmanager
def other(ring: Ring, script: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, str(ROOT), str(ring.memory), str(ring.bell)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(ring.memory, ring.bell)
    ) as child:
        yield child
        child.kill()


@contextmanager
def writer(child: subprocess.Popen[str]) -> Iterator[None]:
    assert child.stdin
    assert child.stdout
    child.stdin.write("\n")
    child.stdin.flush()
    pid = int(child.stdout.readline())
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)


def wait(ring: Ring, reader: Reader, seconds: float = 20.0) -> bool:
    poller = select.poll()
    poller.register(ring.bell, select.POLLIN)
    reader.hush()
    return reader.newest > reader.number or bool(poller.poll(seconds * 1e3))


class TestTwoProcesses:
    def test_no_frame_is_torn(self, ring: Ring) -> None:
        """Nor one that is held for long, nor where the writer is killed at any moment and another follows."""
        reader, rng, seen, last = Reader(ring), random.Random(1), 0, 0
        with other(ring, WRITERS) as child:
            for _ in range(12):
                with writer(child):
                    end = time.monotonic() + rng.uniform(0.02, 0.2)
                    while time.monotonic() < end or reader.newest == last:
                        assert wait(ring, reader)
                        held = reader.take()
                        if held is None:
                            continue
                        assert number_of(held.image) == held.number > last
                        assert held.image.shape == ((480, 640, 3), (240, 320, 3))[held.number % 2]
                        if rng.random() < 0.2:
                            time.sleep(rng.uniform(0, 0.02))
                            assert number_of(held.image) == held.number
                        seen, last = seen + 1, held.number
                held = reader.take() or held
                assert held
                assert number_of(held.image) == held.number
                last = reader.number
        assert seen > 100

    def test_a_reader_that_stands_still_holds_nobody_up(self, ring: Ring) -> None:
        writer = Writer(ring)
        assert writer.write(picture(1, 64, 48), 0.0)
        with other(ring, READER) as child:
            assert child.stdout
            assert child.stdout.readline() == "1\n"
            os.kill(child.pid, signal.SIGSTOP)
            slots = set[int]()
            for number in range(2, 50):
                assert writer.write(picture(number, 64, 48), 0.0)
                slots.add(ring.newest()[1])
            assert slots == {1, 2}  # 0 is held, and the fourth costs no memory
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            for number in range(50, 52):
                assert writer.write(picture(number, 64, 48), 0.0)
                slots.add(ring.newest()[1])
        assert slots == {0, 1, 2}

    def test_where_no_slot_is_free_the_frame_is_dropped(self, ring: Ring) -> None:
        with other(ring, HOLDER) as child:
            assert child.stdout
            child.stdout.readline()
            assert not Writer(ring).write(picture(1, 64, 48), 0.0)
        assert Writer(ring).write(picture(1, 64, 48), 0.0)

    def test_a_slot_that_slips_away_is_not_given(self, ring: Ring) -> None:
        """The newest word may be older than what its slot holds by now."""
        assert Writer(ring).write(picture(1, 64, 48), 0.0)
        ring.slot(0)[0] = 5
        assert Reader(ring).take() is None


class TestOneProcess:
    def test_what_is_offered(self, ring: Ring) -> None:
        reader, writer = Reader(ring), Writer(ring)
        assert reader.take() is None
        assert not wait(ring, reader, 0.0)
        for number in range(1, 8):
            writer.write(np.asfortranarray(picture(number, 30 + number, 20)), number / 3)
        assert wait(ring, reader)
        held = reader.take()
        assert held is not None
        assert (held.number, number_of(held.image), held.image.shape) == (7, 7, (20, 37, 3))
        assert held.captured == pytest.approx(7 / 3, abs=1e-9)
        assert reader.take() is None
        assert time.monotonic() - 20 < reader.beat <= time.monotonic()
        with pytest.raises(ValueError, match="read-only"):
            held.image[0] = 0

    def test_pictures_outlive_the_ring(self) -> None:
        ring = Ring.make()
        Writer(ring).write(picture(3, 64, 48), 0.0)
        held = Reader(ring).take()
        ring.close()
        ring.close()
        assert held is not None
        assert number_of(held.image) == 3

    @pytest.mark.parametrize(
        ("image", "words"),
        [
            (np.zeros((2, 2), np.uint8), "gave uint8 [2, 2]; expected uint8"),
            (np.zeros((2, 2, 4), np.uint8), "gave uint8 [2, 2, 4]"),
            (np.zeros((2, 2, 3), np.float32), "gave float32"),
            (np.zeros((0, 2, 3), np.uint8), r"gave uint8 [0, 2, 3]"),
            (
                np.broadcast_to(np.zeros(3, np.uint8), (LARGEST[1] + 1, LARGEST[0], 3)),
                "7680 x 4321 pixels; expected at most",
            ),
        ],
    )
    def test_what_does_not_fit(self, ring: Ring, image: np.ndarray, words: str) -> None:  # type: ignore[type-arg]
        with pytest.raises(SourceError) as error:
            Writer(ring).write(image, 0.0)
        assert words in str(error.value)

    def test_another_versions(self, ring: Ring) -> None:
        ring.head[0] = 99
        with pytest.raises(SourceError, match="start edge-run again"):
            Writer(ring)

    def test_nobody_shrinks_it(self, ring: Ring) -> None:
        """A reader whose memory goes away is ended by SIGBUS."""
        with pytest.raises(PermissionError):
            os.ftruncate(ring.memory, 4096)

    def test_it_costs_what_is_used(self, ring: Ring) -> None:
        for number in range(1, 20):
            Writer(ring).write(picture(number, 640, 480), 0.0)
        used = os.fstat(ring.memory).st_blocks * 512
        assert used < SLOTS * 640 * 480 * 3 + 5 * 4096
