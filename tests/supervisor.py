"""A small supervisor: it hears sd_notify, ends what falls silent, and starts it again, as systemd does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

ABORT_S = 2.0
"""Seconds from SIGABRT to SIGKILL."""

LOOK_S = 0.05


@dataclass
class Life:
    """One process of the daemon. Times are monotonic seconds."""

    process: subprocess.Popen[str]
    ready: float | None = None
    pings: list[float] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    stopping: bool = False
    silenced: float | None = None
    """When it was ended for its silence."""
    ended: float | None = None


class Supervisor:
    """Starts `command` and watches it from entering to leaving."""

    def __init__(
        self, command: Sequence[str | Path], folder: Path, patience: float, abstract: bool = False
    ) -> None:
        self._command, self._patience = command, patience
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"binsight-{os.getpid()}-{folder.name}"
        self._socket.bind(f"\0{name}" if abstract else str(folder / "notify"))
        self._socket.settimeout(LOOK_S)
        self._environment = {
            **os.environ,
            "NOTIFY_SOCKET": f"@{name}" if abstract else str(folder / "notify"),
            "WATCHDOG_USEC": str(int(patience * 1e6)),
        }
        self.log = folder / "log"
        self.lives: list[Life] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Supervisor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
        for life in self.lives:
            life.process.kill()
            life.process.wait()

    @property
    def pid(self) -> int:
        """The process that runs now."""
        return self.lives[-1].process.pid

    def _run(self) -> None:
        while not self._over.is_set():
            if not self.lives or self.lives[-1].ended:
                self._start()
            self._hear(self.lives[-1])
            self._judge(self.lives[-1])

    def _start(self) -> None:
        # No WATCHDOG_PID: it would have to be known before the process is.
        with self.log.open("a") as log:
            process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log, text=True)
        self.lives.append(Life(process))

    def _hear(self, life: Life) -> None:
        try:
            words = self._socket.recv(65536).decode().split("\n")
        except TimeoutError:
            return
        now = time.monotonic()
        if "READY=1" in words:
            life.ready = now
        if "WATCHDOG=1" in words:
            life.pings.append(now)
        life.stopping |= "STOPPING=1" in words
        life.statuses += [word.partition("=")[2] for word in words if word.startswith("STATUS=")]

    def _judge(self, life: Life) -> None:
        now = time.monotonic()
        if life.process.poll() is not None:
            life.ended = now
        elif life.silenced:
            if now - life.silenced > ABORT_S:
                life.process.kill()
        elif life.ready and now - max([life.ready, *life.pings[-1:]]) > self._patience:
            life.silenced = now
            life.process.send_signal(signal.SIGABRT)
            life.process.send_signal(signal.SIGCONT)
