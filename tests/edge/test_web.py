"""The page's server: who may look, and what it stands."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edge.board import Board
from edge.cli.web import take_web, web_options
from edge.errors import BinsightError, UsageError
from edge.preprocess import decode
from edge.snapshot import Part
from edge.web import WebSettings, opened
from edge.web.live import WATCHERS
from edge.web.pace import BURST, RATE
from edge.web.server import BACKLOG, MOST
from tests.boards import SERVED, a_decision, tell_frame
from tests.events import eventually

TOKEN = "correct-horse-battery"
PICTURE = np.full((480, 640, 3), 90, dtype=np.uint8)

FLOOD = """
import select, socket, sys
port, requests, at_once = map(int, sys.argv[1:])
poll, open_ones, begun, tally = select.epoll(), {}, 0, {}
while begun < requests or open_ones:
    while begun < requests and len(open_ones) < at_once:
        begun += 1
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
        open_ones[one.fileno()] = one
        poll.register(one, select.EPOLLOUT)
    for handle, what in poll.poll(30):
        one, answer = open_ones[handle], b""
        try:
            if what == select.EPOLLOUT:
                one.send(b"GET /events.json HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
                poll.modify(one, select.EPOLLIN)
                continue
            answer = one.recv(12)[9:]
        except OSError:
            pass
        tally[answer] = tally.get(answer, 0) + 1
        poll.unregister(handle)
        open_ones.pop(handle).close()
print(sum(tally.values()), tally.get(b"200", 0), tally)
"""
"""Asks from a process of its own, and says how many were asked and how many answered."""


@pytest.fixture
def board() -> Board:
    made = Board("b")
    made.serves(SERVED)
    made.decision(a_decision({"can": 0.9, "cup": 0.1}), PICTURE)
    tell_frame(made, PICTURE)
    return made


@pytest.fixture
def site(board: Board, request: pytest.FixtureRequest) -> Iterator[int]:
    with opened(WebSettings(0, **getattr(request, "param", {})), board) as url:
        assert url.startswith("http://127.0.0.1:")
        yield urlsplit(url).port or 0


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): text for name, text in answer.getheaders()}


def test_every_address_answers_and_leaves_nothing_to_other_servers(board: Board, site: int) -> None:
    for path in ("/", "/page.css", "/page.js", "/icon.svg", "/events.json", "/metrics", "/healthz", "/readyz"):
        status, _, headers = ask(site, path)
        assert (status, path) == (200, path)
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    state = json.loads(ask(site, "/events.json")[1])
    status, thumb, headers = ask(site, f"/thumb/{state['decisions'][0]['id']}.jpg")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert "immutable" in headers["cache-control"]
    assert decode(thumb).shape == (144, 192, 3)
    assert ask(site, "/thumb/none.jpg")[0] == ask(site, "/live.mjpg")[0] == ask(site, "/page.html/x")[0] == 404
    assert ask(site, "/", "POST")[0] == 405
    board.enter(Part.OUTBOX)
    board._at = (Part.OUTBOX, time.monotonic() - 60)
    status, text, _ = ask(site, "/healthz")
    assert (status, text) == (503, b"outbox: the disk does not answer, for 60 s\n")
    assert ask(site, "/readyz")[0] == 503


def test_without_a_token_only_this_machines_own_names_open(site: int) -> None:
    for name in ("localhost", f"LOCALHOST:{site}", f"127.0.0.1:{site}", f"[::1]:{site}"):
        assert ask(site, "/", Host=name)[0] == 200, name
    for name in (
        "rebound.example",
        f"rebound.example:{site}",
        "10.0.0.1",
        "localhost.evil.example",
        "",
        "[::1]evil.example",
    ):
        assert ask(site, "/events.json", Host=name)[0] == 403, name
    assert ask(site, "/healthz", Host="10.0.0.1")[0] == 200


@pytest.mark.parametrize("site", [{"token": TOKEN}], indirect=True)
def test_a_token_opens_as_a_bearer_and_as_a_cookie(site: int) -> None:
    for path in ("/", "/events.json", "/metrics", "/page.js", "/thumb/x.jpg", "/live.mjpg", "/nothing"):
        for wrong in (
            {},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": "Bearer \u00e9"},
            {"Cookie": f"binsight-{site}={TOKEN}"},
            {"Cookie": f"binsight-{site}="},
            {"Cookie": "binsight"},
        ):
            status, text, headers = ask(site, path, **wrong)
            assert (status, headers["www-authenticate"]) == (401, "Bearer"), (path, wrong)
            assert TOKEN.encode() not in text
    assert ask(site, "/?token=wrong")[0] == 401
    assert ask(site, "/healthz")[0] == ask(site, "/readyz")[0] == 200
    assert ask(site, "/metrics", Authorization=f"Bearer {TOKEN}", Host="bin.example")[0] == 200
    status, _, headers = ask(site, f"/?token={TOKEN}", Host="bin.example")
    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=lax"} < set(headers["set-cookie"].split("; "))
    assert TOKEN not in headers["set-cookie"]
    cookie = headers["set-cookie"].partition(";")[0]
    assert ask(site, "/events.json", Cookie=f"other=1; {cookie}", Host="bin.example")[0] == 200
    assert ask(site, "/?token=wrong", Cookie=cookie)[0] == 401, "a wrong token is said to be wrong"
    assert ask(site, f"//evil.example/?token={TOKEN}")[2]["location"] == "/evil.example/"


def test_what_is_no_place_or_no_token_is_one_sentence(board: Board, tmp_path: Path) -> None:
    def take(*words: str) -> Any:
        found = []

        @click.command()
        @web_options
        def command(**values: Any) -> None:
            found.append(take_web(values))
            assert values == {}

        CliRunner().invoke(command, [*words], catch_exceptions=False)
        return found[0]

    good, short = tmp_path / "token", tmp_path / "short"
    good.write_text(TOKEN + "\n")
    short.write_text("1234\n")
    assert take() is None
    assert take("--web", "8080") == WebSettings(8080)
    assert take("--web", "localhost:0", "--web-live") == WebSettings(0, "localhost", live=True)
    settings = take("--web", "[::]:80", "--web-token-file", str(good))
    assert settings == WebSettings(80, "::", TOKEN)
    assert TOKEN not in repr(settings)
    for words, why in (
        (("--web", "x:y"), "expected PORT or HOST:PORT"),
        (("--web", "99999"), "expected PORT or HOST:PORT"),
        (("--web", "0.0.0.0:80"), "there is no token"),
        (("--web", "80", "--web-token-file", str(short)), "expected 16 or more"),
        (("--web", "80", "--web-token-file", str(tmp_path / "none")), "No such file"),
        (("--web-live",), "add --web PORT"),
    ):
        with pytest.raises(UsageError, match=why):
            take(*words)
    with opened(WebSettings(0), board) as url, pytest.raises(BinsightError, match="address already in use"):
        with opened(WebSettings(urlsplit(url).port or 0), board):
            pytest.fail("two on one port")
    with pytest.raises(UsageError, match=r"can't listen on 203\.0\.113\.7"):
        with opened(WebSettings(0, "203.0.113.7", TOKEN), board):
            pytest.fail("not an address of this machine")


@pytest.mark.parametrize("site", [{"live": True}], indirect=True)
def test_the_live_picture_goes_to_a_few_and_ends_with_the_page(board: Board, site: int) -> None:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.02):
            tell_frame(board, PICTURE)

    feed = threading.Thread(target=run)
    feed.start()
    watchers = [http.client.HTTPConnection("127.0.0.1", site, timeout=30) for _ in range(WATCHERS)]
    try:
        for watcher in watchers:
            watcher.request("GET", "/live.mjpg")
            answer = watcher.getresponse()
            assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=binsight"
            while not answer.readline().startswith(b"Content-Length: "):
                pass
        size = 0
        while not size:
            line = answer.readline()
            size = int(line.split()[1]) if line.startswith(b"Content-Length: ") else 0
        answer.readline()
        assert decode(answer.read(size)).shape == PICTURE.shape
        assert ask(site, "/live.mjpg")[0] == 503
        watchers.pop().close()
        eventually(lambda: _is_let_in(site))
    finally:
        stop.set()
        feed.join()
        for watcher in watchers:
            watcher.close()


def _is_let_in(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/live.mjpg")
        return connection.getresponse().status == 200


def test_the_end_does_not_wait_for_who_looks_or_says_nothing(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(WebSettings(0, live=True), board) as url:
        port = urlsplit(url).port or 0
        silent = socket.create_connection(("127.0.0.1", port))
        watcher = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        watcher.request("GET", "/live.mjpg")
        watcher.getresponse()
        begun = time.monotonic()
    assert time.monotonic() - begun < 4.0
    assert "web" not in [thread.name for thread in threading.enumerate()]
    assert caplog.text == "", "nothing had to be cut off"
    silent.close()
    watcher.close()


def test_ten_thousand_requests_hurt_nobody(board: Board, site: int) -> None:
    """A loop beside them keeps its time, few files are open at once, and who asks after them is answered."""
    took, files, done = [0.0], [0], threading.Event()
    before = len(os.listdir("/proc/self/fd"))

    def run() -> None:
        while not done.is_set():
            begun = time.perf_counter()
            tell_frame(board, PICTURE)
            took.append(time.perf_counter() - begun)
            files.append(len(os.listdir("/proc/self/fd")) - before)
            time.sleep(0.005)

    loop = threading.Thread(target=run)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # as the daemon does
    loop.start()
    try:
        words = [sys.executable, "-c", FLOOD, str(site), "10000", "100"]
        flood = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    finally:
        done.set()
        loop.join()
        sys.setswitchinterval(switch)
    assert flood.stdout.startswith("10000 "), flood.stderr
    assert int(flood.stdout.split()[1]) > 50, "some are answered"
    assert len(took) > 50
    assert sorted(took)[int(0.9 * len(took))] < 0.1  # on a machine that does nothing else about 0.001
    assert max(files) < MOST + 4 * BACKLOG
    assert eventually(lambda: ask(site, "/healthz")[0] == 200)


def test_who_asks_without_end_waits_for_his_turn(site: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", site, timeout=30)) as connection:
        begun = time.monotonic()
        for _ in range(int(BURST) + 60):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
        assert time.monotonic() - begun > 0.9 * 60 / RATE


def test_connections_that_say_nothing_are_bounded_and_hung_up_on(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(WebSettings(0), board) as url, ExitStack() as stack:
        port = urlsplit(url).port or 0
        for _ in range(2 * MOST):
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=30)))
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(port, "/")
    monkeypatch.setattr("edge.web.server.FIRST_S", 0.1)
    with opened(WebSettings(0), board) as url:
        with closing(socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=30)) as silent:
            with suppress(ConnectionResetError):
                assert silent.recv(1) == b""
