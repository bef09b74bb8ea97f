"""The routes of the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edge.board import Board
from edge.metrics import CONTENT_TYPE, Metrics
from edge.pulse import is_ready, standstills
from edge.thermal import read_thermal
from edge.web import WebSettings
from edge.web.guard import Guard
from edge.web.live import Live
from edge.web.pace import Pace
from edge.web.state import state_of

STATIC = Path(__file__).parent / "static"

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

FRESH_S = 0.2
"""An answer that is no older serves whoever asks, in seconds: a thousand askers cost what five do."""

THERMAL_S = 2.0
"""The same for the board's heat, which takes a file for each zone."""

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """What `make` gave within the last `seconds`."""

    def __init__(self, make: Callable[[], Made], seconds: float) -> None:
        self._make, self._seconds = make, seconds
        self._kept: tuple[float, Made] | None = None

    def __call__(self) -> Made:
        """Return it, made anew where it is older."""
        now = time.monotonic()
        if self._kept is None or now - self._kept[0] >= self._seconds:
            self._kept = now, self._make()
        return self._kept[1]


class Answers:
    """What is answered to each address."""

    def __init__(self, board: Board, live: bool) -> None:
        self._board = board
        thermal = Kept(read_thermal, THERMAL_S)
        self._metrics = Kept(Metrics(board.snapshot, thermal).text, FRESH_S)
        self._state = Kept(lambda: msgspec.json.encode(state_of(board.snapshot(), thermal(), live)), FRESH_S)

    async def state(self, request: Request) -> Response:  # noqa: ARG002  the signature is starlette's
        """Answer with all that the page shows."""
        return Response(self._state(), media_type="application/json")

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        """Answer Prometheus."""
        return Response(self._metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def thumbnail(self, request: Request) -> Response:
        """Answer with the picture of a decision, which never changes."""
        found = self._board.thumbnail(request.path_params["name"])
        if found is None:
            return PlainTextResponse("The picture is not kept any more.\n", 404)
        return Response(
            found, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"}
        )

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """Answer 200 where the bin gets on, else 503 and what stands still."""
        still = standstills(self._board.snapshot())
        lines = [f"{one.part.value}: {one.why}, for {one.seconds:.0f} s" for one in still]
        return PlainTextResponse("\n".join(lines or ["ok"]) + "\n", 503 if still else 200)

    async def readiness(self, request: Request) -> Response:  # noqa: ARG002
        """Answer 200 where the next deposit would be decided on, else 503."""
        ready = is_ready(self._board.snapshot())
        return PlainTextResponse("ready\n" if ready else "not ready: no frames come\n", 200 if ready else 503)


def make_app(board: Board, settings: WebSettings, port: int, is_over: Callable[[], bool]) -> ASGIApp:
    """Return the application. `is_over`: whether answers without an end should end."""
    answers = Answers(board, settings.live)
    routes = [
        Route("/", _file(STATIC / "page.html")),
        *(Route(f"/{path.name}", _file(path)) for path in sorted(STATIC.iterdir())),
        Route("/events.json", answers.state),
        Route("/metrics", answers.metrics),
        Route("/healthz", answers.health),
        Route("/readyz", answers.readiness),
        Route("/thumb/{name}.jpg", answers.thumbnail),
    ]
    if settings.live:
        routes.append(Route("/live.mjpg", Live(board, is_over), methods=["GET"]))
    return Pace(Guard(Starlette(routes=routes), settings.token, port))


def _file(path: Path) -> Callable[[Request], Response]:
    answer = Response(path.read_bytes(), headers={"Content-Type": f"{KINDS[path.suffix]}; charset=utf-8"})

    async def give(request: Request) -> Response:  # noqa: ARG001  the signature is starlette's
        return answer

    return give  # type: ignore[return-value]
