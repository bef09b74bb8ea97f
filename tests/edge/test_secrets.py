"""No password and no token in anything that edge-run says or keeps."""

from __future__ import annotations

import base64
import json
import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.broker import Broker, free_port, mosquitto
from tests.edge.test_run_command import LONG, TIMEOUT, edge_run, lines, start
from tests.events import eventually
from tests.tiny import make_bundle

SECRET = "s3cret-7f"
FEW = "demo://?deposits=3&width=160&height=120"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("secrets") / "bundle").folder


class Gossip(BaseHTTPRequestHandler):
    """Refuses events for good, and tells everybody what it was sent."""

    heard: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        said = (
            f"{self.headers['Authorization']} {self.path} {base64.b64decode(self.headers['Authorization'][6:])!r}"
        )
        self.heard.append(said)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400, said)
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def gossip() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gossip) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def check(done: subprocess.CompletedProcess[str], *kept: Path) -> None:
    """Nothing that was said or kept holds the secret, however it is written."""
    known = [path for folder in kept for path in sorted(folder.rglob("*")) if path.is_file()]
    everything = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    everything |= {str(path): path.read_bytes() for path in known}
    for name, data in everything.items():
        for user in ("", "bin:", "u:"):
            for form in (f"{user}{SECRET}".encode(), base64.b64encode(f"{user}{SECRET}".encode()).rstrip(b"=")):
                assert form not in data, (name, data.decode(errors="replace"))


def test_on_the_command_line(bundle: Path, tmp_path: Path, gossip: int) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    arguments = (
        *(bundle, FEW, "--events", kept / "events.jsonl", "--outbox", kept / "outbox.db", "--debug"),
        *("--mqtt", f"mqtt://bin:{SECRET}@127.0.0.1:{free_port()}"),
        *("--webhook", f"http://u:{SECRET}@127.0.0.1:{gossip}/hook?token={SECRET}"),
        *("--flap", f"sh -c 'exit 3' --token {SECRET}"),
    )
    done = edge_run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "can't be reached: Connection refused" in done.stderr
    assert "will never take event 1: 400 Bad Request" in done.stderr
    assert "ended with 3" in done.stderr
    assert any(SECRET in said for said in Gossip.heard)
    assert "binsight.deposit" in (kept / "events.jsonl").read_text()
    check(done, kept)
    done = edge_run(*arguments, "--print-config")
    assert done.stdout.count("command line, hidden in part") == 3
    check(done)


def test_in_files(bundle: Path, tmp_path: Path, gossip: int) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("password", "token"):
        (tmp_path / name).write_text(SECRET + "\n")
    (tmp_path / "bin.toml").write_text(
        f'bundle = "{bundle}"\nsource = "{FEW}"\nevents = "kept/events.jsonl"\noutbox = "kept/outbox.db"\n'
        f'debug = true\nwebhook = "http://127.0.0.1:{gossip}/{SECRET}a1b2c3d4e5f6"\n'
        f'webhook-token-file = "token"\n[mqtt]\nmqtt = "mqtts://u:{SECRET}@127.0.0.1:{gossip}"\nuser = "bin"\n'
        'password-file = "password"'
    )
    done = edge_run("--config", tmp_path / "bin.toml")
    assert done.returncode == 0, done.stderr
    assert "mqtts://127.0.0.1" in done.stderr
    assert len(lines((kept / "events.jsonl").read_text())) >= 3
    check(done, kept)
    done = edge_run("--config", tmp_path / "bin.toml", "--print-config")
    assert f'mqtt-password-file = "{tmp_path}/password"' in done.stdout
    assert f'mqtt = "mqtts://***@127.0.0.1:{gossip}"' in done.stdout
    check(done)


def test_a_broker_that_refuses(bundle: Path, tmp_path: Path) -> None:
    mosquitto()
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "passwords").write_text("")
    with Broker(tmp_path / "broker", "allow_anonymous false", f"password_file {tmp_path}/passwords") as broker:
        url = f"mqtt://bin:{SECRET}@127.0.0.1:{broker.port}"
        done = edge_run(bundle, FEW, "--mqtt", url, "--outbox", kept / "o.db", "--events", kept / "e", "--debug")
    assert "refuses this bin: Not authorized" in done.stderr
    check(done, kept)


