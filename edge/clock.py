"""The wall clock, which may jump: it dates what is said, and decides nothing."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    """Return the wall clock's time, in UTC."""
    return datetime.now(timezone.utc)


def written(time: datetime) -> str:
    """Write a time that knows its zone as RFC 3339 in UTC, to the millisecond."""
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
