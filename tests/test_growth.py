"""Nothing grows with the frames: the short form of `make proof-memory`."""

from __future__ import annotations

import pytest

from benchmarks.prove_memory import deciding, grown


@pytest.mark.slow
def test_nothing_grows_over_some_thousand_frames() -> None:
    assert grown(deciding(), 500) < 32  # KiB: a float that is kept of each frame would be 50