def test_a_page_with_a_token(bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    token = f"{SECRET}-{SECRET}"  # long enough to be one
    (tmp_path / "token").write_text(token)
    options = ("--web", port, "--web-token-file", tmp_path / "token", "--events", tmp_path / "e", "--debug")
    with start(bundle, LONG, *options) as process:

        def answers(token: str) -> bool:
            try:
                with urlopen(f"http://127.0.0.1:{port}/?token={token}", timeout=TIMEOUT) as page:
                    return SECRET not in page.read().decode()
            except HTTPError as error:
                return error.code == 401 and SECRET not in error.read().decode()
            except URLError:
                return False

        eventually(lambda: answers(token), TIMEOUT)
        assert answers(f"{token}x")
        eventually(lambda: (tmp_path / "e").exists() and (tmp_path / "e").stat().st_size, TIMEOUT)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    (tmp_path / "token").unlink()
    check(subprocess.CompletedProcess((), 0, out, err), tmp_path)


class GossipingCamera(socketserver.StreamRequestHandler):
    """Refuses everybody, and tells what it was sent."""

    def handle(self) -> None:
        request = b""
        for line in self.rfile:
            request += line
            if line != b"\r\n":
                continue
            number = re.search(rb"CSeq: (\d+)", request)
            told = re.search(rb"Authorization: Basic (\S+)", request)
            words = base64.b64decode(told[1]).decode() + " " + told[1].decode() if told else "Unauthorized"
            self.wfile.write(
                f"RTSP/1.0 {403 if told else 401} {words}\r\nCSeq: {int(number[1]) if number else 0}\r\n"
                f'WWW-Authenticate: Basic realm="{words}"\r\n\r\n'.encode()
            )
            request = b""


def test_a_camera_that_refuses(bundle: Path, tmp_path: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), GossipingCamera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"rtsp://bin:{SECRET}@127.0.0.1:{server.server_address[1]}/1"
        (tmp_path / "bin.toml").write_text(
            f'bundle = "{bundle}"\nsource = "{url}"\ntrigger = "cat --token {SECRET}"'
        )
        done = edge_run("--config", tmp_path / "bin.toml", "--debug")
        server.shutdown()
    assert done.returncode == 2
    assert "the camera answers 403 Forbidden" in done.stderr
    check(done)


MISTAKES: tuple[tuple[str, ...], ...] = (
    ("{bundle}", "rtsp://bin:{secret}@127.0.0.1:9/1"),
    ("{bundle}", "rtsp://bin:a/{secret}@127.0.0.1:9/1"),
    ("{bundle}", "rtsp://127.0.0.1:9/user=bin_password={secret}_channel=1.sdp"),
    ("{bundle}", "rtps://bin:{secret}@127.0.0.1/1"),
    ("{bundle}", "bin:{secret}@127.0.0.1/1"),
    ("rtsp://bin:{secret}@127.0.0.1:9/1", "{bundle}"),
    ("{bundle}", "demo://", "rtsp://bin:{secret}@127.0.0.1:9/1"),
    ("{bundle}", "demo://bin:{secret}@?deposits=1"),
    ("{bundle}", "demo://", "--max-frames", "rtsp://bin:{secret}@127.0.0.1:9/1"),
    ("{bundle}", "demo://", "--mqtt", "bin:{secret}@127.0.0.1"),
    ("{bundle}", "demo://", "--mqtt", "mqtt://bin:{secret}@127.0.0.1/x"),
    ("{bundle}", "demo://", "--mqtt", "mqtt://bin:{secret}@127.0.0.1:port"),
    ("{bundle}", "demo://", "--mqtt", "mqtt://bin:1/{secret}@127.0.0.1"),
    ("{bundle}", "demo://", "--mqtt", "mqtt://bin:{secret}@[::1"),
    ("{bundle}", "demo://", "--mqtt-password={secret}"),
    ("{bundle}", "demo://", "--webhook", "ftp://u:{secret}@host/"),
    ("{bundle}", "demo://", "--webhook", "host/{secret}a1b2c3d4e5f6"),
    ("{bundle}", "demo://", "--events", "mqtt://u:{secret}@host/"),
    ("{bundle}", "demo://", "--outbox", "/proc/u:{secret}@host/outbox.db"),
    ("{bundle}", "demo://", "--flap", "no-such-program --token {secret}"),
    ("{bundle}", "demo://", "--flap", "gpio://bin:{secret}@chip/17"),
    ("{bundle}", "demo://", "--flap", "open '--password={secret}"),
    ("{bundle}", "demo://", "--config", "{toml}"),
    ("{bundle}", "rtsp://bin:{secret}@127.0.0.1/1", "--max-frames", "0"),
)
"""Addresses in wrong places or with mistakes in them, each to end in one sentence."""


def test_mistakes_say_no_secret(bundle: Path, tmp_path: Path) -> None:
    """All in one process, to be quick; each as `main` would."""
    (tmp_path / "bin.toml").write_text(f'mqtt-password = "{SECRET}"')
    values = {"bundle": str(bundle), "secret": SECRET, "toml": str(tmp_path / "bin.toml")}
    cases = [[*(word.format(**values) for word in words), "--debug"] for words in MISTAKES]
    cases += [[word.format(**values) for word in words] + ["--print-config"] for words in MISTAKES]
    code = (
        "import json, logging, sys\n"
        "from edge.cli.run import NAME, command, run\n"
        "for words in json.load(sys.stdin):\n"
        "    try:\n"
        "        run(command, NAME, words)\n"
        "    except SystemExit as end:\n"
        "        sys.stdout.flush()\n"
        "        print('ENDED', end.code, words[2:4], file=sys.stderr, flush=True)\n"
        "logging.getLogger('edge').warning('gone: %s', words[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(cases), capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=tmp_path,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if not line.startswith("ENDED")]
    check(subprocess.CompletedProcess((), 0, done.stdout, "\n".join(told)))
    codes = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("ENDED")]
    assert codes[: len(MISTAKES)] == ["2"] * len(MISTAKES), done.stderr
    assert set(codes[len(MISTAKES) :]) == {"0", "2"}
    assert told[-1].startswith("edge-run: gone: ")
    assert sum(line.startswith("edge-run: error: ") for line in told) == codes.count("2")
