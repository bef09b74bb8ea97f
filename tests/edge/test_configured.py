"""Every option of edge-run from a file, as the example of deploy/ sets it, and what --print-config says of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from edge.cli.config import Configured, _kind, key_of, section
from edge.cli.run import NAME, command
from edge.config import read, tomllib
from edge.errors import ConfigError
from tests.edge.test_run_command import check_error, edge_run, lines
from tests.tiny import make_bundle

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "deploy" / "bin.toml"


def example() -> str:
    """Return deploy/bin.toml with each of its examples switched on."""
    return re.sub(r"(?m)^#(?=[a-z])", "", EXAMPLE.read_text())


def params(*arguments: object) -> dict[str, Any]:
    return command.make_context(NAME, [*map(str, arguments)]).params


def printed(capfdbinary: pytest.CaptureFixture[bytes], *arguments: object) -> str:
    with pytest.raises(click.exceptions.Exit) as caught:
        command.make_context(NAME, [*map(str, arguments), "--print-config"])
    assert caught.value.exit_code == 0
    return capfdbinary.readouterr().out.decode()


def bare(text: str) -> list[str]:
    return [line.partition("  # ")[0] for line in text.splitlines()]


def test_the_example_has_every_option_and_nothing_else(tmp_path: Path) -> None:
    for line in EXAMPLE.read_text().splitlines():
        assert re.match(r"# |#$|#?[a-z-]+ = |$", line), line
    active = re.findall(r"(?m)^([a-z-]+) = ", EXAMPLE.read_text())
    assert active == ["bundle", "source"]
    named = re.findall(r"(?m)^([a-z-]+) = ", example())
    assert sorted(named) == sorted(command.keys), "deploy/bin.toml has one line for each option of edge-run"
    assert params("--config", EXAMPLE)["source"] == "0"


def test_every_option_goes_through_file_command_line_and_print(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "bin.toml"
    file.write_text(example())
    first = printed(capfdbinary, "--config", file)
    for line in first.splitlines():
        assert re.search(rf"  # {re.escape(str(file))}, line \d+$", line), line
    defaults = params("b", "s")
    assert [name for name, value in params("--config", file).items() if value == defaults[name]] == []

    settings = read(file, {key: _kind(one) for key, one in command.keys.items()})
    words = [word for key, one in command.keys.items() for word in _words(key, one, settings[key].value)]
    second = printed(capfdbinary, *words)
    assert {line.partition("  # ")[2] for line in second.splitlines()} == {"command line"}
    folder = str(Path.cwd())
    assert bare(second.replace(folder, str(tmp_path))) == bare(first)

    for text in (first, second):
        (tmp_path / "again.toml").write_text(text)
        assert bare(printed(capfdbinary, "--config", tmp_path / "again.toml")) == bare(text)
    assert params("--config", tmp_path / "again.toml") == params(*_absolute(words, settings))
    (tmp_path / "again.toml").write_text(first)
    assert params("--config", tmp_path / "again.toml") == params("--config", file)


def test_defaults_are_printed_and_read(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    text = printed(capfdbinary)
    assert "# bundle is not set\n" in text
    assert 'mqtt-version = "5"  # default\n' in text
    (tmp_path / "bin.toml").write_text(text)
    assert params("b", "s", "--config", tmp_path / "bin.toml") == params("b", "s")


def _words(key: str, param: click.Parameter, value: Any) -> list[str]:
    """Return what says the same on a command line."""
    if isinstance(param, click.Argument):
        return [str(value)]
    items = value if param.multiple else [value]
    if getattr(param, "is_flag", False):
        return [f"--{key}"] if value else []
    return [
        word
        for item in items
        for word in (f"--{key}", *(map(str, item) if isinstance(item, list) else (str(item),)))
    ]


def _absolute(words: list[str], settings: Any) -> list[str]:
    paths = {key for key, one in command.keys.items() if isinstance(one.type, click.Path)}
    values = {str(settings[key].value) for key in paths if key in settings}
    return [str(Path(word).absolute()) if word in values and word != "-" else word for word in words]


def test_the_command_line_goes_before_the_file(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "conf" / "bin.toml"
    file.parent.mkdir()
    file.write_text(
        'bundle = "b"\nsource = "photos"\nmax-frames = 5\nflap = ["true"]\nevents = "e.jsonl"\n'
        'outbox = "~/o.db"\nmqtt = "mqtt://u:s3cret@h"\n'
    )
    got = params("--config", file, "--max-frames", 7, "--flap", "false", "--mqtt", "mqtt://h")
    assert (got["max_frames"], got["flaps"], got["mqtt"]) == (7, ("false",), "mqtt://h")
    assert got["bundle"] == tmp_path / "conf" / "b"
    assert got["source"] == str(tmp_path / "conf" / "photos")
    assert got["events"] == str(tmp_path / "conf" / "e.jsonl")
    assert got["outbox"] == Path.home() / "o.db"
    text = printed(capfdbinary, "x", "--config", file, "--max-frames", 7)
    assert f'bundle = "{Path.cwd()}/x"  # command line\n' in text
    assert "max-frames = 7  # command line\n" in text
    assert f'mqtt = "mqtt://***@h"  # {file}, line 7, hidden in part\n' in text
    for source in ("0", "-", "rtsp://h/x", "csi://0", "demo://"):
        file.write_text(f'source = "{source}"')
        assert params("b", "--config", file)["source"] == source


def test_print_config_is_toml_whatever_is_printed(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "a\n# b.toml"
    file.write_text('bin = "a\\nb"\nmqtt-user = "\\u001b[31m"')
    text = printed(capfdbinary, "--config", file, "--webhook", "hooks.example/T0/kq3vW9xZ0bT4mN7c", "\udcff", "s")
    settings = tomllib.loads(text)
    assert (settings["bin"], settings["mqtt-user"]) == ("a\nb", "\x1b[31m")
    assert settings["webhook"] == "hooks.example/T0/***"
    assert "kq3vW9xZ0bT4mN7c" not in text
    assert "no UTF-8, so that no file can say it" in text
    assert text.splitlines()[0].startswith("# bundle = ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max-frames = 0", ["line 1: max-frames: 0 is not in the range x>=1"]),
        ("mqtt-version = 6", ["line 1: mqtt-version: '6' is not one of '5', '3.1.1'"]),
        ("show = 'yes'", ["line 1: show is text; expected true or false"]),
        ("config = 'x'", ["unknown key config"]),
        ("presicion = 'fp32'", ["unknown key presicion; nearest: precision"]),
    ],
)
def test_values_of_the_file_are_checked_like_options(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "bin.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        params("b", "s", "--config", file)
    for word in words:
        assert word in str(caught.value)


def test_what_the_file_does_not_name_is_still_missing(tmp_path: Path) -> None:
    file = tmp_path / "bin.toml"
    file.write_text('bundle = "b"')
    with pytest.raises(click.UsageError, match="Missing argument 'SOURCE'"):
        params("--config", file)
    file.write_text("max-frames = 0")
    with pytest.raises(click.BadParameter, match="-1 is not in the range"):
        params("b", "s", "--config", file, "--max-frames", -1)


def test_kinds_of_options_that_edge_run_may_have_one_day(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    @click.command(cls=Configured)
    @section("Camera", click.option("--roi", type=float, nargs=4), click.option("--fps", type=click.FloatRange(1)))
    @click.option("--live/--no-live", default=True)
    @click.option("-v", "--verbose", count=True)
    @click.option("--size", callback=lambda ctx, param, text: text and tuple(map(int, text.split("x"))))
    def other(**_: object) -> None: ...

    file = tmp_path / "bin.toml"
    for text in ("", 'roi = [0.0, 0.5, 1, 1e-5]\nfps = 2\nlive = false\nverbose = 2\nsize = "4x3"'):
        file.write_text(text)
        got = other.make_context("other", ["--config", str(file)]).params
        with pytest.raises(click.exceptions.Exit):
            other.make_context("other", ["--config", str(file), "--print-config"])
        file.write_bytes(capfdbinary.readouterr().out)
        assert other.make_context("other", ["--config", str(file)]).params == got
    assert got == {"roi": (0.0, 0.5, 1.0, 1e-05), "fps": 2.0, "live": False, "verbose": 2, "size": (4, 3)}
    file.write_text("roi = [0, 1]")
    with pytest.raises(ConfigError, match="line 1: roi: Takes 4 values but 2 were given"):
        other.make_context("other", ["--config", str(file)])
    text = other.get_help(click.Context(other))
    assert text.index("Camera:") < text.index("--roi") < text.index("General:") < text.index("--live")


def test_help_shows_every_option_under_a_heading() -> None:
    text = command.get_help(click.Context(command))
    for key in command.keys.keys() - {"bundle", "source"}:
        assert re.search(rf"(?m)^  (-\w, )?--{key}\b", text), key
    headings = re.findall(r"(?m)^(\w+):$", text)
    assert {"Events", "MQTT", "Engine"} < {*headings}
    assert headings[-1] == "General"
    assert len(headings) == len(set(headings))
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_a_file_alone_runs_the_daemon(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    (tmp_path / "bin.toml").write_text(
        'bundle = "bundle"\nsource = "demo://?deposits=2&width=160&height=120"\nevents = "e.jsonl"\ndebug = true\n'
    )
    done = edge_run("--config", tmp_path / "bin.toml", "--bin", "k")
    assert done.returncode == 0, done.stderr
    assert [event["source"] for event in lines((tmp_path / "e.jsonl").read_text())] == ["/bins/k"] * 2
    (tmp_path / "bin.toml").write_text("debug = true\nevnts = 'x'")
    check_error(edge_run("--config", tmp_path / "bin.toml"), "unknown key evnts; nearest: events")
    (tmp_path / "bin.toml").write_text("debug = true\nevents = '/nowhere/x'")
    done = edge_run(tmp_path / "bundle", "demo://", "--config", tmp_path / "bin.toml")
    assert "Traceback" in done.stderr


def test_keys_are_unlike_one_another() -> None:
    assert len({key_of(param) for param in command.params}) == len(command.params)
