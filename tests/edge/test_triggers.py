from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from edge.cli.trigger import take_trigger, trigger_options
from edge.errors import GpioError, SinkError, UsageError
from edge.sinks import mqtt_client
from edge.sinks.flap import open_flap
from edge.sinks.mqtt_settings import MqttSettings
from edge.sinks.tls import TlsFiles
from edge.triggers import Trigger, TriggerSettings, base, command, open_trigger
from edge.triggers.base import STALE_S, WAITING, Throws
from edge.triggers.command import CommandTrigger
from edge.triggers.gpio import Bias, Edge, Switch, SwitchSettings, parse_switch
from edge.triggers.mqtt import MqttTrigger
from tests.broker import Broker, Listener, free_port
from tests.events import deposit, eventually
from tests.lines import Lines, installed

LINE = "gpio://gpiochip0/17"


def opened(text: str, hold_ms: int = 0, mqtt: MqttSettings | None = None) -> Trigger:
    trigger = open_trigger(TriggerSettings(text, hold_ms), mqtt, "b")
    assert trigger is not None
    return trigger


def thrown(trigger: Trigger, count: int, seconds: float = 15.0) -> None:
    """Wait for so many throws, and for no more of them."""
    found = 0

    def enough() -> bool:
        nonlocal found
        while trigger.poll(time.monotonic()):
            found += 1
        return found >= count

    eventually(enough, seconds)
    assert found == count


class TestThrows:
    def test_a_burst_is_one_throw(self) -> None:
        throws = Throws(0.3)
        for at in (10.0, 10.1, 10.29, 10.3, 10.5):
            throws.add(at)
        assert [throws.take(10.5) for _ in range(3)] == [True, True, False]

    def test_without_hold_each_signal_is_one(self) -> None:
        throws = Throws(0.0)
        for _ in range(5):
            throws.add(10.0)
        assert [throws.take(10.0) for _ in range(6)] == [True] * 5 + [False]

    def test_what_nobody_asked_for_in_time_is_over(self) -> None:
        throws = Throws(0.0)
        throws.add(10.0)
        throws.add(11.0)
        assert [throws.take(10.5 + STALE_S) for _ in range(2)] == [True, False]

    def test_no_more_wait_than_can_be_of_use(self) -> None:
        throws = Throws(0.0)
        for _ in range(3 * WAITING):
            throws.add(10.0)
        assert sum(throws.take(10.0) for _ in range(3 * WAITING)) == WAITING


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    return installed(monkeypatch)


