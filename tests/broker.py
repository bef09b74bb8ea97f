"""A real mosquitto, with the settings of deploy/mosquitto.conf, and someone who listens to it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
import pytest

SETTINGS = Path(__file__).resolve().parent.parent / "deploy" / "mosquitto.conf"
OTHERS = ("persistence_location", "allow_anonymous", "password_file", "listener", "cafile", "certfile", "keyfile")


def mosquitto() -> str:
    """Return the program, or skip the test."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if not found:
        pytest.skip("no mosquitto here; apt-get install mosquitto")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """May be killed and started again on the same port, with the same store."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self._program = mosquitto()
        self.port = free_port()
        folder.mkdir(exist_ok=True)
        kept = [line for line in SETTINGS.read_text().splitlines() if not line.startswith(OTHERS)]
        # In memory where that can be: it saves after each change, and a kill leaves what was written either way.
        memory = Path("/dev/shm")
        self._store = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else folder)
        own = [
            f"persistence_location {self._store.name}/",
            f"listener {self.port} 127.0.0.1",
            *lines,
            "log_dest stderr",
        ]
        if not any(line.startswith("password_file") for line in lines):
            own.append("allow_anonymous true")
        if subprocess.run(["id", "-u"], capture_output=True, check=True).stdout == b"0\n":
            own.append("user root")
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text("\n".join([*kept, *own]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._log = (self._settings.parent / "log").open("ab")
        self._process = subprocess.Popen([self._program, "-c", self._settings], stdout=self._log, stderr=self._log)
        for _ in range(1000):
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", self.port)):
                    return
            assert self._process.poll() is None, (self._settings.parent / "log").read_text()
            time.sleep(0.01)
        raise AssertionError("mosquitto does not answer")

    def end(self, signum: signal.Signals = signal.SIGKILL) -> None:
        if self._process:
            self._process.send_signal(signum)
            self._process.wait()
            self._log.close()
            self._process = None

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._store.cleanup()


class Listener:
    """Keeps every message; its session lives on at the broker. Where `acks`, it acknowledges what it has
    without a gap."""

    def __init__(
        self, port: int, topic: str = "binsight/#", acks: bool = False, name: str = "", **login: str
    ) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        """Topic, payload, retained."""
        self.acks = acks
        self._had: dict[str, int] = {}
        """Epoch to the number up to which all has come."""
        self._topic = topic
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            name or f"listener-{uuid.uuid4()}",
            clean_session=False,
            protocol=paho.MQTTv311,
        )
        if login:
            self._client.username_pw_set(login["user"], login["password"])
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._ready = False
        self._client.on_subscribe = self._on_subscribe
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        end = time.monotonic() + 15
        while not self._ready:
            assert time.monotonic() < end
            time.sleep(0.01)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for topic, payload, _ in [*self.messages] if topic.endswith("/events")]

    def numbers(self) -> list[int]:
        return [int(event["sequence"]) for event in self.events()]

    def said(self, topic: str) -> list[str]:
        return [payload.decode() for name, payload, _ in [*self.messages] if name == topic]

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(15)

    def _on_connect(self, client: Any, *_: object) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_subscribe(self, *_: object) -> None:
        self._ready = True

    def _on_message(self, client: Any, _: object, message: Any) -> None:
        self.messages.append((message.topic, message.payload, message.retain))
        if not message.topic.endswith("/events"):
            return
        event = json.loads(message.payload)
        epoch, had = event["epoch"], self._had.get(event["epoch"], 0)
        had = self._had[epoch] = had + (int(event["sequence"]) == had + 1)
        if self.acks:
            ack = json.dumps({"epoch": epoch, "sequence": had})
            client.publish(message.topic.replace("/events", "/ack"), ack, qos=1)

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
