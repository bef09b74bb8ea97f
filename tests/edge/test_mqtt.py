from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.delivery import Delivery
from edge.errors import SinkError
from edge.event import DROPPED
from edge.ledger import Recorder
from edge.outbox import Outbox
from edge.sinks.mqtt import Mqtt
from edge.sinks.mqtt_settings import Acknowledge, MqttSettings
from edge.sinks.tls import TlsFiles
from tests.broker import Broker, Listener, free_port
from tests.certificates import Certificates
from tests.events import a_draft, bodies, eventually, open_outbox


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def settings(broker: Broker | int, **more: Any) -> MqttSettings:
    return MqttSettings("127.0.0.1", broker if isinstance(broker, int) else broker.port, **more)


@contextmanager
def delivering(outbox: Outbox, sink: MqttSettings) -> Iterator[Recorder]:
    posted: list[Any] = []
    delivery = Delivery(Mqtt(sink, "b"), outbox.path, "b", posted.append, jitter=lambda: 0.0)
    recorder = Recorder(outbox, "b", woken=delivery.wake)
    delivery.start()
    try:
        yield recorder
    finally:
        delivery.close(linger=1.0)


def publish(recorder: Recorder, count: int, label: str = "can") -> None:
    for _ in range(count):
        recorder.commit(a_draft(label))


def empty(outbox: Outbox) -> Callable[[], bool]:
    return lambda: outbox.counters().depth == 0


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_events_come_in_order_and_leave_the_outbox(broker: Broker, path: Path, version: str) -> None:
    with Listener(broker.port) as listener, open_outbox(path) as outbox:
        with delivering(outbox, settings(broker, version=version)) as recorder:
            publish(recorder, 200)
            eventually(empty(outbox))
            eventually(lambda: len(listener.events()) == 200)
            before = time.monotonic()
            publish(recorder, 1)
            eventually(lambda: len(listener.events()) == 201)
            assert time.monotonic() - before < 2, "a commit wakes the delivery"
            assert listener.said("binsight/b/available") == ["online"]
        eventually(lambda: listener.said("binsight/b/available") == ["online", "offline"])
        assert listener.numbers() == list(range(1, 202))
        assert {event["epoch"] for event in listener.events()} == {outbox.epoch}
    with Listener(broker.port, "binsight/b/available") as late:
        eventually(lambda: late.messages == [("binsight/b/available", b"offline", True)])


def test_a_bin_that_dies_is_offline_by_its_last_will(broker: Broker, path: Path) -> None:
    with Listener(broker.port) as listener, open_outbox(path):
        sink = Mqtt(settings(broker), "b")
        sink.connect("e", lambda: False)
        eventually(lambda: listener.said("binsight/b/available") == ["online"])
        sock = sink._client.socket()  # type: ignore[union-attr]
        sock.shutdown(socket.SHUT_RDWR)
        eventually(lambda: listener.said("binsight/b/available") == ["online", "offline"])
        sink.close()


def test_what_was_committed_while_the_broker_was_away_comes_with_its_ids(broker: Broker, path: Path) -> None:
    broker.end()
    with open_outbox(path) as outbox:
        with delivering(outbox, settings(broker)) as recorder:
            publish(recorder, 5)
            time.sleep(0.3)
        ids = [event["id"] for event in bodies(path)]
        assert len(ids) == 5
    with open_outbox(path) as outbox, delivering(outbox, settings(broker)) as recorder:
        publish(recorder, 1)
        broker.start()
        with Listener(broker.port, name="consumer"):
            pass
        eventually(empty(outbox))
    with Listener(broker.port, name="consumer") as listener:
        eventually(lambda: len(listener.events()) >= 6)
        assert [event["id"] for event in listener.events()][:5] == ids