class TestSwitch:
    def test_an_edge_is_heard_at_the_next_look_and_the_flap_moves_at_once(self, lines: Lines) -> None:
        flap = open_flap("gpio://gpiochip0/18?ms=1")
        with opened(LINE) as trigger:
            path, config, consumer = lines.settings
            assert not trigger.poll(time.monotonic())
            lines.edge()
            before = time.monotonic()
            assert trigger.poll(before)
            flap.act(deposit())
            assert not trigger.poll(time.monotonic())
            eventually(lines.values)
            assert lines.said[0][0] - before < 0.05
            assert trigger.healthy
        flap.close()
        wanted = config[17]
        assert (path, [*config], consumer) == ("/dev/gpiochip0", [17], "binsight")
        assert (wanted.direction, wanted.edge_detection, wanted.bias) == ("INPUT", "FALLING", "PULL_UP")
        assert (wanted.debounce_period.total_seconds(), wanted.event_clock) == (0.05, "MONOTONIC")
        assert lines.said[-1][1] == "release"

    def test_none_is_missed_between_two_looks(self, lines: Lines) -> None:
        with opened(LINE) as trigger:
            for number in range(50):
                lines.edge(10.0 + number / 50)
            assert [trigger.poll(11.0) for _ in range(51)] == [True] * 50 + [False]
        with opened(LINE, hold_ms=300) as trigger:
            for at in (10.0, 10.2, 10.4):
                lines.edge(at)
            assert [trigger.poll(11.0) for _ in range(3)] == [True, True, False]

    def test_what_happened_long_ago_is_no_throw(self, lines: Lines) -> None:
        with opened(LINE) as trigger:
            lines.edge(10.0)
            lines.edge(99.0)
            assert [trigger.poll(100.0) for _ in range(2)] == [True, False]

    def test_a_line_that_is_lost_is_said_once_and_comes_back(
        self, lines: Lines, caplog: pytest.LogCaptureFixture
    ) -> None:
        now = [100.0]
        settings = SwitchSettings("/dev/gpiochip0", 17)
        with Switch(settings, 0, lines.module(), clock=lambda: now[0]) as switch:
            lines.gone = lines.error = OSError(19, "No such device")
            for _ in range(600):
                assert not switch.poll(now[0])
                now[0] += 0.1
            assert not switch.healthy
            assert 6 <= lines.asked <= 10, "after 1 s, 2 s, 4 s, 8 s, and then every 10 s"
            assert caplog.text.count("it is gone: No such device; no throw is heard until that is mended") == 1
            assert caplog.text.count("line 17 of /dev/gpiochip0 can't be had: No such device") == 1
            lines.gone = lines.error = None
            for _ in range(130):  # at most 10 s and a quarter until it is tried again
                switch.poll(now[0])
                now[0] += 0.1
            lines.edge(now[0])
            assert switch.poll(now[0])
            assert switch.healthy
        assert not switch.poll(now[0] + 99), "what is closed stays closed"
        assert lines.said[-1][1] == "release"

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (
                OSError(16, "Device or resource busy"),
                "line 17 of /dev/gpiochip0 can't be had: gpio-keys has it; end",
            ),
            (PermissionError(13, "Permission denied"), "join the group gpio"),
            (FileNotFoundError(2, "No such file"), "no such chip (this machine has: "),
            (OSError(22, "Invalid argument"), "Invalid argument; expected a free line"),
        ],
    )
    def test_a_line_that_can_not_be_had(self, lines: Lines, error: OSError, words: str) -> None:
        lines.error, lines.holder = error, "gpio-keys"
        with pytest.raises(GpioError, match=re.escape(words)):
            opened(LINE)

    def test_a_line_that_the_chip_does_not_have(self, lines: Lines) -> None:
        lines.error = OSError(22, "Invalid argument")
        with pytest.raises(GpioError, match="the chip has lines 0 to 31; name one of them"):
            opened("gpio://gpiochip0/32")

    def test_without_gpiod_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gpiod", None)
        with pytest.raises(GpioError, match=r"--trigger gpio:// needs gpiod.*binsight\[gpio\]"):
            opened(LINE)

    def test_its_address(self) -> None:
        assert parse_switch(f"{LINE}?edge=both&debounce_ms=0&bias=none") == SwitchSettings(
            "/dev/gpiochip0", 17, Edge.BOTH, 0, Bias.NONE
        )
        for wrong in ("edge=up", "edge=", "debounce_ms=1001", "debounce_ms=-1", "bias=up", "bias"):
            with pytest.raises(UsageError, match=r"expected edge=falling\|rising\|both"):
                parse_switch(f"{LINE}?{wrong}")
        with pytest.raises(UsageError, match=r"egde is no option of a line; nearest: edge"):
            parse_switch(f"{LINE}?egde=both")
        with pytest.raises(UsageError, match=r"--trigger is gpio://17; expected gpio://gpiochip0/17"):
            parse_switch("gpio://17")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as broker:
        yield broker


def settings(broker: Broker | int, **more: Any) -> MqttSettings:
    return MqttSettings("127.0.0.1", broker if isinstance(broker, int) else broker.port, **more)


TOPIC = "binsight/b/trigger"


