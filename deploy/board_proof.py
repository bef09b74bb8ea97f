"""A board proven without anybody beside it: what it has, parity, latency by power mode, heat and memory at work.

    python deploy/board_proof.py [BUNDLE]      # docs/board-proof.md

Standard library and `edge` alone, by whichever Python has them: a board's /opt/binsight/bin/python too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from board_page import page
from board_sample import Sample, growth, sample

from edge.backends import OPENERS
from edge.backends.base import cpu_name
from edge.bundle import Bundle, load
from edge.doctor.machine import Machine
from edge.errors import BinsightError, BundleError, UsageError
from edge.files import replace_bytes
from edge.manifest import MANIFEST, Precision
from edge.power import modes, power_mode

NAME = "board-proof"
EACH_S = 1.0
"""Between two samples of a bin at work."""
DOCTOR_CHECK = {"cuda": "cuda_provider"}
"""What edge-doctor calls an engine where it is not its name."""
DEPOSITS_PER_S = 10
"""Of demo://, which goes as fast as it is read: more than any board sees."""
MOST_GROWTH_MIB, LONG_MINUTES = 1.0, 30.0
"""How much a bin may grow in an hour, as `make proof-soak` has it, and how long a soak is that can tell."""


class Result(str, Enum):
    """What became of a step."""

    DONE = "done"
    FAILED = "failed"
    IMPOSSIBLE = "not possible here"


class ImpossibleError(BinsightError):
    """This machine can't do it, and need not."""


class FailedError(BinsightError):
    """It did not do what it should; `found` is what it said all the same."""

    def __init__(self, why: str, found: Mapping[str, Any] | None = None) -> None:
        super().__init__(why)
        self.found = found or {}


@dataclass(frozen=True)
class Step:
    """One thing that was tried."""

    name: str
    result: Result
    why: str
    """Empty where it is done."""
    seconds: float
    found: Mapping[str, Any]
    """What the command said with --json; of a bin at work its summary and `samples`."""


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    bundle: Bundle
    modes: str = ""
    """Power modes: `all`, or numbers with commas; empty: the present one alone."""
    rounds: int = 300
    """Timed photos of each row of edge-bench."""
    seconds: float = 120.0
    """When the timing of a power mode ends."""
    minutes: float = 5.0
    """A bin at work is watched for so long."""
    soak: float = 0.0
    """Minutes of a second, longer watch; 0: none."""
    limit_s: float = 1200.0
    """After which a step is given up, beside the time that a bin is watched for."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the commands."""
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int | None
    """None: it was given up."""
    answer: Mapping[str, Any]
    """The object of --json; empty where there is none."""
    complaint: str
    """Its last line on stderr."""


def steps(plan: Plan) -> Generator[Step, None, None]:
    """Do it all, one step after the other: none that fails keeps the next from being tried."""
    doctor = attempt("doctor", partial(ask, plan, "edge-doctor", plan.bundle.folder))
    yield doctor
    absent = {
        one["check"]: str(one["found"]) for one in doctor.found.get("findings", ()) if one["state"] == "absent"
    }
    for backend in OPENERS:
        for precision in Precision:
            yield attempt(f"parity {precision.value} {backend}", partial(parity, plan, backend, precision, absent))
    best: Mapping[str, str] | None = None
    for mode in wanted(plan):
        name = "latency" if mode is None else f"latency in power mode {mode}"
        timed = attempt(name, partial(latency, plan, mode))
        best = best or timed.found.get("recommended")
        yield timed
    yield attempt("work", partial(work, plan, plan.minutes, best))
    if plan.soak:
        yield attempt("soak", partial(work, plan, plan.soak, best))


def attempt(name: str, do: Callable[[], Mapping[str, Any]]) -> Step:
    """Do one step, whatever becomes of it."""
    begun, result, why = time.monotonic(), Result.DONE, ""
    found: Mapping[str, Any] = {}
    try:
        found = do()
    except ImpossibleError as error:
        result, why = Result.IMPOSSIBLE, str(error)
    except FailedError as error:
        result, why, found = Result.FAILED, str(error), error.found
    except Exception as error:  # noqa: BLE001  whatever it is, the other steps go on
        result, why = Result.FAILED, f"{type(error).__name__}: {error}"
    return Step(name, result, why, time.monotonic() - begun, found)


def ask(plan: Plan, command: str, *words: object) -> Mapping[str, Any]:
    """Run a command of the project, and return what it says. Raises FailedError."""
    said = attend(plan, [command, *map(str, words), "--json"])
    if said.code != 0:
        failed = [one["check"] for one in said.answer.get("findings", ()) if one["state"] == "fail"]
        reason = f"to be mended: {', '.join(failed)}" if failed else said.answer.get("reason")
        raise FailedError(str(reason or said.complaint or f"{command} ended with {said.code}"), said.answer)
    return said.answer


