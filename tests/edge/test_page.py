"""The page in a real Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from edge.board import Board
from edge.drift import Against
from edge.preprocess import Pixels, decode
from edge.snapshot import Part, Vitals, Waiting
from edge.sources.base import Gap
from edge.web import WebSettings, opened
from tests.boards import SERVED, a_decision, a_drift, fill, pictures, tell_frame
from tests.browser import DESKTOP, PHONE, Browser

TOKEN = "correct-horse-battery"
EVIL = '<img src=x onerror="alert(1)"><b>&amp;'


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def seen() -> list[Pixels]:
    return pictures(6, 320, 240)


@contextmanager
def fed(board: Board, seen: list[Pixels]) -> Iterator[None]:
    """Frames come while the block runs, never the same picture twice in a row."""
    stop = threading.Event()

    def run() -> None:
        number = 0
        while not stop.wait(0.03):
            number += 1
            tell_frame(board, seen[number // 10 % len(seen)], "resting")
            board.enter(Part.CAMERA)

    feed = threading.Thread(target=run)
    feed.start()
    try:
        yield
    finally:
        stop.set()
        feed.join()


def facts(browser: Browser, title: str) -> dict[str, str]:
    """Return a list of terms by its heading's element."""
    script = (
        f"[...document.querySelectorAll('#{title} dt')].map((one) => [one.innerText, one.nextSibling.innerText])"
    )
    return dict(browser.ask(script))


def look(browser: Browser, folder: Path) -> None:
    """Keep the page as a phone and a desktop show it, and see that it fits both."""
    for name, size in (("phone", PHONE), ("desktop", DESKTOP)):
        browser.size(size)
        browser.picture(folder / f"{name}.png")
        assert decode((folder / f"{name}.png").read_bytes()).shape[:2] == size[::-1]
        assert browser.ask("document.documentElement.scrollWidth") <= size[0], f"{name}: it scrolls sideways"
    sizes = "[...document.querySelectorAll('body *')].map((one) => parseFloat(getComputedStyle(one).fontSize))"
    assert browser.ask(f"Math.min(...{sizes})") >= 12


def test_values_change_as_events_come_and_nobody_else_is_asked(
    browser: Browser, seen: list[Pixels], tmp_path: Path
) -> None:
    board = Board("kitchen-3")
    fill(board, seen)
    with opened(WebSettings(0, token=TOKEN, live=True), board) as url, fed(board, seen):
        browser.asked.clear()
        browser.open(url)
        browser.until("document.body && document.body.innerText.includes('A token is needed')")
        browser.complaints.clear()  # of that 401
        browser.open(f"{url}?token={TOKEN}")
        browser.until("document.querySelector('#decisions li')")
        assert browser.ask("location.href") == url, "the token does not stay in the address"
        browser.until("document.querySelector('#standing.working')")
        browser.until("document.querySelector('#sight img').naturalWidth === 320")
        assert facts(browser, "events")["webhook"] == "away"
        assert facts(browser, "bundle")["Parity"] == "PASS on onnxruntime"
        before = facts(browser, "numbers")["Decisions"]

        board.decision(a_decision({EVIL: 0.87, "glass": 0.13}, "unsure"), seen[0])
        board.vitals(Vitals(outbox=Waiting(77, 5_000_000, 700.0, 2, 0), sinks={"mqtt": False}))
        board.serves(replace(SERVED, name="newer", verdict="FAIL"))
        board.camera("blurred", ("blurred", "over_exposed"))
        browser.until("document.querySelector('#answer b').textContent.startsWith('<img')")
        assert browser.ask("document.querySelector('#answer b').textContent") == EVIL
        assert int(facts(browser, "numbers")["Decisions"]) == int(before) + 1
        assert facts(browser, "events")["Waiting"] == "77, 5.0 MB, the oldest for 12 min"
        assert facts(browser, "bundle")["Name"] == "newer"
        assert "rejected: unsure" in browser.text()
        assert "The camera finds itself blurred, over exposed" in browser.text()
        widths = "[...document.querySelectorAll('#answer .bar i')].map((one) => one.style.width)"
        assert browser.ask(widths) == ["87%", "13%"]
        assert browser.ask("document.querySelectorAll('#answer img').length") == 1, "a label is no HTML"
        browser.until("document.querySelector('#answer img').naturalWidth === 192")
        frames = int(facts(browser, "camera")["Frames"].replace(",", ""))
        browser.until(
            f"Number(document.querySelector('#camera').innerText.match(/Frames\\s+(\\d+)/)[1]) > {frames}"
        )

        look(browser, tmp_path)
        browser.open("about:blank")
    own = urlsplit(url).netloc
    assert {urlsplit(one).netloc for one in browser.asked if one != "about:blank"} == {own}
    assert TOKEN not in "".join(one for one in browser.asked if "?token=" not in one)
    assert [one for one in browser.complaints if "favicon" not in one] == []  # of the page that wants a token


def test_a_bin_that_stands_still_or_goes_away_says_so(browser: Browser, seen: list[Pixels]) -> None:
    board = Board("b")
    with opened(WebSettings(0), board) as url:
        browser.open(url)
        browser.until("document.querySelector('#standing.starting')")
        assert "Nothing was thrown in yet." in browser.text()
        assert browser.ask("document.querySelector('#sight').children.length") == 0, (
            "no live picture unless allowed"
        )
        tell_frame(board, seen[0])
        board.enter(Part.CAMERA)
        browser.until("document.querySelector('#standing.working')")
        board.drift(a_drift(("warmth", Against.ITSELF), ("tint", Against.BUNDLE)))
        browser.until("document.querySelector('#drift td.bad')")
        assert "Drift: not as before: warmth" in browser.text()
        assert "Unlike the bundle's photos: tint" in browser.text()
        cells = "[...document.querySelectorAll('#drift td.bad')].map((one) => one.parentElement.innerText)"
        assert [one.split() for one in browser.ask(cells)] == [
            ["warmth", "0.42", "0.03"],
            ["tint", "0.03", "0.42"],
        ]
        board.gap(Gap(0.0, 0.0, "the camera is being opened again"))
        browser.until("document.querySelector('#standing.waiting')")
        assert "No frame for now: the camera is being opened again" in browser.text()
    browser.until("document.querySelector('#standing.gone')")
    assert "No answer from the bin since" in browser.text()
    browser.open("about:blank")
