"""The page of a bin: what the board says, for people and for Prometheus."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edge import choices
from edge.board import Board
from edge.errors import UsageError

LOOPBACK = choices.LOOPBACK

SHORTEST = 16
"""Characters of a token, at least."""


@dataclass(frozen=True)
class WebSettings:
    """Where the page is, and for whom."""

    port: int
    """0: any that is free."""
    host: str = LOOPBACK
    """An address or a name of this machine."""
    token: str | None = field(default=None, repr=False)
    """Whoever shows it may look. None: whoever reaches the page may, which has to be this machine alone."""
    live: bool = False
    """Whether the live picture may be seen."""

    def __post_init__(self) -> None:
        """Raise UsageError where others than this machine would need no token, or a short one."""
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                f"--web {self.host} lets other machines look, and there is no token; name a file that holds one "
                "with --web-token-file, or leave the host out"
            )
        if self.token is not None and len(self.token) < SHORTEST:
            raise UsageError(
                f"the token of --web-token-file has {len(self.token)} characters; expected {SHORTEST} or more: "
                "`openssl rand -hex 16` makes one"
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise UsageError("the token of --web-token-file holds more than one line of plain ASCII characters")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def opened(settings: WebSettings, board: Board) -> Iterator[str]:
    """Serve the page until the block is left, and give its address. Raises UsageError where it can't listen."""
    from edge.web.app import make_app  # noqa: PLC0415  starlette, uvicorn and prometheus_client
    from edge.web.server import Server, listen  # noqa: PLC0415

    socket = listen(settings.host, settings.port)
    port = socket.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    ending = threading.Event()
    with Server(make_app(board, settings, port, ending.is_set), socket, ending):
        yield f"http://{host}:{port}/"