def parity(plan: Plan, backend: str, precision: Precision, absent: Mapping[str, str]) -> Mapping[str, Any]:
    """Judge one graph on one engine. What edge-doctor calls absent need not be there: the rest has to work."""
    if not plan.bundle.fits(precision, OPENERS[backend].runtime):
        raise ImpossibleError("the bundle has no graph for it")
    check = DOCTOR_CHECK.get(backend, backend)
    if check in absent:
        raise ImpossibleError(absent[check])
    return ask(
        plan, "edge-eval", plan.bundle.folder, "--parity", "--backend", backend, "--precision", precision.value
    )


def wanted(plan: Plan) -> list[int | None]:
    """Return the power modes to measure in; None: as it is."""
    if plan.modes == "all":
        return [*sorted(modes(plan.machine.root).names)] or [None, 0]  # the second says that there are none
    return [int(one) for one in plan.modes.split(",")] if plan.modes else [None]


def latency(plan: Plan, mode: int | None) -> Mapping[str, Any]:
    """Time every precision on every engine in a power mode."""
    with powered(plan.machine, mode):
        words = ("edge-bench", plan.bundle.folder, "--rounds", plan.rounds, "--seconds", plan.seconds)
        return {"power": power_mode(plan.machine.root, plan.machine.ask), **ask(plan, *words)}


@contextmanager
def powered(machine: Machine, mode: int | None) -> Iterator[None]:
    """Let the board run in a power mode, and return to the one before. Raises ImpossibleError, FailedError."""
    before = _mode(machine)
    if mode is None or mode == before:
        yield
        return
    if before is None:
        raise ImpossibleError("no nvpmodel, as a Jetson has it")
    try:
        machine.ask(("nvpmodel", "-m", str(mode)))
        if _mode(machine) != mode:
            raise ImpossibleError(
                f"nvpmodel -m {mode} leaves mode {before}: it wants root, and between some modes a reboot"
            )
        yield
    finally:
        if _mode(machine) != before:
            machine.ask(("nvpmodel", "-m", str(before)))
            if (left := _mode(machine)) != before:
                raise FailedError(f"the power mode is {left} and was {before}: sudo nvpmodel -m {before}")


def _mode(machine: Machine) -> int | None:
    return modes(machine.root, machine.ask).now


def work(plan: Plan, minutes: float, best: Mapping[str, str] | None) -> Mapping[str, Any]:
    """Let a bin work as fast as it can, and look at it every second. Raises FailedError."""
    samples: list[Sample] = []
    begun = time.monotonic()

    def look(pid: int) -> None:
        with suppress(OSError, ValueError):  # it has just ended
            samples.append(sample(plan.machine, pid, time.monotonic() - begun))

    engine = ["--backend", best["backend"], "--precision", best["precision"]] if best else []
    scene = f"demo://?deposits={math.ceil(minutes * 60 * DEPOSITS_PER_S)}"
    words = ["edge-run", str(plan.bundle.folder), scene, *engine, "--json"]
    said = attend(plan, words, minutes * 60, look)
    grown = growth(samples) if minutes >= LONG_MINUTES else None
    found = {**said.answer, "growth_mib_per_hour": grown, "samples": [asdict(one) for one in samples]}
    if said.code != 0 or not said.answer.get("frames"):
        raise FailedError(said.complaint or f"edge-run ended with {said.code}", found)
    if grown is not None and grown > MOST_GROWTH_MIB:
        raise FailedError(f"it grows by {grown:.1f} MiB an hour, expected {MOST_GROWTH_MIB:g} at most", found)
    return found


def attend(
    plan: Plan, words: Sequence[str], work_s: float = math.inf, look: Callable[[int], None] | None = None
) -> Said:
    """Run a command beside this Python, look at it every second, and end it `work_s` after its first word.

    It is given up, with all that it started, after `limit_s`, and where this program is ended.
    """
    program = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    limit = time.monotonic() + plan.limit_s + (work_s if work_s < math.inf else 0)
    with tempfile.TemporaryDirectory() as name:
        out, err = Path(name) / "out", Path(name) / "err"
        with out.open("wb") as one, err.open("wb") as other:
            process = subprocess.Popen(  # noqa: S603  the project's own
                program, stdin=subprocess.DEVNULL, stdout=one, stderr=other, start_new_session=True,
                env={**plan.environment, **({"XDG_STATE_HOME": name} if look else {})},  # the bin's own stays
            )  # fmt: skip
        try:
            end = math.inf
            while time.monotonic() < limit:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(EACH_S)
                    break
                if look:
                    look(process.pid)
                if end == math.inf and f"{words[0]}: " in err.read_text(errors="replace"):
                    end = time.monotonic() + work_s
                if time.monotonic() >= end:
                    process.terminate()
                    end = limit
            code = process.poll()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        complaint = _last(err) if code is not None else f"{words[0]} was given up after {plan.limit_s:g} s"
        with suppress(ValueError):
            return Said(code, json.loads(_last(out) or "{}"), complaint)
        return Said(code, {}, complaint)


