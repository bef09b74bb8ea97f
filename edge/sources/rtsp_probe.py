"""Why an RTSP camera can't be opened: asked in plain words over a socket, since FFmpeg does not tell."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass
from http.client import responses

from edge.address import Address
from edge.errors import SourceError

PATIENCE_S = 2.0
"""Seconds for each step that the camera has to answer."""

MOST = 65536
"""Bytes of an answer that are read."""

ESCAPES = "/, ?, #, @, : and % written as %2F, %3F, %23, %40, %3A and %25"

REASONS = responses | {453: "Not Enough Bandwidth", 454: "Session Not Found", 461: "Unsupported Transport"}
"""Status to the words of the standards: the camera's own may echo what it was sent, password and all."""

UNAUTHORIZED, NOT_FOUND, OK = 401, 404, 200


@dataclass(frozen=True)
class Answer:
    """What the camera said to a DESCRIBE."""

    status: int
    reason: str
    text: str
    """Headers and body."""


class NoAnswerError(SourceError):
    """Its text is a clause that says what came instead."""


def why(address: Address) -> str:
    """Ask the camera to describe its stream, and return what is wrong as a clause, without credentials; empty
    where nothing is.
    """
    try:
        answer = _describe(address)
        if answer.status == UNAUTHORIZED and address.user is not None:
            answer = _describe(address, _authorization(address, answer.text))
    except NoAnswerError as error:
        return str(error)
    return _explain(address, answer)


def _explain(address: Address, answer: Answer) -> str:
    if answer.status == OK:
        if re.search(r"^m=video ", answer.text, re.MULTILINE):
            return ""
        return "that stream has no video in it; take the path of one that has"
    if answer.status == NOT_FOUND:
        return (
            f"the camera has no such stream ({answer.status} {answer.reason}); its manual or page names the path"
        )
    if answer.status != UNAUTHORIZED:
        return f"the camera answers {answer.status} {answer.reason}".rstrip()
    if address.user is None:
        return f"the camera wants a user and a password; expected {address.scheme}://USER:PASSWORD@HOST/PATH"
    return f"the camera refuses that user and password (401); mend them, with {ESCAPES} in them"


def _describe(address: Address, authorization: str = "") -> Answer:
    request = f"DESCRIBE {_asked(address)} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n{authorization}\r\n"
    try:
        with _connect(address) as connection:
            connection.sendall(request.encode())
            return _parse(_receive(connection))
    except TimeoutError:
        raise NoAnswerError(f"the host says nothing within {PATIENCE_S:.0f} s; is the camera up?") from None
    except socket.gaierror:
        raise NoAnswerError(f"no host is called {address.host}") from None
    except ConnectionRefusedError:
        raise NoAnswerError(f"the host refuses port {address.port}; is RTSP switched on in the camera?") from None
    except ssl.SSLError:
        raise NoAnswerError(f"the host speaks no TLS on port {address.port}; rtsp:// for rtsps://?") from None
    except ConnectionError:
        raise NoAnswerError("the host ends the connection without an answer") from None
    except OSError as error:
        raise NoAnswerError(f"the host can't be reached: {error.strerror or type(error).__name__}") from None


def _connect(address: Address) -> socket.socket:
    """Encrypt as FFmpeg does, which does not ask who the camera is either: cameras sign their own certificates."""
    plain = socket.create_connection((address.host, address.port), PATIENCE_S)
    if address.scheme == "rtsp":
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with plain:  # what is wrapped has let go of its socket
        return context.wrap_socket(plain, server_hostname=address.host)


def _receive(connection: socket.socket) -> bytes:
    """Read headers and body. Gives what there is where the other end closes."""
    text = b""
    while len(text) < MOST:
        head, ended, body = text.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length:\s*(\d{1,6})", head)
        if (ended and len(body) >= (int(length[1]) if length else 0)) or (
            text and not b"RTSP/".startswith(text[:5])
        ):
            break
        piece = connection.recv(4096)
        if not piece:
            break
        text += piece
    return text


def _parse(text: bytes) -> Answer:
    first = re.match(rb"RTSP/\d\.\d (\d{3})", text)
    if not first:
        raise NoAnswerError(
            "what answers there does not speak RTSP" if text else "the host ends without an answer"
        )
    status = int(first[1])
    return Answer(status, REASONS.get(status, ""), text.decode("utf-8", "replace").replace("\r\n", "\n"))


def _asked(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{address.scheme}://{host}:{address.port}{address.target}"


def _authorization(address: Address, text: str) -> str:
    """Answer the camera's challenge: Digest where it offers that (RFC 2069, as cameras have it), else Basic."""
    user, password = address.user or "", address.password or ""
    digest = re.search(r"(?im)^www-authenticate:\s*digest\s(.*)$", text)
    if not digest:
        return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}\r\n"
    said = dict(re.findall(r'(\w+)="?([^",]*)"?', digest[1]))
    realm, nonce = said.get("realm", ""), said.get("nonce", "")
    uri = _asked(address)
    response = _md5(f"{_md5(f'{user}:{realm}:{password}')}:{nonce}:{_md5(f'DESCRIBE:{uri}')}")
    return (
        f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        f'response="{response}"\r\n'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
