"""The USB camera made of software in a process of its own, and the kernel's nodes for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.usb_video import CARD
from edge.sources.v4l2_nodes import glance

LINK = Path("/dev/v4l/by-id/usb-binsight_Bin_Camera_0001-video-index0")


class Plugged:
    """The camera in a process of its own: what uses it may wait for the kernel, and the kernel for the camera."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", "from benchmarks.usb_camera import main; main()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def plug(self) -> None:
        """Plug it in, and have LINK lead to its pictures, as udev would."""
        before = {*nodes()}
        self.say("plug")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for node in {*nodes()} - before:
                seen = glance(node)
                if seen and seen.captures:
                    LINK.parent.mkdir(parents=True, exist_ok=True)
                    LINK.unlink(missing_ok=True)
                    LINK.symlink_to(node)
                    return
            time.sleep(0.1)
        raise SystemExit(f"the kernel has not taken the camera:\n{_kernel_log()}")

    def held(self) -> str:
        """Return what the camera itself holds, in the order of HELD."""
        return self.say("held")

    def say(self, word: str, value: int = 0) -> str:
        """Have it do something: plug, unplug, tears N, silent 0 or 1, held. Returns what it holds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{word} {value}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def nodes() -> list[Path]:
    """Return the nodes that the kernel has for such cameras."""
    return sorted(
        Path("/dev") / path.name for path in Path("/sys/class/video4linux").glob("video*") if _name(path) == CARD
    )


def _kernel_log(lines: int = 30) -> str:
    file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    said = []
    try:
        while True:
            said.append(os.read(file, 8192).decode(errors="replace").split("\n")[0])
    except BlockingIOError:
        return "\n".join(said[-lines:])
    finally:
        os.close(file)


def _name(path: Path) -> str:
    try:
        return (path / "name").read_text().split(":")[0].strip()
    except OSError:  # it has just gone
        return ""
