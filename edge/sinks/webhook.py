"""Events to a web server: one POST each, as the CloudEvents binding for HTTP has it."""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from edge import __version__
from edge.address import Address, parse
from edge.errors import SinkError
from edge.pending import Row
from edge.sinks import tls
from edge.sinks.remote import Answer, Never, Taken, UnreachableError
from edge.wake import Wake

PORTS = {"https": 443, "http": 80}

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
"""The structured content mode: the envelope is the body."""

OWN_FAULT = frozenset({400, 406, 409, 411, 413, 414, 415, 422, 431})
"""Statuses that this very event earned, and would earn again. All others may change: the server recovers, or
somebody mends address or token."""

BODY_READ = 4096
"""Bytes of an answer that are read, so that the connection can serve again."""

LONGEST_WAIT_S = 3600.0
"""Of a Retry-After, in seconds."""


@dataclass(frozen=True)
class WebhookSettings:
    """One server."""

    url: str = field(repr=False)
    """http or https; user and password in it are sent as basic authentication."""
    token: str | None = field(default=None, repr=False)
    """Sent as a bearer token."""
    tls: tls.TlsFiles = field(default_factory=tls.TlsFiles)
    timeout: float = 10.0
    """Seconds that the server has to answer."""


class Webhook:
    """A connection that is kept for as long as the server likes."""

    name = "webhook"
    window = 1
    patience: float | None = None

    def __init__(self, settings: WebhookSettings, now: Callable[[], float] = time.time) -> None:
        """Raises SinkError where the URL or the certificates can't serve."""
        self._address = parse(settings.url, PORTS, "--webhook")
        self._settings, self._now = settings, now
        self._headers = _headers(self._address, settings)
        self._tls = tls.context(settings.tls) if self._address.scheme == "https" else None
        self.place = self._address.shown
        self._connection: http.client.HTTPConnection | None = None
        self._answers: list[Answer] = []

    def connect(self, epoch: str, ended: Callable[[], bool]) -> None:  # noqa: ARG002  the protocol's
        """Nothing yet: whether the server is there shows with the first event."""
        self._answers = []

    def send(self, row: Row, *, ahead: bool = False) -> None:
        """Post a row and wait for the answer."""
        status, reason, after = self._post(row)
        if 200 <= status < 300:
            answer: Answer = Taken(row.sequence)
        elif status in OWN_FAULT:
            answer = Never(row, f"{status} {reason}".strip())
        else:
            raise UnreachableError(f"{self.place} answers {status} {reason}".strip(), after)
        if not ahead:
            self._answers.append(answer)

    def arrived(self) -> bool:
        """Say that it has: a request ends with its answer."""
        return True

    def receive(self, wake: Wake, seconds: float) -> Sequence[Answer]:
        """Return the answer to what was sent, else wait."""
        answers, self._answers = self._answers, []
        if not answers:
            wake.wait(seconds)
        return answers

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, row: Row) -> tuple[int, str, float]:
        """Return status, reason and the seconds that the server asked for."""
        used = self._connection is not None
        try:
            try:
                return self._request(row)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not used:
                    raise
                self.close()  # a server may end a connection that was idle: once more on a new one
                return self._request(row)
        except OSError as error:
            raise UnreachableError(f"{self.place} can't be reached: {tls.why(error)}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise UnreachableError(f"{self.place} does not speak HTTP: {type(error).__name__}") from error

    def _request(self, row: Row) -> tuple[int, str, float]:
        if self._connection is None:
            self._connection = self._open()
        self._connection.request("POST", self._address.target, body=row.body, headers=self._headers)
        answer = self._connection.getresponse()
        answer.read(BODY_READ)
        if not answer.isclosed():  # it has more to say than anybody wants to know
            self.close()
        # The words of the standard: the server's own may echo what it was sent, token and all.
        reason = http.client.responses.get(answer.status, "")
        return answer.status, reason, self._after(answer.headers.get("Retry-After"))

    def _open(self) -> http.client.HTTPConnection:
        host, port, timeout = self._address.host, self._address.port, self._settings.timeout
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)

    def _after(self, said: str | None) -> float:
        """Read Retry-After: seconds or a date."""
        if said is None:
            return 0.0
        try:
            seconds = float(said) if said.isdecimal() else parsedate_to_datetime(said).timestamp() - self._now()
        except (ValueError, TypeError, OverflowError):
            return 0.0
        return min(max(0.0, seconds), LONGEST_WAIT_S)


def _headers(address: Address, settings: WebhookSettings) -> dict[str, str]:
    headers = {"Content-Type": CONTENT_TYPE, "User-Agent": f"binsight/{__version__}"}
    if settings.token is not None:
        if not settings.token.isascii() or not settings.token.isprintable():
            raise SinkError("the token of the webhook holds what no header may; expected one line of ASCII")
        headers["Authorization"] = f"Bearer {settings.token}"
    elif address.user is not None:
        pair = f"{address.user}:{address.password or ''}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return headers
