"""The guard: who may look, and what a browser may do with what it sees."""

from __future__ import annotations

import hashlib
import hmac
import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.web import is_loopback

OPEN = ("/healthz", "/readyz")
"""What anybody may ask: it tells nothing but yes or no, and why."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

YEAR_S = 365 * 24 * 3600

ASKS = (
    "A token is needed: add ?token=... to the address once, or send the header Authorization: Bearer ...; "
    "it is in the file of --web-token-file.\n"
)
STRANGE = "Without a token the page answers to the names of this machine alone: ask for localhost or 127.0.0.1.\n"


class Guard:
    """Lets through to `app` who shows the token, as a bearer, in a cookie, or once as ?token=, which sets it.

    Without a token it lets through who names this machine: a page elsewhere could give its own name this
    machine's address, and read along.
    """

    def __init__(self, app: ASGIApp, token: str | None, port: int) -> None:
        self._app = app
        self._token = token.encode() if token is not None else None
        self._cookie = f"binsight-{port}"
        # Not the token itself: who reads the browser's cookies does not learn what else opens the bin.
        self._proof = hmac.new(self._token or b"", b"binsight cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have `app` answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, sealed)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["path"] in OPEN:
            return None
        if self._token is None:
            return None if _names_us(headers.get("host", "")) else PlainTextResponse(STRANGE, 403)
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if shown and self._is_token(shown[0].encode()):
            return self._welcome(scope["path"])
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip().encode("latin-1")):
            return None
        if not shown and hmac.compare_digest(self._kept(headers).encode(), self._proof.encode()):
            return None
        return PlainTextResponse(ASKS, 401, {"WWW-Authenticate": "Bearer"})

    def _is_token(self, given: bytes) -> bool:
        return self._token is not None and hmac.compare_digest(given, self._token)

    def _kept(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    def _welcome(self, path: str) -> Response:
        """Keep the proof in the browser, and take the token out of its address line."""
        answer = RedirectResponse("/" + path.lstrip("/\\"), 303)  # `//name` would lead to another server
        answer.set_cookie(self._cookie, self._proof, max_age=YEAR_S, httponly=True, samesite="lax")
        return answer


def _names_us(host: str) -> bool:
    """Whether a Host header names this machine as only itself can reach it."""
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::\d+)?", host.lower())
    return found is not None and is_loopback(found[1] or found[2])
