"""The systemd unit, judged by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
UNIT = DEPLOY / "binsight.service"
MOST_EXPOSURE = 2.0
AFTER_249 = re.compile(
    r"^(RestartSteps|RestartMaxDelaySec|RestartMode|OpenFile|MemoryZSwap\w*|RestrictFileSystems|LogFilterPatterns|"
    r"ImportCredential|SetLoginEnvironment|CoredumpReceive|ExtensionDirectories|MountAPIVFS.*=disconnected|"
    r"Type=notify-reload|PrivatePIDs|ProtectHostname=private)\b",
    re.MULTILINE,
)
"""What systemd 249, that of JetPack 6, would leave out with no more than a warning."""


def analyze(*arguments: str | Path) -> str:
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("no systemd-analyze here; apt-get install systemd")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_systemd_takes_the_unit_without_a_word(tmp_path: Path) -> None:
    """The program is another: the bin's need not be installed here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/binsight/bin/edge-run", sys.executable))
    assert analyze("verify", "--man=no", unit) == ""
    assert not AFTER_249.findall(UNIT.read_text())


def test_little_is_exposed() -> None:
    if int(analyze("--version").split()[1]) < 250:
        pytest.skip("this systemd-analyze judges no files; systemd 250 or later does")
    said = analyze("security", "--offline=true", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for binsight.service: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= MOST_EXPOSURE


def test_a_bin_that_stands_still_is_started_again_within_15_s() -> None:
    unit = settings()
    assert (unit["Type"], unit["Restart"], unit["StartLimitIntervalSec"]) == (["notify"], ["always"], ["0"])
    assert sum(float(unit[key][0]) for key in ("WatchdogSec", "TimeoutAbortSec", "RestartSec")) <= 15


def test_the_user_and_the_groups_are_made() -> None:
    made = re.findall(r"^[ug] (\S+)", (DEPLOY / "binsight.sysusers").read_text(), re.MULTILINE)
    unit = settings()
    assert {*unit["User"], *unit["Group"], *unit["SupplementaryGroups"][0].split()} <= {*made}
