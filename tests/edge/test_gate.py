"""The gate on latency: its clock, its statistics, its baselines, and the command."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest

from edge import baseline, steps
from edge.backends import Options, open_backend
from edge.baseline import MARGIN, Kept
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError, UsageError
from edge.gate import GateSettings, judge, measure_one
from edge.manifest import Precision
from edge.opening import Asked, Opened, apart, time_steps
from edge.preprocess import fit
from edge.progress import Progress
from edge.ratios import Ratio, Taken, measure, ratios, taken
from edge.steps import Group, Step
from edge.stopwatch import Stopwatch
from edge.surroundings import key_of, microarchitecture
from tests.made import command, one_line_error
from tests.tiny import make_bundle

QUICK = ("--rounds", "1", "--threads", "1")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("gate") / "bundle")


def ratio(value: float, low: float, high: float) -> Ratio:
    return Ratio("decide", "pinned upkeep", value, low, high, 1.0)


class TestStopwatch:
    def test_time_without_a_core_is_left_out_and_the_rest_is_not(self, tmp_path: Path) -> None:
        account, now = tmp_path / "schedstat", [0]

        def work() -> None:
            now[0] += 7_000_000
            account.write_text("1 5000000 1\n")  # of the 7 ms, 5 were spent waiting for a core

        account.write_text("1 0 1\n")
        with Stopwatch(lambda: now[0], str(account)) as watch:
            assert watch.milliseconds(work) == pytest.approx(2.0)

    def test_where_the_kernel_keeps_no_account_all_counts(self, tmp_path: Path) -> None:
        now = [0]
        (tmp_path / "empty").write_text("0\n")
        for path in (tmp_path / "none", tmp_path / "empty"):
            with Stopwatch(lambda: now[0], str(path)) as watch:
                assert watch.milliseconds(lambda: now.__setitem__(0, now[0] + 3_000_000)) == 3.0

    def test_what_work_waits_for_by_itself_counts(self) -> None:
        with Stopwatch() as watch:
            assert watch.milliseconds(lambda: threading.Event().wait(0.02)) >= 19

    def test_others_that_want_the_core_do_not_count(self) -> None:
        """Four processes that never rest, on this thread's only core: it has it a fifth of the time."""

        def spin(milliseconds: float) -> None:
            end = time.thread_time() + milliseconds / 1e3
            while time.thread_time() < end:
                pass

        if not Path("/proc/thread-self/schedstat").exists():
            pytest.skip("this kernel keeps no account of waits")
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        others = [os.posix_spawn("/bin/sh", ["sh", "-c", "while :; do :; done"], os.environ) for _ in range(4)]
        try:
            with Stopwatch() as watch:
                begun = time.perf_counter()
                counted = watch.milliseconds(lambda: spin(100))
                passed = (time.perf_counter() - begun) * 1e3
        finally:
            for other in others:
                os.kill(other, 9)
                os.waitpid(other, 0)
            os.sched_setaffinity(0, before)
        assert passed > 200
        assert 100 <= counted < 150


