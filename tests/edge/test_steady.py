"""Memory that was freed is the system's again."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from pathlib import Path
from edge.steady import give_back, hold_little

def mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

{before}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(30_000_000))  # from now on glibc would keep what is smaller
pieces = []
for _ in range(100_000_000 // {size}):
    pieces.append(libc.malloc({size}))
    ctypes.memset(pieces[-1], 1, {size})
last = libc.malloc(900_000)  # on top of them: what lies below is not given back by itself
held = mib()
for piece in pieces:
    libc.free(piece)
{after}
print(held - mib())
"""


@pytest.mark.parametrize(
    ("size", "before", "after"), [(2_000_000, "hold_little()", ""), (100_000, "", "give_back()")]
)
def test_what_was_freed_is_given_back(size: int, before: str, after: str) -> None:
    program = PROGRAM.format(size=size, before=before, after=after)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 50


@pytest.mark.parametrize("size", [2_000_000, 100_000])
def test_glibc_would_keep_it(size: int) -> None:
    program = PROGRAM.format(size=size, before="", after="")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 50
