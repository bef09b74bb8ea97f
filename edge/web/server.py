"""A server in a thread of its own, bounded in what many or slow clients can take from the rest of the process."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn import Server as Uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.errors import UsageError

log = logging.getLogger(__name__)

MOST = 48
"""Connections at once. Others are hung up on: a polite 503, as by limit_concurrency of uvicorn, costs five times
as much, nearly what an answer does."""

BACKLOG = 64
"""Connections that wait to be taken: asyncio takes so many at a time, and each is an open file."""

FIRST_S = 10.0
"""Within so many seconds a connection has to have asked for something."""

BOUND_S = 4.0
"""How long the end waits for the thread."""


def listen(host: str, port: int) -> socket.socket:
    """Return an open socket. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(BACKLOG)
        except OSError:
            made.close()
            raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"--web can't listen on {host}, port {port}: {why}; name another with --web") from error
    return made


class Bounded(H11Protocol):
    """HTTP/1.1 on one of a bounded number of connections."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or hang up."""
        if len(self.connections) >= MOST:
            transport.abort()
            return
        super().connection_made(transport)
        self._patience = self.loop.call_later(FIRST_S, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self in self.connections:  # else it was never taken
            self._patience.cancel()
            super().connection_lost(exc)

    def _hang_up(self) -> None:
        asked: object = self.cycle
        if asked is None:
            self.transport.abort()


class Server:
    """Serves `app` on `listening` from entering to leaving, when `ending` is set; owns the socket."""

    def __init__(self, app: ASGIApp, listening: socket.socket, ending: threading.Event) -> None:
        self._socket, self._ending = listening, ending
        self._server = Uvicorn(
            Config(
                app,
                http=Bounded,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # else a flood of requests would be one of lines
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._server.should_exit = True
        self._thread.join(BOUND_S)
        if self._thread.is_alive():  # it is a daemon and ends with the process
            log.warning("the page does not end in time")

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException:  # the bin goes on without its page
            log.exception("the page has ended")
        finally:
            self._socket.close()