def test_with_the_brokers_word_events_stay_until_it_has_given_it(path: Path) -> None:
    """A broker that accepts everything and acknowledges nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, open_outbox(path) as outbox:
        with delivering(outbox, settings(server.getsockname()[1], version="3.1.1")) as recorder:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(bytes([0x20, 2, 0, 0]))
                publish(recorder, 100)
                seen = b""
                peer.settimeout(1.0)
                with suppress(TimeoutError):
                    while more := peer.recv(65536):
                        seen += more
        assert b'"sequence":"64"' in seen
        assert b'"sequence":"65"' not in seen, "no more than the window is on its way"
        assert outbox.counters().depth == 100


class TestApplication:
    def test_rows_go_when_the_application_has_said_so(self, broker: Broker, path: Path) -> None:
        sink = settings(broker, acknowledge=Acknowledge.APPLICATION)
        with Listener(broker.port) as listener, open_outbox(path) as outbox:
            with delivering(outbox, sink) as recorder:
                publish(recorder, 10)
                eventually(lambda: len(listener.events()) == 10)
                time.sleep(0.2)
                assert outbox.counters().depth == 10
                for nonsense in ("no json", "[]", '{"epoch": "e", "sequence": 10}', '{"sequence": 9}', "[" * 2000):
                    listener.publish("binsight/b/ack", nonsense)
                listener.publish("binsight/b/ack", json.dumps({"epoch": outbox.epoch, "sequence": 4}))
                eventually(lambda: outbox.counters().depth == 6)
                listener.publish("binsight/b/ack", json.dumps({"epoch": outbox.epoch, "sequence": "10"}))
                eventually(empty(outbox))

    def test_a_broker_that_takes_one_at_a_time(self, tmp_path: Path, path: Path) -> None:
        with Broker(tmp_path / "narrow", "max_inflight_messages 1") as narrow, open_outbox(path) as outbox:
            with Listener(narrow.port) as listener:
                with delivering(outbox, settings(narrow, acknowledge=Acknowledge.APPLICATION)) as recorder:
                    publish(recorder, 100)
                    eventually(lambda: len(listener.events()) == 64)
                    listener.acks = True
                    listener.publish("binsight/b/ack", json.dumps({"epoch": outbox.epoch, "sequence": 64}))
                    eventually(empty(outbox))
                assert listener.numbers() == list(range(1, 101))

    def test_what_is_not_acknowledged_in_time_is_sent_again(self, broker: Broker, path: Path) -> None:
        sink = settings(broker, acknowledge=Acknowledge.APPLICATION, patience=0.3)
        with Listener(broker.port) as listener, open_outbox(path) as outbox:
            with delivering(outbox, sink) as recorder:
                publish(recorder, 3)
                eventually(lambda: listener.numbers()[:6] == [1, 2, 3, 1, 2, 3])
                listener.acks = True
                eventually(empty(outbox))
            ids: dict[int, set[str]] = {}
            for event in listener.events():
                ids.setdefault(int(event["sequence"]), set()).add(event["id"])
            assert {number: len(known) for number, known in ids.items()} == {1: 1, 2: 1, 3: 1}

    def test_a_retained_acknowledgement_spares_sending_again(self, broker: Broker, path: Path) -> None:
        with open_outbox(path) as outbox, Listener(broker.port) as listener:
            publish(Recorder(outbox, "b"), 5)
            said = {"epoch": outbox.epoch, "sequence": 5}
            listener.publish("binsight/b/ack", json.dumps(said), retain=True)
            with delivering(outbox, settings(broker, acknowledge=Acknowledge.APPLICATION)):
                eventually(empty(outbox))
            numbers = [event["sequence"] for event in listener.events()]
            assert len(numbers) == len({*numbers}), "sent before the word came, at most once"

    def test_numbers_that_were_dropped_are_told_of_before_the_window_is_full(
        self, broker: Broker, path: Path
    ) -> None:
        """Else an application that waits for the missing ones would wait for ever."""
        sink = settings(broker, acknowledge=Acknowledge.APPLICATION, window=4)
        with open_outbox(path, limit=20_000) as outbox, Listener(broker.port) as listener:
            publish(Recorder(outbox, "b"), 60)
            with delivering(outbox, sink):
                eventually(lambda: len(listener.events()) == 5)
            notice, *rest = listener.events()
        assert notice["type"] == DROPPED
        assert notice["data"]["ranges"][0] == [1, int(rest[0]["sequence"]) - 1]


def test_five_broker_kills_lose_nothing_that_the_application_waits_for(broker: Broker, path: Path) -> None:
    rng = random.Random(3)
    sink = settings(broker, acknowledge=Acknowledge.APPLICATION, patience=2.0)
    with Listener(broker.port, acks=True) as listener, open_outbox(path) as outbox:
        with delivering(outbox, sink) as recorder:
            for _ in range(5):
                publish(recorder, 40)
                time.sleep(rng.uniform(0, 0.2))
                broker.end()
                publish(recorder, 10)
                broker.start()
            eventually(empty(outbox), 40)
    ids: dict[int, set[str]] = {}
    for event in listener.events():
        ids.setdefault(int(event["sequence"]), set()).add(event["id"])
    assert sorted(ids) == list(range(1, 251))
    assert all(len(known) == 1 for known in ids.values()), "a duplicate has the id of its original"


class TestTrouble:
    def warned(self, path: Path, sink: MqttSettings, caplog: pytest.LogCaptureFixture) -> str:
        with open_outbox(path) as outbox, delivering(outbox, sink) as recorder:
            publish(recorder, 2)
            eventually(lambda: caplog.records)
            time.sleep(0.7)  # it has tried again, and says nothing new
            assert outbox.counters().depth == 2
        (record,) = (record for record in caplog.records if record.levelname == "WARNING")
        return record.getMessage()

    def test_nobody_there(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        port = free_port()
        said = self.warned(path, settings(port), caplog)
        assert said == f"mqtt://127.0.0.1:{port} can't be reached: Connection refused; events wait in {path}"

    @pytest.mark.parametrize("version", ["5", "3.1.1"])
    def test_a_wrong_password_is_said_and_never_shown(
        self, tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture, version: str
    ) -> None:
        passwords = tmp_path / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "bin", "right-one"], check=True)
        caplog.set_level("DEBUG")
        with Broker(tmp_path / "guarded", f"password_file {passwords}") as guarded:
            sink = settings(guarded, user="bin", password="s3cret", version=version)
            said = self.warned(path, sink, caplog)
            assert "refuses this bin: Not authorized; see --mqtt-user, --mqtt-password-file" in said
            assert "s3cret" not in caplog.text + repr(sink)
            login = {"user": "bin", "password": "right-one"}
            with open_outbox(path) as outbox, delivering(outbox, replace(sink, password="right-one")):
                eventually(empty(outbox))
            with Listener(guarded.port, "binsight/b/available", **login) as listener:
                eventually(lambda: listener.said("binsight/b/available"))

    # paho leaves a socket whose handshake fails to the garbage collector.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_certificate_of_another_host(
        self, tmp_path: Path, path: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        files = TlsFiles(certificates.authority)
        for host, words in (("elsewhere.example", "IP address mismatch"), ("127.0.0.1", "")):
            certificate, key = certificates.make(host)
            lines = (f"certfile {certificate}", f"keyfile {key}")
            with Broker(tmp_path / host, *lines) as broker:
                if words:
                    said = self.warned(path, settings(broker, tls=files), caplog)
                    assert "its certificate does not hold: " in said
                    assert words in said
                    continue
                with open_outbox(path) as outbox, delivering(outbox, settings(broker, tls=files)):
                    eventually(empty(outbox))

    def test_a_certificate_of_the_bins_own(self, tmp_path: Path, path: Path, certificates: Certificates) -> None:
        certificate, key = certificates.make("127.0.0.1")
        own, own_key = certificates.make("b")
        lines = (
            f"certfile {certificate}", f"keyfile {key}", f"cafile {certificates.authority}",
            "require_certificate true", "use_identity_as_username true",
        )  # fmt: skip
        with Broker(tmp_path / "strict", *lines) as broker, open_outbox(path) as outbox:
            with delivering(
                outbox, settings(broker, tls=TlsFiles(certificates.authority, own, own_key))
            ) as recorder:
                publish(recorder, 3)
                eventually(empty(outbox))
            with delivering(outbox, settings(broker, tls=TlsFiles(certificates.authority))) as recorder:
                publish(recorder, 1)
                time.sleep(0.5)
                assert outbox.counters().depth == 1

    def test_certificates_that_are_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(
            SinkError, match=r"certificates to trust can't be read from .*nowhere\.pem: No such file"
        ):
            Mqtt(settings(1, tls=TlsFiles(tmp_path / "nowhere.pem")), "b")

    def test_a_broker_that_takes_no_events_of_this_bin(
        self, tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "acl").write_text("topic read #\n")
        with Broker(tmp_path / "strict", f"acl_file {tmp_path / 'acl'}") as broker:
            assert "it takes no events of this bin: Not authorized" in self.warned(path, settings(broker), caplog)

    def test_a_broker_that_is_frozen_is_given_up(
        self, broker: Broker, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with open_outbox(path) as outbox, delivering(outbox, settings(broker, keepalive=1)) as recorder:
            publish(recorder, 1)
            eventually(empty(outbox))
            broker._process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
            publish(recorder, 1)
            eventually(lambda: "is gone" in caplog.text)
            broker._process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
            eventually(empty(outbox))

    def test_closing_does_not_wait_for_a_peer_that_says_nothing(self, path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server, open_outbox(path) as outbox:
            recorder = Recorder(outbox, "b")
            publish(recorder, 1)
            delivery = Delivery(Mqtt(settings(server.getsockname()[1]), "b"), path, "b", recorder.post)
            delivery.start()
            time.sleep(0.1)
            before = time.monotonic()
            delivery.close(linger=0.2)
            assert time.monotonic() - before < 2


def test_home_assistant_is_told(broker: Broker, path: Path) -> None:
    with Listener(broker.port, "#") as listener, open_outbox(path) as outbox:
        with delivering(outbox, settings(broker, discovery=True)):
            topic = "homeassistant/sensor/binsight_b/deposit/config"
            (said,) = eventually(lambda: listener.said(topic))
    config = json.loads(said)
    assert config["state_topic"] == "binsight/b/events"
    assert config["availability_topic"] == "binsight/b/available"
    assert config["unique_id"] == "binsight_b_deposit"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")
