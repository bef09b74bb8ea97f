"""The proof on a GPU, as far as it goes without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.prove_gpu import SIZES, copies
from edge.backends.trt.cudart import Cuda, load_cuda
from edge.errors import BackendError
from tests.edge.fake_cudart import FakeCudart

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_what_is_copied_comes_back(integrated: bool, recorded: bool) -> None:
    gpu = FakeCudart(integrated=integrated)
    assert copies(Cuda(gpu), recorded=recorded) == len(SIZES)
    assert not gpu.faults
    assert not gpu.blocks


def test_it_says_plainly_that_there_is_none() -> None:
    try:
        load_cuda()
    except BackendError:
        pass
    else:
        pytest.skip("there is a GPU: run make gpu-proof")
    command = [sys.executable, "-m", "benchmarks.proof", "gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("there is no GPU here, and nothing was proven: ")
    assert len(done.stderr.splitlines()) == 1
