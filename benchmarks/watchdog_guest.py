"""A bin under real systemd, in the guest that prove_watchdog boots: the unit of deploy/, stopped part by part."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.record import ROOT
from tests.broker import Broker, Listener

UNIT = ROOT / "deploy" / "binsight.service"
STATE = Path("/var/lib/binsight")
LOCK = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
PATIENCE_S = 240.0
"""For whatever has to happen: Python takes a while to start where a processor is emulated."""


def main() -> None:
    """Set it up, stop one part after the other, and print what was found."""
    install(Path(sys.argv[1]))
    print("installed", flush=True)
    with tempfile.TemporaryDirectory(dir="/run") as name:
        folder = Path(name)
        with Broker(folder / "broker") as broker, Listener(broker.port) as listener:
            found = {
                "sandbox": on_a_camera(broker.port),
                "cases": [case(part, stopped, broker.port, listener) for part, stopped in PARTS.items()],
            }
    print("FOUND " + json.dumps(found), flush=True)


def install(bundle: Path) -> None:
    """Do what an installation does; the program is this folder's, with the sources of the tests."""
    program = Path("/opt/binsight/bin/edge-run")
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={ROOT} PYTHONDONTWRITEBYTECODE=1\n"
        f'exec {sys.executable} -m tests.edge.supervised_bin {STATE} "$@"\n'
    )
    program.chmod(0o755)
    say("systemd-sysusers", str(UNIT.with_suffix(".sysusers")))
    STATE.mkdir(parents=True, exist_ok=True)
    shutil.copytree(bundle, STATE / "bundle")
    say("chown", "-R", "binsight:binsight", str(STATE))
    shutil.copy(UNIT, "/etc/systemd/system")
    if sys.base_prefix.startswith(("/root/", "/home/")):  # no bin's Python lies there
        change = Path("/etc/systemd/system/binsight.service.d/python.conf")
        change.parent.mkdir()
        change.write_text(f"[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths={sys.base_prefix}\n")
    say("systemctl", "daemon-reload")


@contextmanager
def service(source: str, port: int) -> Iterator[None]:
    """Let the bin run on this source, from its first ping on."""
    Path("/etc/binsight").mkdir(exist_ok=True)
    Path("/etc/binsight/bin.toml").write_text(
        f'bundle = "{STATE}/bundle"\nsource = "{source}"\nbin = "b"\nevents = "{STATE}/events.jsonl"\n'
        f'outbox = "{STATE}/outbox.db"\nmqtt = "mqtt://localhost:{port}"\n'
    )
    try:
        say("systemctl", "start", "binsight")
        until(lambda: "frames a second" in shown("StatusText"))
        yield
    finally:
        print(say("journalctl", "-u", "binsight", "--no-pager", "-o", "cat"), flush=True)
        say("systemctl", "stop", "binsight")


def on_a_camera(port: int) -> dict[str, object]:
    """In its sandbox it sees a camera of the kernel, and goes on where that camera's process is stopped."""
    shutil.chown("/dev/video0", group="video")  # as udev would, which the guest lacks
    os.chmod("/dev/video0", 0o660)
    with service("/dev/video0", port):
        until(lambda: not shown("StatusText").startswith("0 frames"))
        before = len(capture()), shown("MainPID")
        child = capture()[0]
        os.kill(child, signal.SIGSTOP)
        begun = time.monotonic()
        until(lambda: capture() not in ([child], []))
        again = time.monotonic() - begun
        time.sleep(15)
        status = shown("StatusText")
        return {
            "status": status,
            "children": before[0],
            "another_child_s": round(again, 1),
            "same_daemon": before[1] == shown("MainPID"),
            "exposure": say("systemd-analyze", "security", "--no-pager", "binsight").splitlines()[-1],
        }


def stop_inference() -> Callable[[], object]:
    (STATE / "hang").write_text("")
    return (STATE / "hang").unlink


def stop_outbox() -> Callable[[], object]:
    lock = subprocess.Popen([sys.executable, "-c", LOCK, STATE / "outbox.db"], stdout=subprocess.PIPE)
    assert lock.stdout
    lock.stdout.readline()

    def end() -> None:
        lock.kill()
        lock.wait()

    return end


def stop_all() -> Callable[[], object]:
    os.kill(int(shown("MainPID")), signal.SIGSTOP)
    return lambda: None


PARTS = {"inference": stop_inference, "outbox": stop_outbox, "daemon": stop_all}


def case(
    part: str, stopped: Callable[[], Callable[[], object]], port: int, listener: Listener
) -> dict[str, object]:
    """Stop one part, wait until systemd has begun another daemon, and until that delivers."""
    with service("deposits://", port):
        until(lambda: len(listener.messages) > 20)
        restarts, begun = int(shown("NRestarts")), time.monotonic()
        go_on = stopped()
        until(lambda: int(shown("NRestarts")) > restarts and int(shown("ExecMainPID")))
        after = int(shown("ExecMainStartTimestampMonotonic")) / 1e6 - begun
        go_on()
        heard = len(listener.messages)
        until(lambda: len(listener.messages) > heard + 20)
    until(lambda: committed() <= arrived(listener))
    ids = [event["id"] for event in listener.events()]
    return {
        "part": part,
        "restarted_s": round(after, 1),
        "restarts": int(shown("NRestarts")) - restarts,
        "committed": len(committed()),
        "lost": len(committed() - arrived(listener)),
        "twice": len(ids) - len({*ids}),
    }


def committed() -> set[str]:
    """Return the ids of what the bin has said to be in its outbox."""
    lines = (STATE / "events.jsonl").read_text().splitlines(keepends=True)
    return {json.loads(line)["id"] for line in lines if line.endswith("\n")}


def arrived(listener: Listener) -> set[str]:
    return {event["id"] for event in listener.events()}


def capture() -> list[int]:
    """Return the processes of the bin that read its camera."""
    told = subprocess.run(["pgrep", "-P", shown("MainPID")], capture_output=True, text=True, check=False)
    return [int(line) for line in told.stdout.split()]


def shown(name: str) -> str:
    return say("systemctl", "show", "-P", name, "binsight").strip()


def say(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            sys.exit("it did not happen: " + say("systemctl", "status", "--no-pager", "--full", "binsight"))
        time.sleep(0.1)


if __name__ == "__main__":
    main()
