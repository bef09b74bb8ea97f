"""The service that runs the bin, where systemd has one."""

from __future__ import annotations

from edge.doctor.finding import Finding, absent, fail, ok, warn
from edge.doctor.machine import Machine

UNIT = "binsight.service"
PLACES = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
ASKED = "LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState"
LOG = "journalctl -u binsight -n 50 says why"


def look(machine: Machine) -> list[Finding]:
    """Look at the state of the unit."""
    if not any(machine.path(f"{place}/{UNIT}").exists() for place in PLACES):
        return [absent("service", f"no {UNIT}; deploy/ in the sources has one")]
    said = machine.ask(("systemctl", "show", UNIT, f"--property={ASKED}"))
    state = dict(line.split("=", 1) for line in (said or "").splitlines() if "=" in line)
    if not state.get("ActiveState"):
        return [
            warn("service", f"{UNIT} is installed, and systemd does not answer", "start the system with systemd")
        ]
    return [_state(state)]


def _state(state: dict[str, str]) -> Finding:
    active, sub, restarts = state["ActiveState"], state.get("SubState", ""), int(state.get("NRestarts") or 0)
    shown = f"{UNIT} is {active} ({sub})"
    if state.get("LoadState") == "bad-setting":
        return fail("service", f"{UNIT} can't be read by systemd", f"systemd-analyze verify {UNIT}")
    if active == "failed" or state.get("Result", "success") not in ("success", ""):
        return fail("service", f"{shown}: {state.get('Result')}", LOG)
    if sub == "auto-restart":
        return fail("service", f"{shown}: it ends again and again, {restarts} times so far", LOG)
    if state.get("UnitFileState") not in ("enabled", "static"):
        mend = "sudo systemctl enable --now binsight"
        return warn("service", f"{shown}, and not enabled: nothing starts it with the board", mend)
    if active != "active":
        return warn("service", shown, "sudo systemctl start binsight")
    if restarts:
        return warn("service", f"{shown}, started again {restarts} times", LOG)
    return ok("service", shown)
