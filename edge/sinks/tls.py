"""How the other end proves who it is, and we to it."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from edge.errors import SinkError

OUT_OF_TIME = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED: of OpenSSL, which says no more about it."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files."""

    ca: Path | None = None
    """Whom to trust; None: those whom the system trusts."""
    certificate: Path | None = None
    """Our own; None: none is shown."""
    key: Path | None = None
    """Of our certificate; None: it is in the same file."""


def context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that verifies certificate and host name. Raises SinkError."""
    try:
        made = ssl.create_default_context(cafile=files.ca)
    except OSError as error:
        raise SinkError(_unreadable("the certificates to trust", files.ca, error)) from error
    if files.certificate is None:
        return made
    try:
        # Without a function for it OpenSSL would ask the terminal for a key's password.
        made.load_cert_chain(files.certificate, files.key, password=lambda: b"")
    except OSError as error:
        raise SinkError(_unreadable("the client certificate or its key", files.certificate, error)) from error
    return made


def why(error: OSError) -> str:
    """Say in words what went wrong with a connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"its certificate does not hold: {error.verify_message}"
        if error.verify_code in OUT_OF_TIME:
            text += f" (it is {time.strftime('%Y-%m-%d', time.gmtime())} here; see that the clock is right)"
        return text
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error) or type(error).__name__


def _unreadable(what: str, path: Path | None, error: OSError) -> str:
    return f"{what} can't be read from {path}: {why(error)}; expected a file in PEM format without a password"
