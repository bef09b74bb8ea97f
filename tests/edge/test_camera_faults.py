from __future__ import annotations

from benchmarks.prove_cameras import BACK_S, OLDEST_S, SEEN_S, Fault, captured, run_faults
from tests.rtsp_server import RtspServer, need_server


def test_a_real_stream_that_fails_in_every_way_never_gives_an_old_picture() -> None:
    """The proof in short, with bounds for a busy machine."""
    need_server()
    with RtspServer() as server, captured(server) as look:
        tally = run_faults(server, look, 8, seed=2, longest=2.0, pause=0.3)
    assert {one.fault for one in tally.outcomes} == {*Fault}
    assert all(one.seen is not None and one.seen < 2 * SEEN_S for one in tally.outcomes)
    assert all(one.back < 3 * BACK_S for one in tally.outcomes)
    assert tally.oldest < OLDEST_S + 0.5
    assert tally.unreadable == 0
    assert tally.pictures > 30
    begun, ended = tally.ends()
    assert ended.files <= begun.files