def _last(path: Path) -> str:
    return ([""] + [line for line in path.read_text(errors="replace").splitlines() if line.strip()])[-1].strip()


def newest(runs: Path) -> Path:
    """Return the bundle that was made last. Raises UsageError where there is none."""
    found = sorted(runs.glob(f"*/bundle/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UsageError(f"no bundle was named and none lies in {runs}/*/bundle; make one: edge-demo, edge-export")
    return found[-1].parent


def prove(plan: Plan, out: Path) -> bool:
    """Do it all, keep JSON and page after each step, and return whether nothing failed. Raises OSError."""
    done: list[Step] = []
    begun = time.monotonic()
    proof: dict[str, Any] = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "board": plan.machine.read("/proc/device-tree/model") or cpu_name() or plan.machine.host.architecture,
        "system": {**asdict(plan.machine.host), "binsight": plan.machine.installed("binsight")},
        "power": power_mode(plan.machine.root, plan.machine.ask),
        "bundle": {"name": plan.bundle.manifest.name, "version": plan.bundle.manifest.version},
    }
    with closing(steps(plan)) as every:
        for step in every:
            done.append(step)
            sys.stderr.write(f"{step.name}: {step.result.value}{f': {step.why}' if step.why else ''}\n")
            proof["seconds"] = time.monotonic() - begun
            proof["passed"] = all(one.result is not Result.FAILED for one in done)
            proof["steps"] = [{**asdict(one), "result": one.result.value} for one in done]
            replace_bytes(out / f"{NAME}.json", json.dumps(proof, indent=1).encode())
            replace_bytes(out / f"{NAME}.html", page(proof).encode())
    return bool(proof["passed"])


def arguments() -> argparse.ArgumentParser:
    """Return what the command line may be."""
    parser = argparse.ArgumentParser(NAME, description="Prove this machine as a bin; see docs/board-proof.md.")
    parser.add_argument("bundle", nargs="?", type=Path, help="default: the newest runs/*/bundle")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs") / NAME, help="folder of the results")
    parser.add_argument("--power-modes", default="", metavar="all|0,1", help="root alone; the one before returns")
    parser.add_argument("--minutes", type=_above_0, default=5, help="of a bin at work (5)")
    parser.add_argument("--soak", type=_above_0, nargs="?", const=60, default=0, metavar="MINUTES", help="(60)")
    parser.add_argument(
        "--rounds",
        type=lambda text: max(1, int(_above_0(text))),
        default=300,
        help="timed photos of each row (300)",
    )
    parser.add_argument("--seconds", type=_above_0, default=120, help="of timing in a power mode (120)")
    parser.add_argument("--limit", type=_above_0, default=1200, help="seconds after which a step is given up")
    return parser


def _above_0(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def main() -> int:
    """Return 0 where all that was possible passed, 1 where something failed, 2 on bad arguments."""
    parser = arguments()
    asked = parser.parse_args()
    if not re.fullmatch(r"(all|\d+(,\d+)*)?", asked.power_modes):
        parser.error(f"--power-modes is {asked.power_modes!r}, expected all, or numbers as 0,2")
    for one in (signal.SIGTERM, signal.SIGHUP):  # so that the power mode returns
        if signal.getsignal(one) is not signal.SIG_IGN:  # by nohup: it goes on without its terminal
            signal.signal(one, signal.default_int_handler)
    try:
        bundle = load((asked.bundle or newest(Path("runs"))).absolute())
        asked.out.mkdir(parents=True, exist_ok=True)
        plan = Plan(
            bundle, asked.power_modes, asked.rounds, asked.seconds, asked.minutes, asked.soak, asked.limit,
            dict(os.environ),
        )  # fmt: skip
        passed = prove(plan, asked.out)
    except (UsageError, BundleError, OSError) as error:
        sys.stderr.write(f"{NAME}: error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"{NAME}: interrupted; {asked.out} has what was done\n")
        return 130
    sys.stderr.write(f"{'passed' if passed else 'failed'}: {asked.out / NAME}.json and .html\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
