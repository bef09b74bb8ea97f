"""What the guides say, taken apart: their commands, and the names in them that must exist."""

from __future__ import annotations

import importlib
import logging
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from edge.config import tomllib

ROOT = Path(__file__).resolve().parent.parent
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

SPAN = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(
    r"^(?:<!-- (?P<marker>[^\n]*?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
SEPARATORS = ("&&", "||", "|", ";")


@dataclass(frozen=True)
class Block:
    """Commands as a guide shows them."""

    guide: Path
    marker: str
    """`run`, `recipe: NAME`, or `read: WHY`: why it can't run in a test. Empty: there is none."""
    text: str

    def __str__(self) -> str:
        return f"{self.guide.name}: {self.text.splitlines()[0]}"


def blocks(guide: Path) -> tuple[Block, ...]:
    """Return the blocks of shell commands, in order."""
    found = BLOCK.finditer(guide.read_text())
    return tuple(Block(guide, one["marker"] or "", one["text"]) for one in found if one["kind"] == "sh")


def spans(guide: Path) -> list[str]:
    """Return all that stands between backticks in a line, outside of blocks."""
    return SPAN.findall(BLOCK.sub("", guide.read_text()))


def prose(guide: Path) -> str:
    """Return the text without its blocks of code."""
    return BLOCK.sub("", guide.read_text())


def scripts() -> dict[str, click.Command]:
    """Return the project's commands by name."""
    modules = {name: place.partition(":")[0] for name, place in PROJECT["scripts"].items()}
    return {name: importlib.import_module(module).command for name, module in modules.items()}


def options(command: click.Command) -> set[str]:
    """Return every name of every option."""
    return {name for one in command.params if isinstance(one, click.Option) for name in one.opts} | {"--help"}


def targets() -> set[str]:
    """Return the names that make knows: those of .PHONY, which are all."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    proofs = re.search(r"^PROOFS := (.*)$", text, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert proofs
    assert phony
    return {*phony[1].split(), *(f"proof-{name}" for name in proofs[1].split())}


def commands(text: str) -> Iterator[list[str]]:
    """Give each simple command of a script as its words; what runs on another machine (`ssh HOST '...'`) too."""
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in (*shlex.split(line, comments=True), ";"):
            if word not in SEPARATORS:
                words.append(word)
                continue
            if words[:1] == ["ssh"] and " " in words[-1]:
                yield from commands(words[-1])
            if words:
                yield words
            words = []


def check(words: list[str]) -> None:
    """Have the command itself read its arguments, without running it. Other people's commands pass.

    Raises click.ClickException or AssertionError where it would not take them.
    """
    known = scripts()
    start = next((n for n, word in enumerate(words) if word in known), None)
    if start is not None:
        words = words[: words.index(">")] if ">" in words else words
        arguments = words[start + 1 :]
        level = logging.getLogger().level, logging.getLogger("edge").level
        try:
            known[words[start]].make_context(words[start], arguments)
        except click.exceptions.Exit:  # --help and --print-config, once all is read
            pass
        finally:  # --debug acts at once
            logging.getLogger().setLevel(level[0])
            logging.getLogger("edge").setLevel(level[1])
        return
    assert not words[0].startswith("edge-"), f"there is no command {words[0]}"
    if words[0] == "make":
        asked = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        assert {*asked} <= targets(), f"make has no {asked}"
    for word in words:
        for extra in re.findall(r"^(?:binsight|\.)\[([\w,-]+)\]", word):
            assert {*extra.split(",")} <= {*PROJECT["optional-dependencies"]}, word
        if word.startswith("deploy/"):
            assert (ROOT / word).exists(), word