class TestRatios:
    """On a machine whose core is quicker or slower for a while, and that is disturbed in one time of five."""

    GROUPS = (Group((Step("pinned", "", int), Step("own", "pinned", int)), 5),)

    def noisy(self, seed: int, slower: float = 1.0) -> list[tuple[Taken, ...]]:
        """Eight openings, each of them some percent quicker or slower as a whole."""
        rng = np.random.default_rng(seed)
        openings = []
        for _ in range(8):
            busy = 1 + 0.5 * (np.sin(np.arange(10) / 2 + rng.uniform(0, 6)) > 0)[:, None, None]
            disturbed = rng.exponential(4.0, (10, 5, 2)) * (rng.random((10, 5, 2)) < 0.2)
            own = np.array([1.0, slower * rng.normal(1, 0.03)])
            times = np.array([2.0, 3.0]) * own * busy * rng.normal(1, 0.02, (10, 5, 2)) + disturbed
            openings.append(taken(self.GROUPS, [times]))
        return openings

    def test_a_busy_core_and_disturbance_cancel(self) -> None:
        (found,) = ratios(self.noisy(0))
        assert (found.step, found.over) == ("own", "pinned")
        assert found.value == pytest.approx(1.5, rel=0.04)
        assert found.low < 1.5 < found.high
        assert 0.01 < (found.high - found.low) / found.value < 0.1

    def test_the_interval_holds_the_true_value_nine_times_of_ten(self) -> None:
        """One that drew rounds alone, as if openings did not matter, holds it about half the time."""
        held = sum(one.low < 1.5 < one.high for one in (ratios(self.noisy(seed))[0] for seed in range(60)))
        assert held >= 50

    def test_a_tenth_is_seen_and_nothing_is_not(self) -> None:
        """Of 40 simulated runs on that machine."""
        kept = 1.5 * (1 + MARGIN)
        false = sum(ratios(self.noisy(seed))[0].low > kept for seed in range(40))
        seen = sum(ratios(self.noisy(seed, 1.1))[0].low > kept for seed in range(40))
        assert false <= 2
        assert seen >= 38

    def test_what_is_divided_lies_side_by_side(self) -> None:
        told: list[str] = []
        groups = [
            Group(tuple(Step(name, "", lambda name=name: told.append(name)) for name in names), 3)  # type: ignore[misc]
            for names in ("ab", "cde")
        ]
        found = measure(groups, 20, 1e9, lambda *_: None)
        assert [one.shape for one in found] == [(20, 3, 2), (20, 3, 3)]
        done = "".join(told[5 * 5 :])
        rounds = [done[at : at + 15] for at in range(0, len(done), 15)]
        for one in rounds:
            two, three = re.findall("[ab]+|[cde]+", one)[:: 1 if one[0] in "ab" else -1]
            assert {frozenset(two[at : at + 2]) for at in (0, 2, 4)} == {frozenset("ab")}
            assert {frozenset(three[at : at + 3]) for at in (0, 3, 6)} == {frozenset("cde")}
        assert len(set(rounds)) == 20  # orders: none follows always the same

    def test_the_time_of_one_call_is_told_where_several_are_timed(self) -> None:
        done: list[None] = []
        slow = Step("slow", "", lambda: done.append(time.sleep(0.002)), 3)
        (found,) = measure([Group((slow,), 1)], 4, 1e9, lambda *_: None)
        assert len(done) == 5 + 4 * 3
        assert 2 <= np.median(found) < 4

    def test_seconds_end_it_with_a_whole_round(self) -> None:
        slow = Group((Step("slow", "", lambda: time.sleep(0.002)),), 2)
        assert measure([slow], 1000, 0.0, lambda *_: None)[0].shape == (1, 2, 1)


class TestSteps:
    def test_each_does_what_it_says(self, bundle: Bundle) -> None:
        options = Options(threads=1)
        with open_backend(bundle, "onnxruntime", None, options) as backend:
            with steps.steps_of(bundle, backend, options) as groups:
                made = [step for group in groups for step in group.steps]
                done = {step.name: step.work() for step in made}
            over = [{step.name: step.over for step in group.steps} for group in groups]
        assert done["preprocess"].shape == bundle.manifest.input.shape  # type: ignore[attr-defined]
        assert done["graph"][0].shape == (1, 3)  # type: ignore[index]
        assert done["decide"] is done["frame to decision"] is True
        assert over == [
            {"pinned graph": "", "graph": "pinned graph", "infer": "graph", "frame to decision": "graph"},
            {"pinned resize": "", "preprocess": "pinned resize"},
            {"pinned upkeep": "", "decide": "pinned upkeep"},
        ]

    def test_an_engine_without_a_bare_call_is_its_own(self, bundle: Bundle) -> None:
        with open_backend(bundle, "onnxruntime") as backend:
            assert steps._bare(backend, np.zeros((1, 32, 32, 3), np.uint8))
        pytest.importorskip("openvino")
        with steps.open_gauge("openvino", Options(threads=1)) as other:
            assert steps._bare(other, np.zeros((1, *steps.GAUGE_SHAPE), np.uint8)) is None
            assert other.infer(np.zeros((1, *steps.GAUGE_SHAPE), np.uint8)).probabilities.shape == (1, 4)

    def test_the_pinned_graph_is_the_pinned_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = tmp_path / "gauge.onnx"
        other.write_bytes(steps.GAUGE.read_bytes() + b" ")
        monkeypatch.setattr(steps, "GAUGE", other)
        with pytest.raises(BackendError, match="is not the pinned graph"):
            steps.open_gauge("onnxruntime", Options())


