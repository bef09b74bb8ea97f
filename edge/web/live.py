"""The live picture: JPEG after JPEG, as browsers show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from edge.board import Board, jpeg

BOUNDARY = "binsight"

WATCHERS = 4
"""That may look at once."""

QUALITY = 70

EACH_S = 0.1
"""Between two looks whether there is a new picture, in seconds."""


class Live:
    """Encodes a picture once, however many look, and none where nobody does."""

    def __init__(self, board: Board, is_over: Callable[[], bool]) -> None:
        self._board, self._is_over = board, is_over
        self._watchers = 0
        self._newest = (-1, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer without an end, until all is over; or that there are too many."""
        if self._watchers >= WATCHERS:
            busy = PlainTextResponse(f"{WATCHERS} are looking already; try again later.\n", 503)
            await busy(scope, receive, send)
            return
        self._watchers += 1
        try:
            kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
            await StreamingResponse(self._pictures(), media_type=kind)(scope, receive, send)
        finally:
            self._watchers -= 1

    async def _pictures(self) -> AsyncIterator[bytes]:
        sent = -1
        while not self._is_over():
            number, data = self._encoded()
            if number != sent:
                sent = number
                yield _part(data)
            await asyncio.sleep(EACH_S)

    def _encoded(self) -> tuple[int, bytes]:
        picture = self._board.picture()
        if picture is not None and picture.number != self._newest[0]:
            self._newest = picture.number, jpeg(picture.pixels, QUALITY)
        return self._newest


def _part(data: bytes) -> bytes:
    """The boundary stands behind the picture too: a browser shows it when it knows that it has ended."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    return f"--{BOUNDARY}\r\n{head}".encode() + data + f"\r\n--{BOUNDARY}\r\n".encode()
