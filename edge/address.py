"""Addresses with users and passwords in them, which nobody but the other end may see."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from edge.errors import BinsightError, SinkError
from edge.hidden import MARK, hidden


@dataclass(frozen=True)
class Address:
    """A URL taken apart."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query, as a request has them; may hold secrets."""
    shown: str
    """Scheme, host, port and path."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse(url: str, ports: dict[str, int], option: str, error: type[BinsightError] = SinkError) -> Address:
    """Take `url` apart. `ports`: each scheme that serves, and its usual port. Raises `error`, which shows neither
    user nor password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise error(f"{option} is no address; expected {_example(ports)}") from None
    if parts.scheme not in ports or not parts.hostname:
        raise error(f"{option} is {_shown(url)}; expected {_example(ports)}")
    query = f"?{parts.query}" if parts.query else ""
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or ports[parts.scheme],
        target=(parts.path or "/") + query,
        shown=_shown(url),
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _shown(url: str) -> str:
    """Return it without user, password, query and tokens."""
    if "://" not in url:
        return "no URL"
    return hidden(url).replace(f"{MARK}@", "", 1).partition("?")[0]


def _example(ports: dict[str, int]) -> str:
    return " or ".join(f"{scheme}://HOST[:{port}]" for scheme, port in ports.items())
