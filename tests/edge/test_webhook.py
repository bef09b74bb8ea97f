from __future__ import annotations

import base64
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge.delivery import Delivery
from edge.errors import SinkError
from edge.event import REFUSED
from edge.ledger import Recorder
from edge.outbox import Outbox
from edge.sinks.remote import UnreachableError
from edge.sinks.tls import TlsFiles
from edge.sinks.webhook import Webhook, WebhookSettings
from tests.certificates import Certificates
from tests.events import a_draft, eventually, open_outbox


class Server:
    """Answers what it is told to, and 204 when that is used up."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        """With a certificate and its key it speaks TLS."""
        self.answers: list[Callable[[BaseHTTPRequestHandler], None] | int] = []
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.got.append(({**self.headers, "path": self.path}, body))
                answer = outer.answers.pop(0) if outer.answers else 204
                if callable(answer):
                    answer(self)
                else:
                    say(self, answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = (
            f"{'https' if certificate else 'http'}://127.0.0.1:{self._server.server_address[1]}/bins?key=topsecret"
        )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def numbers(self) -> list[int]:
        return [int(event["sequence"]) for _, event in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def say(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None, body: bytes = b""
) -> None:
    handler.send_response(status)
    for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def nothing(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def later(seconds: float) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        say(handler, 204)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(tmp_path / "outbox.db", "webhook") as outbox:
        yield outbox


@contextmanager
def delivering(outbox: Outbox, settings: WebhookSettings) -> Iterator[Recorder]:
    deliveries: list[Delivery] = []
    recorder = Recorder(outbox, "b", lambda: [one.wake() for one in deliveries])
    delivery = Delivery(Webhook(settings), outbox.path, "b", recorder.post, jitter=lambda: 0.0)
    deliveries.append(delivery)
    delivery.start()
    try:
        yield recorder
    finally:
        delivery.close(linger=1.0)


def empty(outbox: Outbox) -> Callable[[], bool]:
    return lambda: outbox.counters().depth == 0


def test_each_event_is_one_request_in_order(server: Server, outbox: Outbox) -> None:
    with delivering(outbox, WebhookSettings(server.url, token="t0ken")) as recorder:
        events = [event for _ in range(20) for event in recorder.commit(a_draft())]
        eventually(empty(outbox))
    assert [event["id"] for _, event in server.got] == [event.id for event in events]
    headers, body = server.got[0]
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["path"] == "/bins?key=topsecret"
    assert (body["specversion"], body["type"]) == ("1.0", "binsight.deposit")


def test_user_and_password_in_the_url_are_basic_authentication(server: Server, outbox: Outbox) -> None:
    url = server.url.replace("//", "//bin:p%40ss@")
    with delivering(outbox, WebhookSettings(url)) as recorder:
        recorder.commit(a_draft())
        eventually(empty(outbox))
    assert server.got[0][0]["Authorization"] == "Basic " + base64.b64encode(b"bin:p@ss").decode()


@pytest.mark.parametrize("trouble", [500, 503, 408, 429, 404, 401, 301, nothing])
def test_what_may_pass_is_tried_again(server: Server, outbox: Outbox, trouble: Any) -> None:
    server.answers = [204, trouble, trouble]
    with delivering(outbox, WebhookSettings(server.url)) as recorder:
        for _ in range(3):
            recorder.commit(a_draft())
        eventually(empty(outbox))
    numbers = server.numbers()
    assert sorted({*numbers}) == [1, 2, 3]
    assert numbers == sorted(numbers)
    assert numbers.count(2) >= 2
    assert outbox.counters().dead == 0
    ids = {event["id"] for _, event in server.got if event["sequence"] == "2"}
    assert len(ids) == 1


@pytest.mark.parametrize("status", [413, 400, 422])
def test_what_never_will_be_taken_is_set_aside_and_the_order_goes_on(
    server: Server, outbox: Outbox, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [204, status, 204]
    with delivering(outbox, WebhookSettings(server.url)) as recorder:
        for _ in range(3):
            recorder.commit(a_draft())
        eventually(empty(outbox))
        assert server.numbers() == [1, 2, 3]
        assert outbox.counters().dead == 1
        (report,) = eventually(recorder.flush)
        eventually(empty(outbox))
    assert (report.type, report.data.sink, report.data.count, report.data.last) == (REFUSED, "webhook", 1, 2)
    assert str(status) in report.data.why
    assert f"will never take event 2: {status}" in caplog.text
    assert server.got[-1][1]["type"] == REFUSED


def test_a_report_that_is_refused_is_not_reported(server: Server, outbox: Outbox) -> None:
    server.answers = [413] * 50
    with delivering(outbox, WebhookSettings(server.url)) as recorder:
        recorder.commit(a_draft())
        eventually(recorder.flush)
        eventually(empty(outbox))
        time.sleep(0.2)
        assert recorder.flush() == ()
    assert outbox.counters().dead == 2


def test_a_slow_server_is_waited_for_and_a_silent_one_given_up(
    server: Server, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [later(0.2), later(1.5)]
    with delivering(outbox, WebhookSettings(server.url, timeout=0.5)) as recorder:
        for _ in range(2):
            recorder.commit(a_draft())
        eventually(empty(outbox))
    assert server.numbers() == [1, 2, 2]
    assert "no answer in time" in caplog.text


def test_committing_never_waits_for_the_server(server: Server, outbox: Outbox) -> None:
    server.answers = [later(1.0)]
    with delivering(outbox, WebhookSettings(server.url)) as recorder:
        recorder.commit(a_draft())
        eventually(lambda: server.got)
        before = time.monotonic()
        for _ in range(5):
            recorder.commit(a_draft())
        assert time.monotonic() - before < 0.7


def test_credentials_are_in_no_message(server: Server, outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = [500, nothing]
    settings = WebhookSettings(server.url.replace("//", "//bin:passw0rd@"), token="t0ken")
    with delivering(outbox, settings) as recorder:
        recorder.commit(a_draft())
        eventually(empty(outbox))
    assert "answers 500" in caplog.text
    for secret in ("passw0rd", "t0ken", "topsecret"):
        assert secret not in caplog.text + repr(settings)


def test_a_certificate_of_another_host(outbox: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificates = Certificates(tmp_path / "certificates")
    trust = TlsFiles(certificates.authority)
    with (
        closing(Server(certificates.make("elsewhere.example"))) as stranger,
        closing(Server(certificates.make("127.0.0.1"))) as right,
    ):
        with delivering(outbox, WebhookSettings(stranger.url, token="t0ken", tls=trust)) as recorder:
            recorder.commit(a_draft())
            eventually(lambda: "its certificate does not hold: IP address mismatch" in caplog.text)
        with delivering(outbox, WebhookSettings(right.url, token="t0ken", tls=trust)):
            eventually(empty(outbox))
        assert (stranger.got, right.numbers()) == ([], [1]), "nobody else gets event or token"


class TestRetryAfter:
    def asked(self, server: Server, said: str) -> float:
        server.answers = [lambda handler: say(handler, 429, {"Retry-After": said})]
        webhook = Webhook(WebhookSettings(server.url), now=lambda: 1_700_000_000.0)
        try:
            webhook.connect("e", lambda: False)
            from edge.pending import Row

            with pytest.raises(UnreachableError, match="429") as raised:
                webhook.send(Row(1, "t", b"{}"))
        finally:
            webhook.close()
        return raised.value.after

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            ("7", 7.0),
            (formatdate(1_700_000_030.0, usegmt=True), 30.0),
            (formatdate(1_600_000_000.0, usegmt=True), 0.0),
            ("99999999", 3600.0),
            ("soon", 0.0),
        ],
    )
    def test_seconds_and_dates(self, server: Server, said: str, seconds: float) -> None:
        assert self.asked(server, said) == seconds

    def test_it_is_kept(self, server: Server, outbox: Outbox) -> None:
        server.answers = [lambda handler: say(handler, 429, {"Retry-After": "1"})]
        with delivering(outbox, WebhookSettings(server.url)) as recorder:
            before = time.monotonic()
            recorder.commit(a_draft())
            eventually(empty(outbox))
            assert time.monotonic() - before >= 1.0


def test_an_answer_without_end_is_not_read_to_its_end(server: Server, outbox: Outbox) -> None:
    server.answers = [lambda handler: say(handler, 200, body=b"x" * 1_000_000)] * 2
    with delivering(outbox, WebhookSettings(server.url)) as recorder:
        for _ in range(3):
            recorder.commit(a_draft())
        eventually(empty(outbox))
    assert server.numbers() == [1, 2, 3]


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "http://", "https://user:passw0rd@host:port/", "host:80", "http://[::1", ""]
)
def test_what_is_no_address_is_said_without_its_secrets(url: str) -> None:
    with pytest.raises(SinkError, match=r"--webhook .*expected https://HOST") as raised:
        Webhook(WebhookSettings(url))
    assert "passw0rd" not in str(raised.value)


def test_a_token_of_two_lines() -> None:
    with pytest.raises(SinkError, match="token of the webhook"):
        Webhook(WebhookSettings("http://host/", token="a\r\nX: b"))
