"""The installation for real, as far as it goes without Docker and without a board.

Dockerfile is read and carried out, instruction by instruction, in a root of Debian. For aarch64 the wheels that a
board gets run under qemu-user. What NVIDIA's images and repositories would bring is missing in both.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import debian, dockerfile
from benchmarks.record import ROOT, WORK, Row, keep
from benchmarks.wheels import PYTHONS, install_at, unpacked_megabytes

FOLDER = WORK / "install"
FRAMES, FRAMES_AARCH64 = 300, 20
MOST_MEGABYTES = 350
MOST_DIFFERENCE = 1e-5
HEALTHY_WITHIN_S = 120
ANSWER = Path(__file__).with_name("answer.py")
LIBRARIES = ("libgl1", "libglib2.0-0")
"""What the script installs for OpenCV."""
SIZE = f"at most {MOST_MEGABYTES}"


def prove_install() -> bool:
    """Carry out Dockerfile in a root of Debian, and run what came out as its user for 300 frames."""
    debian.need()
    base = FOLDER / "debian"
    debian.make(base, "amd64" if platform.machine() == "x86_64" else "arm64")
    begun = time.monotonic()
    image = dockerfile.build(ROOT / "Dockerfile", {"ubuntu:24.04": base}, FOLDER / "image", _run, {})
    minutes = (time.monotonic() - begun) / 60
    _bundle(image.root / "bundle")
    debian.run(image.root, "chmod -R a+rX /bundle")
    said = debian.run(image.root, _serve(image, FRAMES), apart=True)
    outcome = _outcome(said)
    who = debian.run(image.root, debian.as_user(image.user, "/", ["id"])).strip()
    refused = _refusal(image.root)
    megabytes = _megabytes(image.root / "opt/binsight")
    rows: list[Row] = [
        ("instructions of Dockerfile carried out in Debian 12, minutes", f"{minutes:.1f}", ""),
        ("runs as", who, "binsight in video, render, gpio"),
        ("`/opt/binsight`, MB", f"{megabytes:.0f}", SIZE),
        ("frames of `demo://`, decisions", f"{outcome['frames']}, {outcome['decisions']}", f"{FRAMES}, some"),
        ("lines of events written", str(_events(image.root)), "as many as decisions"),
        ("HEALTHCHECK while it ran", "healthy" if "healthy" in said.splitlines() else "not healthy", "healthy"),
        ("the step `nvidia` without Jetson repositories", refused, "refused, with what to do"),
    ]
    keep("install", "`Dockerfile` carried out without Docker, in Debian 12 in place of Ubuntu 24.04", rows)
    return (
        all(group in who for group in ("binsight", "video", "render", "gpio"))
        and outcome["frames"] == FRAMES
        and outcome["decisions"] == _events(image.root) > 0
        and "healthy" in said.splitlines()
        and refused.startswith("exit 2")
        and megabytes <= MOST_MEGABYTES
    )


CPU = "cortex-a57"
CPU_INFO = """processor\t: {}
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd07
CPU revision\t: 0

"""
"""What a board's kernel says of it. qemu-user shows that of its host, on which ONNX Runtime dies."""


def prove_aarch64() -> bool:
    """Answer one photo with a board's wheels under qemu-user and with this machine's, compare, and run the bin."""
    debian.need(("qemu-aarch64-static", "qemu-user-static"))
    root = FOLDER / "aarch64"
    debian.unpack(root, "arm64", ("python3-minimal", "libpython3.11-stdlib", *LIBRARIES))
    brought = root / "brought"
    if not brought.exists():
        install_at("3.11", brought)
    bundle = FOLDER / "bundle"
    _bundle(bundle)
    there = json.loads(_emulated(root, brought, str(ANSWER), str(bundle)))
    here = json.loads(_here(str(ANSWER), str(bundle)))
    pixels = int(np.abs(np.array(there["tensor"]) - np.array(here["tensor"])).max())
    difference = float(np.abs(np.array(there["probabilities"]) - np.array(here["probabilities"])).max())
    words = (str(bundle), "demo://", "--max-frames", str(FRAMES_AARCH64), "--json")
    outcome = _outcome(_emulated(root, brought, "-c", "from edge.cli.run import main; main()", *words))
    rows: list[Row] = [
        ("there", f"{there['machine']}, {there['what']}", "aarch64"),
        ("here", f"{here['machine']}, {here['what']}", ""),
        *((f"`binsight[cpu]` on Python {one}, MB", f"{unpacked_megabytes(one):.0f}", SIZE) for one in PYTHONS),
        ("pixels after preprocessing, largest difference", str(pixels), "0"),
        (
            "probabilities of MobileNetV2, largest difference",
            f"{difference:.1e}",
            f"at most {MOST_DIFFERENCE:.0e}",
        ),
        ("`edge-run` on `demo://`, frames", str(outcome["frames"]), str(FRAMES_AARCH64)),
    ]
    keep("aarch64", "A board's wheels under qemu-user, with the Python of Debian 12, against this machine", rows)
    small = all(float(row[1]) <= MOST_MEGABYTES for row in rows if row[2] == SIZE)
    good = pixels == 0 and difference <= MOST_DIFFERENCE and outcome["frames"] == FRAMES_AARCH64
    return good and small and there["machine"] == "aarch64"


def _emulated(root: Path, brought: Path, *words: str) -> str:
    """Run Python of `root` with what pip brought, and return what it printed."""
    environment = {"PYTHONPATH": f"{brought}{os.pathsep}{ROOT}", "PYTHONHOME": f"{root}/usr", "PATH": debian.PATH}
    libraries = f"{root}/usr/lib/aarch64-linux-gnu:{root}/lib/aarch64-linux-gnu"
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/cpuinfo").write_text("".join(CPU_INFO.format(number) for number in range(2)))
    loader = ["qemu-aarch64-static", "-cpu", CPU, "-L", str(root), "-E", f"LD_LIBRARY_PATH={libraries}"]
    command = [*loader, f"{root}/usr/bin/python3.11", *words]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _here(*words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _bundle(folder: Path) -> None:
    from benchmarks.made import mobilenet  # noqa: PLC0415  by torch, which takes its time

    shutil.rmtree(folder, ignore_errors=True)
    mobilenet(folder)


def _run(root: Path, script: str, arguments: Mapping[str, str]) -> None:
    debian.run(root, script, arguments)


def _serve(image: dockerfile.Image, frames: int) -> str:
    """Return shell that runs the image's program for so many frames, and its health check until it is healthy."""
    words = (*image.entrypoint, "/bundle", "demo://", "--realtime", "--max-frames", str(frames), "--json")
    program = debian.as_user(image.user, image.folder, (*words, "--events", "events.jsonl"))
    check = debian.as_user(image.user, image.folder, image.healthcheck)
    wait = f"for i in $(seq {HEALTHY_WITHIN_S}); do ({check}) 2>/dev/null && echo healthy && break; sleep 1; done"
    return f"({program}) & bin=$!; {wait}; wait $bin"


def _outcome(said: str) -> dict[str, int]:
    """Return what --json printed, of all that was printed."""
    found: dict[str, int] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found


def _events(root: Path) -> int:
    return len((root / "var/lib/binsight/events.jsonl").read_text().splitlines())


def _refusal(root: Path) -> str:
    """Return how the script takes the step that can't be done here."""
    said = debian.run(root, "/src/deploy/install.sh nvidia 2>&1; echo exit $?").splitlines()
    return f"{said[-1]}: {said[-2].partition('error: ')[2]}"


def _megabytes(folder: Path) -> float:
    """Return what the files of a folder hold, in millions of bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6
