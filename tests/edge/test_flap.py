from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edge.decision import Decision
from edge.errors import GpioError, UsageError
from edge.sinks import flap
from edge.sinks.flap import LineSettings, open_flap, parse_command, parse_line
from tests.events import deposit, eventually
from tests.lines import Lines, check_likeness, installed

QUICK_S = 0.05
"""From decision to movement, at most."""


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    return installed(monkeypatch)


class TestLine:
    def test_it_is_active_at_once_and_for_its_time(self, lines: Lines) -> None:
        opened = open_flap("gpio://gpiochip0/17?ms=100&active=low")
        before = time.monotonic()
        opened.act(deposit())
        eventually(lambda: lines.values() == [1, 0])
        opened.close()
        (on, _, _), (off, _, _), (_, last, _) = lines.said
        assert on - before < QUICK_S
        assert 0.09 < off - on < 0.3
        assert last == "release"
        path, config, consumer = lines.settings
        assert (path, [*config], consumer) == ("/dev/gpiochip0", [17], "binsight")
        assert (config[17].direction, config[17].output_value, config[17].active_low) == ("OUTPUT", 0, True)

    def test_it_moves_for_its_own_label_and_decision_only(self, lines: Lines) -> None:
        opened = open_flap("gpio://gpiochip0/17?label=can&ms=1")
        opened.act(deposit("cup"))
        opened.act(deposit("can", Decision.REJECTED))
        opened.act(deposit("can"))
        opened.close()
        assert lines.values() == [1, 0]

    def test_a_run_that_ends_leaves_no_line_active(self, lines: Lines) -> None:
        opened = open_flap("gpio://gpiochip0/17?ms=200")
        opened.act(deposit())
        opened.close()
        assert lines.values()[-1] == 0

    def test_a_line_that_another_has(self, lines: Lines) -> None:
        lines.error, lines.holder = OSError(16, "Device or resource busy"), "gpiomon"
        with pytest.raises(GpioError, match=r"line 17 of /dev/gpiochip0 can't be had: gpiomon has it"):
            open_flap("gpio://gpiochip0/17")

    def test_the_fake_is_like_gpiod(self) -> None:
        gpiod = pytest.importorskip("gpiod", reason="no gpiod here: pip install gpiod")
        check_likeness(gpiod)
        with pytest.raises(GpioError, match="can't be had: /dev/null is no GPIO chip"):
            flap.Line(LineSettings("/dev/null", 1), gpiod)
        with pytest.raises(GpioError, match=r"can't be had: no such chip \(this machine has: "):
            flap.Line(LineSettings("/dev/gpiochip999", 1), gpiod)

    @pytest.mark.parametrize(
        ("target", "words"),
        [
            ("gpio://gpiochip0", "expected gpio://gpiochip0/17"),
            ("gpio://gpiochip0/x", "expected gpio"),
            ("gpio:///17", "expected gpio"),
            ("gpio://gpiochip0/17?ms=0", "ms=1 to 60000"),
            ("gpio://gpiochip0/17?decision=maybe", "accepted|rejected|any"),
            ("gpio://gpiochip0/17?lable=can", "nearest: label"),
            ("gpio://gpiochip0/17?label=", "expected label=LABEL"),
        ],
    )
    def test_what_is_no_line(self, target: str, words: str) -> None:
        with pytest.raises(UsageError) as raised:
            parse_line(target)
        assert words in str(raised.value)

    def test_without_gpiod_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gpiod", None)
        with pytest.raises(GpioError, match=r"binsight\[gpio\]"):
            open_flap("gpio://gpiochip0/17")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "flap.sh"
    script.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/said"\nsleep "${2:-0}" 2>/dev/null\nexit 0\n')
    script.chmod(0o755)
    return script


class TestCommand:
    def test_it_starts_at_once_with_label_and_decision(self, script: Path) -> None:
        opened = open_flap(str(script))
        before = time.monotonic()
        opened.act(deposit("a can; rm -rf /"))
        assert time.monotonic() - before < QUICK_S
        eventually((script.parent / "said").exists)
        opened.close()
        assert (script.parent / "said").read_text() == "a can; rm -rf / accepted\n"

    def test_arguments_where_they_are_asked_for(self, script: Path) -> None:
        opened = open_flap(f"{script} --to={{label}} 0 '{{decision}} {{confidence}}'")
        opened.act(deposit("{decision}"))
        opened.close()
        assert (script.parent / "said").read_text() == "--to={decision} 0 accepted 1.0\n"

    def test_too_many_are_not_started_and_those_that_hang_are_killed(
        self, script: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(flap, "LONGEST_S", 0.5)
        opened = open_flap(f"{script} {{label}} 60")
        before = time.monotonic()
        for _ in range(flap.MOST + 2):
            opened.act(deposit())
        assert time.monotonic() - before < QUICK_S
        eventually(lambda: caplog.text.count(f"{flap.MOST} of its commands still run") == 2)
        eventually(lambda: caplog.text.count("was ended") == flap.MOST)
        opened.close()

    def test_one_that_fails_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        opened = open_flap("false")
        opened.act(deposit())
        opened.close()
        assert "the flap's command ended with 1" in caplog.text

    def test_what_is_no_command(self) -> None:
        for target in ("", "no-such-program-here", "'unclosed"):
            with pytest.raises(UsageError, match="--flap"):
                parse_command(target)


def test_a_mover_that_hangs_never_holds_up_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    import threading

    free = threading.Event()

    class Stuck:
        def move(self, _: object) -> None:
            free.wait(10)

        def rest(self) -> None:
            return None

        def close(self) -> None:
            pass

    stuck = flap.Flap(Stuck(), "stuck")
    before = time.monotonic()
    for _ in range(flap.WAITING + 5):
        stuck.act(deposit())
    assert time.monotonic() - before < QUICK_S
    assert "the flap stuck hangs: it was not moved for can" in caplog.text
    free.set()
    stuck.close()
