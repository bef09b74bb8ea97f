"""A bin that stands still is started again by real systemd, in the sandbox of its unit, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

from benchmarks import guest
from benchmarks.record import WORK, Row, keep
from tests.tiny import make_bundle

PROGRAM = "benchmarks.watchdog_guest"
TITLE = "deploy/binsight.service under systemd in a guest, a kernel's camera and a real mosquitto beside it"
MOST_S = 15.0
"""From the moment that a part stops to the start of another daemon."""


def prove_watchdog() -> bool:
    """Run all in the guest, and keep the figures."""
    lacks = guest.missing()
    if lacks:
        keep("watchdog", TITLE, [("restarts", f"not run: {lacks}", "")])
        return False
    found = run()
    keep("watchdog", TITLE, rows(found))
    return passed(found)


def run() -> dict[str, Any]:
    """Boot the guest, and return what was found there."""
    bundle = WORK / "watchdog"
    shutil.rmtree(bundle, ignore_errors=True)
    make_bundle(bundle)
    said = guest.run(PROGRAM, ("vivid",), str(bundle), systemd=True)
    lines = [line for line in said.splitlines() if line.startswith("FOUND ")]
    if not lines:
        sys.exit(f"the guest has not come to its end; it said:\n{said}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("FOUND "))
    return found


def rows(found: dict[str, Any]) -> list[Row]:
    """Lay the figures out."""
    sandbox = found["sandbox"]
    table: list[Row] = [
        ("`/dev/video0` read within the sandbox", sandbox["status"], ""),
        ("capture child stopped: another one after, s", str(sandbox["another_child_s"]), ""),
        ("the daemon went on meanwhile", "yes" if sandbox["same_daemon"] else "no", "yes"),
    ]
    for one in found["cases"]:
        name = f"{one['part']} stopped"
        table += [
            (f"{name}: another daemon begins after, s", str(one["restarted_s"]), f"at most {MOST_S:.0f}"),
            (f"{name}: committed events lost", f"{one['lost']} of {one['committed']}", "0"),
            (f"{name}: came twice", str(one["twice"]), ""),
        ]
    return table


def passed(found: dict[str, Any]) -> bool:
    """Whether all is as it should be."""
    cases = all(one["restarted_s"] <= MOST_S and not one["lost"] for one in found["cases"])
    return cases and bool(found["sandbox"]["same_daemon"])


if __name__ == "__main__":
    figures = run()
    for row in rows(figures):
        print(" | ".join(row))
    print(json.dumps({"passed": passed(figures)}))
