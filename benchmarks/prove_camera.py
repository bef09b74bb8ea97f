"""Cameras that a kernel really drives: uvcvideo with a webcam made of software, and vivid with its faults.

In a guest, since this machine's own kernel may load no modules. See benchmarks/guest.py for what it needs.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks import guest
from benchmarks.record import Row, keep

PROGRAM = "benchmarks.camera_guest"
MODULES = ("vivid", "vhci-hcd", "uvcvideo")
TITLE = "V4L2 cameras under Debian's kernel in QEMU (TCG): uvcvideo with a webcam made of software, and vivid"

MOST_GAP_S = 2.5


def prove_camera() -> bool:
    """Run all in the guest, and keep the figures."""
    lacks = guest.missing()
    if lacks:
        keep("camera", TITLE, [("V4L2 cameras", f"not run: {lacks}", "")])
        return False
    begun = time.monotonic()
    said = guest.run(PROGRAM, MODULES)
    lines = [line for line in said.splitlines() if line.startswith("FOUND ")]
    if not lines:
        sys.exit(f"the guest has not come to its end; it said:\n{said}")
    sys.stdout.write("".join(line + "\n" for line in said.splitlines() if line.startswith(("wanted", "kernel"))))
    found = json.loads(lines[-1].removeprefix("FOUND "))
    rows = [*_webcam(found), *_vivid(found), ("minutes, all told", f"{(time.monotonic() - begun) / 60:.1f}", "")]
    keep("camera", TITLE, rows)
    return _passed(found)


def _webcam(found: dict[str, Any]) -> list[Row]:
    old = found["age_ms"]
    return [
        ("answers of uvcvideo to ioctl that the tests' fake camera gives too", _of(found["portrait"]), "all"),
        ("openings that went as asked, or were refused in the words expected", _of(found["cases"]), "all"),
        ("driver's time of a picture is CLOCK_MONOTONIC, and rises", _yes(found["clock"]), "yes"),
        ("age of a picture when it is read, ms: least, median, most", ", ".join(map(str, old)), ""),
        (
            "half-sent JPEGs among those given, a third being sent so",
            f"{found['torn_given']} of {found['torn_of']}",
            "0",
        ),
        ("a metadata node names the one with pictures", _yes(found["metadata"]), "yes"),
        (
            "a camera in use names the process; then it is free",
            _yes(found["in_use"] and found["free_again"]),
            "yes",
        ),
        ("a silent camera is given up after, s", str(found["silent_s"]), ""),
        ("a pulled plug is seen within, ms", str(found["unplugged_ms"]), ""),
        ("a replugged camera gives its first picture after, median ms", str(found["reopened_ms"]), ""),
        ("its node was, by one name in /dev/v4l/by-id", " or ".join(found["names"]), ""),
        ("openings after which the camera itself held all that was asked", _of(found["held"]), "all"),
        ("the same where the capture opened it again", _of(found["held_again"]), "all"),
        ("seconds from the plug to a gap", str(found["gap_s"]), f"at most {MOST_GAP_S}"),
        ("seconds to a frame again, median and most, Python's start emulated", _list(found["back_s"]), ""),
    ]


def _vivid(found: dict[str, Any]) -> list[Row]:
    return [
        (
            "formats read, colours at most so far apart (of 255)",
            f"{found['formats']}, {found['colours_apart']}",
            "",
        ),
        ("other formats refused, with what is offered", _of(found["refused"]), "all"),
        ("nodes of other kinds refused, with the right one", _of(found["others"]), "all"),
        ("injected faults told apart or survived", _of(found["faults"]), "all"),
        ("openings after a fault", _of(found["again"]), "all"),
        ("40 % of the buffers dropped: the times still rise", _yes(found["dropped"]), "yes"),
    ]


def _passed(found: dict[str, Any]) -> bool:
    counts = ("portrait", "cases", "held", "held_again", "refused", "others", "faults", "again")
    truths = ("clock", "metadata", "in_use", "free_again", "silent", "dropped")
    whole = all(done == of for done, of in (found[name] for name in counts))
    lasting = len(found["names"]) > 1 and "lacks a time of exposure" in found["lacks"]
    return (
        whole
        and lasting
        and all(found[name] for name in truths)
        and found["torn_given"] == 0
        and found["gap_s"] <= MOST_GAP_S
    )


def _of(counts: list[int]) -> str:
    return f"{counts[0]} of {counts[1]}"


def _list(values: list[float]) -> str:
    return ", ".join(map(str, values))


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


if __name__ == "__main__":
    print(json.dumps({"passed": prove_camera()}))
