"""A configuration file: TOML whose keys are the long options of a command."""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from edge.errors import ConfigError
from edge.hidden import MARK

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST = 1 << 20
"""Bytes of a file that is read."""


class Kind(Enum):
    """What a key takes, in words."""

    FLAG = "true or false"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TEXT = "text in quotes"


@dataclass(frozen=True)
class Key:
    """What may stand behind a key."""

    kind: Kind
    many: bool = False
    """Whether it is a list of those."""


@dataclass(frozen=True)
class Setting:
    """What a file says of one key."""

    key: str
    value: Any
    """bool, int, float, str, or a list of one of these: as the key wants it."""
    place: str
    """Where it stands: `bin.toml, line 3`."""


def read(path: Path, keys: Mapping[str, Key]) -> dict[str, Setting]:
    """Read a file of no other than these `keys`. Raises ConfigError, which shows no texts of the file.

    A key in a table is joined with the table's name: `user` in [mqtt] is mqtt-user. A key that begins with that
    name already is not: `mqtt` in [mqtt] is mqtt.
    """
    text = _text(path)
    settings: dict[str, Setting] = {}
    for table, name, value in _pairs(_parsed(path, text)):
        line = _line(text, table, name)
        place = f"{path}, line {line}" if line else f"{path}"
        key = _joined(table, name, keys)
        if key not in keys:
            raise ConfigError(f"{place}: {_unknown(table, name, key, keys)}")
        if key in settings:
            raise ConfigError(f"{place}: {key} is there already: see {settings[key].place}; expected it once")
        settings[key] = Setting(key, _fitted(value, keys[key], f"{place}: {key}"), place)
    return settings


def written(value: Any) -> str:
    """Write a value as TOML: bool, int, float, str, or a list of these.

    What is no text in UTF-8, as a file's name may be, stays as it is: TOML has no way to say it.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return repr(value)


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable() or 0xD800 <= ord(char) < 0xE000:
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"configuration {path} can't be read: {error.strerror}") from error
    if len(data) > LARGEST:
        raise ConfigError(f"configuration {path} is larger than {LARGEST} bytes; expected a few lines of TOML")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"configuration {path} is no UTF-8 in line {line}; save it as UTF-8") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"configuration {path} is nested too deep; expected keys and tables of keys") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"configuration {path} is no TOML: {error}; expected lines like: max-frames = 100, and texts in quotes"
        ) from error
    except ValueError as error:
        raise ConfigError(f"configuration {path} has a number of too many digits; expected 64 bits") from error
    return document


def _pairs(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Give table, key and value of each line; outside of tables the first is empty."""
    for name, value in document.items():
        if isinstance(value, dict) and value:
            for inner, worth in value.items():
                yield name, inner, worth
        else:
            yield "", name, value


def _joined(table: str, name: str, keys: Mapping[str, Key]) -> str:
    if not table or (name in keys and f"{name}-".startswith(f"{table}-")):
        return name
    return f"{table}-{name}"


def _unknown(table: str, name: str, key: str, keys: Mapping[str, Key]) -> str:
    if table and name in keys:
        return f"{name} is no key of [{table}]; put it above the first [table]"
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
    return f"unknown key {key}; nearest: {', '.join(near)}"


def _line(text: str, table: str, name: str) -> int | None:
    """Find the key, as far as plain lines tell."""
    now = ""
    for number, line in enumerate(text.split("\n"), 1):
        bare = re.sub(r"[\s\"']", "", line.partition("=")[0])
        header = re.match(r"\[+([^\]]*)\]", bare)
        if header:
            now = header[1]
        if bare in ((name,) if now == table else ()) or (table and bare in (table, f"{table}.{name}")):
            return number
    return None


def _fitted(value: Any, key: Key, what: str) -> Any:
    if not key.many:
        return _one(value, key.kind, what, key.kind.value)
    wanted = f"a list in brackets, each {key.kind.value}"
    if not isinstance(value, list):
        raise ConfigError(f"{what} is {_said(value)}; expected {wanted}")
    return [_one(item, key.kind, f"{what}, number {n}", key.kind.value) for n, item in enumerate(value, 1)]


def _one(value: Any, kind: Kind, what: str, wanted: str) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and not -(1 << 63) <= value < 1 << 63:
        raise ConfigError(f"{what} is a number of more than 64 bits; expected {wanted}")
    if kind is Kind.FLAG and isinstance(value, bool):
        return value
    if kind is Kind.WHOLE and whole:
        return value
    if kind is Kind.NUMBER and (whole or (isinstance(value, float) and math.isfinite(value))):
        return value
    if kind is Kind.TEXT and (whole or isinstance(value, str)):  # source = 0 is what everybody writes
        return _checked(str(value), what)
    raise ConfigError(f"{what} is {_said(value)}; expected {wanted}")


def _checked(text: str, what: str) -> str:
    if "\0" in text:
        raise ConfigError(f"{what} holds a NUL; expected text without")
    if MARK in text:
        raise ConfigError(f"{what} was hidden in part when it was printed; write all of it")
    return text


def _said(value: Any) -> str:
    """Say what there is, but no text: it may be a secret in the wrong place."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value}"
    names: dict[type, str] = {str: "text", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")