def dies(asked: Asked, progress: Progress) -> Opened:
    """As a process that the kernel ends where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def tells_its_process(asked: Asked, progress: Progress) -> Opened:
    """Say which process timed."""
    found = time_steps(asked, progress)
    return replace(found, info=replace(found.info, engine=f"{os.getpid()} {hash('text')}"))


class TestOpening:
    def asked(self, bundle: Bundle, **other: object) -> Asked:
        return replace(Asked(bundle.folder, "onnxruntime", None, Options(threads=1), 2, 60.0, 0), **other)  # type: ignore[arg-type]

    def test_each_opening_is_a_process_of_its_own_and_tells_how_far_it_is(self, bundle: Bundle) -> None:
        told: list[tuple[int, int]] = []
        first, second = (
            apart(self.asked(bundle), lambda *done: told.append(done), tells_its_process) for _ in range(2)
        )
        processes = [one.info.engine.split() for one in (first, second)]
        assert len({int(process) for process, _ in processes} | {os.getpid()}) == 3
        assert processes[0][1] != processes[1][1]  # text hashes anew
        assert told == [(1, 2), (2, 2)] * 2
        assert [one.step for one in first.taken] == ["graph", "infer", "frame to decision", "preprocess", "decide"]
        assert all(len(one.logs) == len(one.milliseconds) == 2 for one in first.taken)
        assert all((one.milliseconds > 0).all() for one in first.taken)

    def test_what_is_wrong_there_is_said_here(self, bundle: Bundle) -> None:
        with pytest.raises(BundleError, match="no int8 graph for onnxruntime"):
            apart(self.asked(bundle, precision=Precision.INT8), lambda *_: None)

    def test_a_process_that_is_killed_is_an_error_and_no_wait_for_ever(self, bundle: Bundle) -> None:
        with pytest.raises(BackendError, match=r"onnxruntime ended without an answer \(exit code -9\)"):
            apart(self.asked(bundle), lambda *_: None, dies)

    def test_no_process_stays_behind_where_we_are_interrupted(self, bundle: Bundle) -> None:
        def interrupted(*_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            apart(self.asked(bundle, rounds=100_000), interrupted)
        assert not multiprocessing.active_children()


class TestBaseline:
    def kept(self, bundle: Bundle, **ratios: float) -> Kept:
        with open_backend(bundle, "onnxruntime") as backend:
            return Kept(key_of(backend.info), "", "2026-11-28", ratios)

    @pytest.mark.parametrize(
        ("low", "slower"), [(1.0, False), (1 + MARGIN - 0.001, False), (1 + MARGIN + 0.001, True), (1.2, True)]
    )
    def test_slower_is_an_interval_that_lies_beyond_the_margin(self, low: float, slower: bool) -> None:
        assert baseline.Compared(ratio(low + 0.1, low, low + 0.2), 1.0).slower is slower

    def test_without_a_baseline_nothing_is_slower_or_faster(self) -> None:
        one = baseline.Compared(ratio(9.0, 8.0, 10.0), None)
        assert (one.slower, one.faster, one.change) == (False, False, None)
        assert baseline.Compared(ratio(0.5, 0.4, 0.6), 1.0).faster

    def test_another_device_version_or_thread_count_has_another_baseline(self, bundle: Bundle) -> None:
        kept = self.kept(bundle, decide=1.0)
        assert baseline.find([kept], kept.key) is kept
        for other in (
            {"device": "another"},
            {"power": "MAXN, clocks fixed"},
            {"precision": "int8"},
            {"threads": 7},
            {"versions": {**kept.key.versions, "onnxruntime": "0.1"}},
        ):
            assert baseline.find([kept], replace(kept.key, **other)) is None  # type: ignore[arg-type]

    def test_a_library_that_no_python_package_brought_has_a_version(
        self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the OpenCV of a Jetson that its system brings."""
        with open_backend(bundle, "onnxruntime") as backend:

            def missing(name: str) -> str:
                raise metadata.PackageNotFoundError(name)

            monkeypatch.setattr(metadata, "version", missing)
            assert key_of(backend.info).versions["opencv-python"] == cv2.__version__

    def test_renewing_leaves_others_alone(self, bundle: Bundle, tmp_path: Path) -> None:
        file, kept = tmp_path / "new" / "baseline.json", self.kept(bundle, decide=1.0)
        other = replace(kept, key=replace(kept.key, device="another"))
        baseline.renew(file, [kept, other])
        newer = replace(kept, ratios={"decide": 2.0})
        baseline.renew(file, [newer])
        assert sorted(one.ratios["decide"] for one in baseline.read(file)) == [1.0, 2.0]
        file.write_text('{"no": "baselines"}')
        with pytest.raises(UsageError, match="no file of baselines"):
            baseline.renew(file, [newer])
        assert file.read_text() == '{"no": "baselines"}'


