"""The pace: however fast others ask, the page takes little of the time that the camera's loop needs."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from edge.sources.base import Clock

RATE, BURST = 100.0, 100.0
"""Requests a second in the long run, and at once: an answer takes about half a millisecond. A page that is opened
asks about 25 times, and then once a second."""


class Pace:
    """Lets requests wait for their turn. How many can wait is bounded by the connections."""

    def __init__(self, app: ASGIApp, clock: Clock = time.monotonic) -> None:
        self._app, self._clock = app, clock
        self._free = 0.0
        """When the turn of whoever asks next comes, were there no burst."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer when it is the request's turn."""
        now = self._clock()
        self._free = max(self._free, now - BURST / RATE) + 1 / RATE
        if self._free > now:
            await asyncio.sleep(self._free - now)
        await self._app(scope, receive, send)