class TestMqtt:
    @pytest.mark.parametrize("version", ["5", "3.1.1"])
    def test_each_message_is_a_throw(self, broker: Broker, version: str) -> None:
        with Listener(broker.port, "none") as sender:
            with opened("mqtt", mqtt=settings(broker, version=version)) as trigger:
                eventually(lambda: trigger.healthy)
            sender.publish(TOPIC, "while the bin was away")
            sender.publish(TOPIC, "kept by the broker", retain=True)
            with opened("mqtt", mqtt=settings(broker, version=version)) as trigger:
                eventually(lambda: trigger.healthy)
                found = 0
                for number in range(200):
                    sender._client.publish(TOPIC, str(number), qos=1)
                    found += trigger.poll(time.monotonic())
                thrown(trigger, 200 - found)

    def test_a_broker_that_went_and_came_back(self, broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
        with opened("mqtt", mqtt=settings(broker)) as trigger:
            eventually(lambda: trigger.healthy)
            broker.end()
            eventually(lambda: not trigger.healthy)
            eventually(lambda: "it can't be reached: Connection refused" in caplog.text)
            broker.start()
            with Listener(broker.port, "none") as sender:
                eventually(lambda: trigger.healthy)
                sender.publish(TOPIC, "now")
                thrown(trigger, 1)
        assert "it is gone: the connection broke; no throw is heard until that is mended" in caplog.text

    def test_what_was_stuck_on_the_way_is_no_throw(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The thread stands still, as in a daemon that is stopped, while the broker goes on sending."""
        later, going, turn = [0.0], threading.Event(), mqtt_client.turn
        going.set()

        def clock() -> float:
            return time.monotonic() + later[0]

        def stalling(*arguments: Any) -> bool:
            going.wait(10)
            return turn(*arguments)

        monkeypatch.setattr(mqtt_client, "turn", stalling)
        with MqttTrigger(settings(broker), "b", 0, clock) as trigger, Listener(broker.port, TOPIC) as sender:
            trigger.start()
            eventually(lambda: trigger.healthy)
            going.clear()
            sender.publish(TOPIC, "too late")
            eventually(lambda: sender.messages)
            later[0] += STALE_S + 1
            assert not trigger.healthy
            going.set()
            eventually(lambda: trigger.healthy)
            sender.publish(TOPIC, "now")
            eventually(lambda: trigger.poll(clock()))
            assert not trigger.poll(clock())
        assert caplog.text.count("throws came late and are none") == 1

    def test_a_wrong_password_is_said_once_and_never_shown(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base, "FIRST_TRY_S", 0.02)
        caplog.set_level("DEBUG")
        passwords = tmp_path / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "bin", "right-one"], check=True)
        with Broker(tmp_path / "guarded", f"password_file {passwords}") as guarded:
            with opened("mqtt", mqtt=settings(guarded, user="bin", password="s3cret")) as trigger:
                eventually(lambda: trigger._standing._fails > 3)  # type: ignore[attr-defined]
        assert caplog.text.count("it refuses this bin: Not authorized; see --mqtt-user") == 1
        assert "s3cret" not in caplog.text

    def test_a_broker_that_lets_the_bin_read_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            with opened("mqtt", mqtt=settings(server.getsockname()[1], version="3.1.1")) as trigger:
                peer, _ = server.accept()
                with peer:
                    peer.recv(4096)
                    peer.sendall(bytes([0x20, 2, 0, 0]))
                    asked = peer.recv(4096)
                    assert TOPIC.encode() in asked
                    peer.sendall(bytes([0x90, 3]) + asked[2:4] + bytes([0x80]))
                    eventually(lambda: f"it does not let this bin read {TOPIC}: " in caplog.text)
                    assert not trigger.healthy

    def test_one_that_says_nothing_holds_nobody_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            trigger = opened("mqtt", mqtt=settings(server.getsockname()[1]))
            server.accept()[0].close()
            before = time.monotonic()
            trigger.close()
            trigger.close()
            assert time.monotonic() - before < 2
        with opened("mqtt", mqtt=settings(free_port())) as trigger:
            assert not trigger.poll(time.monotonic())
            assert not trigger.healthy

    def test_certificates_that_are_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SinkError, match="certificates to trust can't be read"):
            opened("mqtt", mqtt=settings(1, tls=TlsFiles(tmp_path / "nowhere.pem")))


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


DAEMON = """
import sys, time
from edge.triggers import TriggerSettings, open_trigger
trigger = open_trigger(TriggerSettings(sys.argv[1]))
time.sleep(100)
"""


class TestCommand:
    def test_each_line_is_a_throw(self, tmp_path: Path) -> None:
        with opened(f"sh -c 'echo a; echo; printf c; cat {tmp_path / 'pipe'}; exec sleep 100'") as trigger:
            os.mkfifo(tmp_path / "pipe")
            eventually(lambda: trigger.healthy)
            thrown(trigger, 2)

    def test_one_that_ends_is_started_again_and_that_is_said_once(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base, "FIRST_TRY_S", 0.02)
        with opened("sh -c 'echo; exit 3'") as trigger:
            thrown(trigger, 3)
            eventually(lambda: not trigger.healthy)
        assert caplog.text.count("the trigger sh: its command ended with 3, and is started again") == 1

    def test_it_never_waits_for_who_reads(self, tmp_path: Path) -> None:
        lines = 'head -c 3000000 /dev/zero | tr "\\0" "\\n"'
        with opened(f"sh -c '{lines}; echo > {tmp_path / 'done'}; exec sleep 100'") as trigger:
            eventually((tmp_path / "done").exists)
            assert trigger.poll(time.monotonic())

    @pytest.mark.parametrize("stubborn", ["", 'trap "" TERM; '])
    def test_it_ends_with_the_trigger_and_so_does_its_group(
        self, tmp_path: Path, stubborn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "BEGUN_S", 60.0)
        script = tmp_path / "script"
        script.write_text(
            f"#!/bin/sh\n{stubborn}sleep 100 &\necho $$ $! $(grep SigIgn /proc/self/status)\nwait\nsleep 100\n"
        )
        script.chmod(0o755)
        said = tmp_path / "said"
        trigger = opened(f"sh -c '{script} > {said}'")
        eventually(lambda: said.exists() and said.read_text().endswith("\n"))
        own, other, _, ignored = said.read_text().split()
        assert not int(ignored, 16) >> (signal.SIGPIPE - 1) & 1, "a pipe without a reader ends it"
        before = time.monotonic()
        trigger.close()
        assert time.monotonic() - before < 5
        eventually(lambda: is_gone(int(own)) and is_gone(int(other)))

    def test_it_does_not_outlive_a_daemon_that_is_killed(self, tmp_path: Path) -> None:
        said = tmp_path / "said"
        words = f"sh -c 'echo $$ > {said}; exec sleep 100'"
        with subprocess.Popen([sys.executable, "-c", DAEMON, words]) as daemon:
            eventually(lambda: said.exists() and said.read_text().endswith("\n"), 60)
            process = int(said.read_text())
            assert not is_gone(process)
            daemon.kill()
        eventually(lambda: is_gone(process))

    def test_what_is_no_command(self) -> None:
        with pytest.raises(
            UsageError, match=r"^--trigger: no program 'no-such-thing' is there; expected one on the"
        ):
            opened("no-such-thing --token s3cret")
        for wrong in ("", "'s3cret"):
            with pytest.raises(UsageError, match=r"^--trigger.*or motion, mqtt, gpio://CHIP/LINE$") as raised:
                opened(wrong)
            assert "s3cret" not in str(raised.value)

    def test_a_program_that_vanished_is_tried_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base, "FIRST_TRY_S", 0.02)
        script = tmp_path / "script"
        with CommandTrigger([str(script)], 0) as trigger:
            trigger.start()
            eventually(lambda: "its command ended with 127" in caplog.text)
            script.write_text("#!/bin/sh\necho\nexec sleep 100\n")
            script.chmod(0o755)
            thrown(trigger, 1)


def test_the_kinds() -> None:
    assert open_trigger(TriggerSettings()) is None
    with pytest.raises(UsageError, match="expected one of: motion, mqtt, gpio://, COMMAND") as raised:
        opened("mqtt://bin:s3cret@broker")
    assert "s3cret" not in str(raised.value)
    with pytest.raises(UsageError, match="--trigger mqtt listens to the broker of --mqtt; name one"):
        opened("mqtt")
    with opened("sh -c 'echo http://here; exec sleep 100'") as trigger:  # no scheme of the trigger's own
        thrown(trigger, 1)


def test_the_options() -> None:
    taken: list[TriggerSettings] = []

    @click.command()
    @trigger_options
    def program(**values: Any) -> None:
        taken.append(take_trigger(values))
        assert not values

    for words in ([], ["--trigger", LINE, "--trigger-hold", "0"], ["--trigger-hold", "-1"]):
        CliRunner().invoke(program, words)
    assert taken == [TriggerSettings("motion", 300), TriggerSettings(LINE, 0)]
