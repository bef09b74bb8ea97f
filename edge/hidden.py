"""What may be seen of an address, a command or a sentence: all but the secrets in it.

Too much is hidden rather than too little: a password with an @ or a / in it is no URL any more, and must not be
shown for that.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits

MARK = "***"
"""Stands for what is hidden."""

_NAMES = r"pass|pwd|psw|token|secret|key|auth|sig|cred|session|login|user|usr"
_NAMED = re.compile(rf"((?:{_NAMES})[\w.-]{{0,32}}=)[^&;/#\s'\"]*", re.IGNORECASE)
"""NAME=VALUE whose name speaks of a secret."""
_PIECE = re.compile(r"[^/?&;#=]+")
"""Of a path or a query."""
_RUN = re.compile(r"[A-Za-z0-9]{12,}")
_HEADER = re.compile(r"\b(bearer|basic)\s+[^\s'\"]+", re.IGNORECASE)
_OPTION = re.compile(r"(--?[\w-]{0,32}(?:pass|password|passwd|token|secret|key)\s+)[^\s'\"]+", re.IGNORECASE)
"""Of a command: --token VALUE."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_LETTERS = f"{ascii_letters}{digits}+.-"
"""Of a scheme."""


def hidden(text: str) -> str:
    """Return an address, a path or a command without user, password and what looks like a token."""
    scheme, separator, rest = text.partition("://")
    if separator and _SCHEME.fullmatch(scheme):
        who, _, where = rest.rpartition("@")
        host = re.match(r"[^/?#]*", where)
        size = host.end() if host else 0
        return f"{scheme}://{f'{MARK}@' if who else ''}{where[:size]}{_tail(where[size:])}"
    if re.search(r"\s", text):
        return _OPTION.sub(rf"\1{MARK}", discreet(text))
    who, _, where = text.rpartition("@")  # USER:PASSWORD@HOST, whose scheme was forgotten
    return f"{MARK}@{where}" if ":" in who else text


def discreet(sentence: str) -> str:
    """Return a sentence, or lines of them, with the secrets in its words hidden."""
    shown = re.sub(r"\S+", lambda word: _shown(word[0]), sentence)
    return _HEADER.sub(rf"\1 {MARK}", _NAMED.sub(rf"\1{MARK}", shown))


def _shown(word: str) -> str:
    """Hide what is secret in a word, which may be a URL in quotes, or one without its scheme."""
    before, separator, _ = word.partition("://")
    start = len(before.rstrip(_LETTERS))
    if not separator and "@" not in word:
        return word
    if not separator or "@" in word[:start]:
        start = len(word) - len(word.lstrip("'\"([{<"))
    return word[:start] + hidden(word[start:])


def _tail(text: str) -> str:
    """Hide tokens in path, query and fragment."""
    return _PIECE.sub(lambda piece: MARK if _is_token(piece[0]) else piece[0], _NAMED.sub(rf"\1{MARK}", text))


def _is_token(piece: str) -> bool:
    """Say whether it looks like chance made it: long, with letters and digits, or longer, in both cases."""
    return any(_is_mixed(run) for run in _RUN.findall(piece))


def _is_mixed(run: str) -> bool:
    letters = re.search("[A-Za-z]", run) and re.search("[0-9]", run)
    cases = len(run) >= 20 and not run.islower() and not run.isupper()
    return bool(letters) or (cases and not run.isdigit())
