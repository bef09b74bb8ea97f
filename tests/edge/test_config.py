"""The configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.config import LARGEST, Key, Kind, read, written
from edge.errors import ConfigError

KEYS = {
    "bundle": Key(Kind.TEXT),
    "mqtt": Key(Kind.TEXT),
    "mqtt-user": Key(Kind.TEXT),
    "mqtt-password-file": Key(Kind.TEXT),
    "max-frames": Key(Kind.WHOLE),
    "fps": Key(Kind.NUMBER),
    "show": Key(Kind.FLAG),
    "flap": Key(Kind.TEXT, many=True),
    "roi": Key(Kind.NUMBER, many=True),
}


def said(tmp_path: Path, text: str | bytes) -> dict[str, Any]:
    file = tmp_path / "bin.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {key: setting.value for key, setting in read(file, KEYS).items()}


def test_what_a_file_says(tmp_path: Path) -> None:
    text = """\ufeff# A comment\r
bundle = "Küche"\r
max-frames = 100
fps = 15
show = true
flap = ["a", "b"]
roi = [0, 0.5, 1]

[mqtt]
mqtt = 5
user = '''bin
7'''
password.file = "x"
""".replace("password.file", "mqtt-password-file")
    assert said(tmp_path, text) == {
        "bundle": "Küche",
        "max-frames": 100,
        "fps": 15,
        "show": True,
        "flap": ["a", "b"],
        "roi": [0, 0.5, 1],
        "mqtt": "5",
        "mqtt-user": "bin\n7",
        "mqtt-password-file": "x",
    }
    assert said(tmp_path, 'mqtt.user = "a"\n[mqtt-password]\nfile = "b"') == {
        "mqtt-user": "a",
        "mqtt-password-file": "b",
    }
    assert said(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nmax_frames = 5", ["line 2: unknown key max_frames; nearest: max-frames"]),
        ("[mqtt]\n'usr' = 's3cret'", ["line 2: unknown key mqtt-usr; nearest: mqtt-user"]),
        (
            "mqtt = { pasword-file = 's3cret' }",
            ["line 1: unknown key mqtt-pasword-file; nearest: mqtt-password-file"],
        ),
        ("[mqtt]\nuser = 'a'\nmax-frames = 5", ["line 3: max-frames is no key of [mqtt]; put it above the first"]),
        ("[camera]", ["unknown key camera"]),
        ("mqtt-user = 's3cret'\n[mqtt]\nuser = 's3cret'", ["line 3: mqtt-user is there already: see", "line 1"]),
        ("mqtt = 's3cret'\nmqtt-user = 'a'\nmqtt-user = 'b'", ["no TOML", "overwrite a value"]),
        ("max-frames = 's3cret'", ["line 1: max-frames is text; expected a whole number"]),
        ("max-frames = true", ["max-frames is true; expected a whole number"]),
        ("max-frames = 1.5", ["max-frames is 1.5; expected a whole number"]),
        ("max-frames = 0x" + "f" * 5000, ["max-frames is a number of more than 64 bits"]),
        ("max-frames = " + "9" * 5000, ["a number of too many digits"]),
        ("fps = nan", ["fps is nan; expected a number"]),
        ("show = 1", ["show is 1; expected true or false"]),
        ("bundle = ['s3cret']", ["bundle is a list; expected text in quotes"]),
        ("bundle = 2026-11-21", ["bundle is a date or time; expected text in quotes"]),
        ("bundle = 1.5", ["bundle is 1.5; expected text in quotes"]),
        ("bundle = s3cret", ["no TOML", "line 1", "texts in quotes"]),
        ('bundle = "a\\u0000"', ["bundle holds a NUL"]),
        ("mqtt = 'mqtt://***@host'", ["mqtt was hidden in part when it was printed; write all of it"]),
        ("flap = 's3cret'", ["flap is text; expected a list in brackets, each text in quotes"]),
        ("flap = ['s3cret', true]", ["flap, number 2 is true; expected text in quotes"]),
        ("[[flap]]\na = 's3cret'", ["flap, number 1 is a table"]),
        ("flap = " + "[" * 100_000, ["nested too deep"]),
        (b"\nbundle = '\xff'", ["no UTF-8 in line 2"]),
        (b"#" * (LARGEST + 1), ["larger than 1048576 bytes"]),
    ],
)
def test_what_is_wrong_is_one_sentence_that_says_where(
    tmp_path: Path, text: str | bytes, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        said(tmp_path, text)
    assert str(tmp_path / "bin.toml") in str(caught.value)
    assert "s3cret" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(ConfigError, match="can't be read: "):
            read(path, KEYS)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for value in ('"\\\n\x00\x7f\x9b\u202eä€😀', "", "***"[:2], "#"):
        assert said(tmp_path, f"bundle = {written(value.replace(chr(0), ''))}") == {
            "bundle": value.replace("\0", "")
        }
    assert said(tmp_path, f"roi = {written([1e-05, 2, 1e300])}") == {"roi": [1e-05, 2, 1e300]}
    assert written("\0") == '"\\u0000"'