class TestSurroundings:
    def test_processors_of_one_name_are_told_apart(self, tmp_path: Path) -> None:
        (tmp_path / "proc").mkdir()
        for text, told in (
            ("cpu family\t: 23\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n", " (family 23 model 1)"),
            ("CPU implementer\t: 0x41\nCPU part\t: 0xd42\n", " (part 0xd42)"),
            ("", ""),
        ):
            (tmp_path / "proc/cpuinfo").write_text(text)
            assert microarchitecture(tmp_path) == told


def fits_twice(asked: Asked, progress: Progress) -> Opened:
    """Time the steps where preprocessing takes twice as long."""
    with mock.patch.object(steps, "fit", lambda *its: (fit(*its), fit(*its))[1]):
        return time_steps(asked, progress)


def test_the_gate_can_fail_and_does_where_a_step_takes_twice_as_long(bundle: Bundle) -> None:
    """On this machine, as busy as it is; how little more is seen, `make proof-gate` shows."""
    settings = GateSettings(Options(threads=1), rounds=12, openings=3)
    before = measure_one(bundle, "onnxruntime", None, settings)
    kept = Kept(before.key, "", "", {one.step: one.value for one in before.ratios})
    (judged,) = judge([measure_one(bundle, "onnxruntime", None, settings, timing=fits_twice)], [kept])
    assert "preprocess" in {one.found.step for one in judged.slower}
    assert before.rounds == judged.measured.rounds == 12
    earlier = {name: version for name, version in kept.key.versions.items() if name != "pinned work"}
    other = replace(kept, key=replace(kept.key, versions=earlier))
    assert judge([before], [other])[0].kept is None  # what was kept over the pinned work of before is not compared
    assert judge([before], [])[0].slower == ()


class TestCommand:
    def test_no_baseline_is_said_and_passes_and_one_that_is_kept_is_used(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        file = tmp_path / "baseline.json"
        first = command("edge-bench", bundle.folder, "--compare", file, *QUICK)
        assert first.returncode == 0, first.stderr
        assert f"NO BASELINE in {file} for fp32 on onnxruntime, " in first.stdout
        assert "no slower" not in first.stdout
        assert not file.exists()
        assert command("edge-bench", bundle.folder, "--compare", file, "--renew", *QUICK).returncode == 0
        (kept,) = json.loads(file.read_text())
        # One round of a graph of some microseconds wanders by half on a busy machine: not by so much.
        kept["ratios"] = {step: value / 20 for step, value in kept["ratios"].items()}
        file.write_text(json.dumps([kept]))
        slower = command("edge-bench", bundle.folder, "--compare", file, "--json", *QUICK)
        result = json.loads(slower.stdout)
        (row,) = result["rows"]
        assert (slower.returncode, result["slower"], row["baseline"]) == (1, True, kept["taken"])
        assert {one["step"]: one["slower"] for one in row["steps"]}["infer"]

    def test_errors(self, bundle: Bundle, tmp_path: Path) -> None:
        one_line_error(
            command("edge-bench", bundle.folder, "--renew"), "edge-bench", "--renew needs --compare FILE"
        )
        broken = tmp_path / "broken.json"
        broken.write_text("[")
        one_line_error(
            command("edge-bench", bundle.folder, "--compare", broken), "edge-bench", "is no file of baselines"
        )
        one_line_error(
            command("edge-bench", bundle.folder, "--compare", broken, "--data", tmp_path),
            "edge-bench",
            "leave --data",
        )
