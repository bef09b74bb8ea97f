"""A command that runs for as long as the daemon: each line that it prints is a throw."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge import command_line
from edge.errors import TriggerError
from edge.sinks.mqtt_settings import MqttSettings
from edge.sources.base import Clock
from edge.triggers.base import WAITING, TriggerSettings
from edge.triggers.listening import Listening

LEASH = Path(__file__).with_name("leash.py")

LONGEST_TRY_S = 60.0
"""Between two starts of a command that ends, in seconds."""

BEGUN_S = 1.0
"""A command that has run for so long without a line is taken to be listening, in seconds."""

GOODBYE_S = 1.0
"""That it has to end by itself, in seconds."""

READ = 65536
"""Bytes that are read at a time: as many as a pipe holds."""


class CommandTrigger(Listening):
    """Reads every line as it comes, whoever wants it: the command never waits for a reader."""

    def __init__(self, words: list[str], hold_ms: int, clock: Clock = time.monotonic) -> None:
        super().__init__(words[0], hold_ms, LONGEST_TRY_S, clock)
        self._words = words

    def __enter__(self) -> CommandTrigger:
        return self

    def _attempt(self) -> None:
        # By a program of its own: code of ours between fork and exec is not safe beside other threads. The kernel
        # ends the command with the thread that started it, which is this one and lives as long as the trigger.
        command = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *self._words]
        try:
            process = subprocess.Popen(  # noqa: S603  the operator's own command
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
            )
        except OSError as error:
            raise TriggerError(f"its command can't be started: {error.strerror}") from error
        try:
            self._listen(process)
        finally:
            code = _end(process, asked=self._ended.is_set())
        if not self._ended.is_set():
            raise TriggerError(f"its command ended with {code}, and is started again")

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Count lines until there are no more."""
        assert process.stdout is not None  # noqa: S101
        out, begun = process.stdout.fileno(), self._clock()
        ears: list[Any] = [out, self._wake]
        while not self._ended.is_set():
            heard, _, _ = select.select(ears, [], [], BEGUN_S)
            if out in heard:
                said = os.read(out, READ)
                if not said:
                    return
                self._count(said)
            if self._clock() - begun >= BEGUN_S:
                self._standing.hears()

    def _count(self, said: bytes) -> None:
        for _ in range(min(said.count(b"\n"), WAITING)):
            self._throws.add(self._clock())
            self._standing.hears()
        if len(said) == READ:  # a flood: it must not take the time of the camera
            self._ended.wait(0.01)


def _end(process: subprocess.Popen[bytes], *, asked: bool) -> int | None:
    """End the command and all of its group, and return its exit code; None where it may not be ended."""
    assert process.stdout is not None  # noqa: S101
    process.stdout.close()
    with suppress(ProcessLookupError, PermissionError):
        if asked:
            os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GOODBYE_S
        # It is not reaped before its group is killed: until then nobody else can have the group's number.
        while time.monotonic() < deadline and not _is_over(process.pid):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GOODBYE_S)
    return process.returncode


def _is_over(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def open_command(settings: TriggerSettings, mqtt: MqttSettings | None, bin_id: str) -> CommandTrigger:  # noqa: ARG001
    """Start the command. Raises UsageError."""
    words = command_line.split(settings.text, "--trigger", "motion, mqtt, gpio://CHIP/LINE")
    trigger = CommandTrigger(words, settings.hold_ms)
    trigger.start()
    return trigger
