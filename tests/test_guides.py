"""What the guides say is so: commands run or are read by the program itself, and every name in them exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

from edge import event
from edge.intervals import wilson
from edge.kept import UNSORTED, Name, Why
from edge.manifest import Precision
from edge.preprocess import Pixels
from tests import guides
from tests.guides import GUIDES, ROOT, Block, blocks, check, commands, options, prose, scripts, spans
from tests.made import BIN, draw, pack, write_photos
from tests.tiny import COLOURS, make_bundle, solid

README = ROOT / "README.md"
WALKED = [guide for guide in GUIDES if guide != README and any(one.marker == "run" for one in blocks(guide))]
FOREIGN = {"--gpus", "--system-site-packages", "--nnodes", "--rdzv-endpoint", "--token", "--sdnotify=container"}
"""Options of other programs that stand alone in a text."""


def every_block() -> list[Block]:
    return [block for guide in GUIDES for block in blocks(guide)]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader of the guides has: photos, a run with a bundle, photos of the bin, what a bin kept."""
    folder = tmp_path_factory.mktemp("desk")
    pack(write_photos(folder / "photos", 8, size=32), folder / "photos.zip")
    precisions = (Precision.FP32, Precision.FP16, Precision.INT8)
    made = make_bundle(folder / "runs" / "first" / "bundle", precisions=precisions, parity_images=20)
    shutil.copytree(made.folder, folder / "bundle")
    rng = np.random.default_rng(0)
    for number in range(36):
        label = sorted(COLOURS)[number % 3]
        picture = np.clip(solid(label) + rng.normal(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
        _write(folder / "bin-photos" / label / f"{number}.jpg", picture)
        name = Name(
            number, [*Why][number % 3], f"{'3f2c' if number < 8 else '0b7e'}{number:04x}-0000-4000-8000-{0:012}"
        )
        kept = _write(folder / "kept" / UNSORTED / "metal" / f"{name.stem}.jpg", draw("disc", number, 32))
        kept.with_suffix(".json").write_text(json.dumps({"id": name.id, "data": {"label": "metal"}}))
    (folder / "bin.toml").write_text('bundle = "bundle"\nsource = "demo://?deposits=1"\n')
    return folder


def _write(path: Path, picture: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
    return path


@pytest.mark.parametrize("guide", WALKED, ids=lambda guide: guide.name)
def test_its_commands_run(guide: Path, desk: Path, tmp_path: Path) -> None:
    shutil.copytree(desk, tmp_path / "desk")
    names = {"PATH": f"{BIN}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    script = "".join(block.text for block in blocks(guide) if block.marker == "run")
    done = subprocess.run(
        ["bash", "-euxc", script],
        cwd=tmp_path / "desk", env={**os.environ, **names}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("block", every_block(), ids=str)
def test_its_commands_are_such(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of those that run: a test may have changed what is asked."""
    assert re.fullmatch(r"run|recipe: \w+|read: .+", block.marker), f"{block}: run, or read and why?"
    shutil.copy(ROOT / "deploy" / "bin.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    found = [*commands(block.text)]
    assert found
    for words in found:
        check(words)


def test_what_does_not_exist_is_found() -> None:
    for line in (
        "edge-run b 0 --colour",
        "edge-eval b --precision fp8",
        "edge-fly",
        "make tea",
        "pip install '.[x]'",
    ):
        with pytest.raises((click.ClickException, AssertionError)):
            check(shlex.split(line))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_option_that_it_names_exists(guide: Path) -> None:
    known = scripts()
    every = {name for command in known.values() for name in options(command)}
    for span in spans(guide):
        first, *rest = span.split()
        if first.startswith("--") and span not in FOREIGN and first not in FOREIGN:
            assert first.partition("=")[0] in every, span
        elif first.startswith("edge-"):
            assert first in known, span
            named = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
            assert named <= options(known[first]), span
        elif first == "make" and rest:
            assert rest[0] in guides.targets() or rest[0] == "proof-NAME", span


@pytest.mark.parametrize(
    "guide", [*GUIDES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda one: one.name
)
def test_every_file_that_it_names_is_there(guide: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", guide.read_text()):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        file = guide.parent / place if place else guide
        assert file.exists(), link
        assert not anchor or anchor in _anchors(file), link
    for name in re.findall(r"`((?:edge|train|export|benchmarks|docs|deploy|tests)/[\w./-]+)`", guide.read_text()):
        assert (ROOT / name).exists(), name


def _anchors(file: Path) -> set[str]:
    """Return what GitHub makes of the headings, as far as ours go."""
    headings = re.findall(r"^#+ (.+)$", prose(file), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_extra_event_and_alert_that_it_names_exists(guide: Path) -> None:
    text = guide.read_text()
    for extras in re.findall(r"binsight\[([\w,-]+)\]", text):
        assert {*extras.split(",")} <= {*guides.PROJECT["optional-dependencies"]}, extras
    assert {*re.findall(r"`(binsight\.[a-z]+)`", text)} <= _event_types()
    assert {*re.findall(r"\balert\b[^`\n]{0,30}`([A-Z]\w+)`", text)} <= _alerts()


def _event_types() -> set[str]:
    """Return the types of events that the code can send."""
    return {one for one in vars(event).values() if isinstance(one, str) and re.fullmatch(r"binsight\.\w+", one)}


def _alerts() -> set[str]:
    return {*re.findall(r"- alert: (\w+)", (ROOT / "deploy" / "alerts.yml").read_text())}


def test_every_event_type_and_every_alert_is_told_of() -> None:
    told = {*re.findall(r"`(binsight\.[a-z]+)`", (ROOT / "docs" / "events.md").read_text())}
    assert told == _event_types()
    rows = re.findall(
        r"^\| ([A-Z][\w, ]+?) \((?:page|look)\) \|", (ROOT / "docs" / "fleet.md").read_text(), re.MULTILINE
    )
    assert {name for row in rows for name in row.split(", ")} == _alerts()


def test_the_readme_names_every_guide_and_every_command() -> None:
    text = README.read_text()
    for guide in GUIDES[1:]:
        assert f"](docs/{guide.name})" in text, guide.name
    assert all(f"| `{name}" in text for name in scripts())


def test_the_table_of_intervals_is_what_the_code_computes() -> None:
    text = (ROOT / "docs" / "accuracy-on-device.md").read_text()
    table = text.partition("<!-- intervals -->\n")[2].partition("<!-- /intervals -->")[0]
    shares = (0.5, 0.8, 0.9, 0.95, 1.0)
    lines = [
        f"| photos | {' | '.join(f'{share:.0%} right' for share in shares)} |",
        f"|{'---|' * (len(shares) + 1)}",
    ]
    for photos in (20, 50, 100, 200, 500, 1000):
        ends = (wilson(round(share * photos), photos) for share in shares)
        cells = " | ".join(f"{low * 100:.0f} to {high * 100:.0f}" for low, high in ends)
        lines.append(f"| {photos} | {cells} |")
    assert table == "\n".join(lines) + "\n"


def test_the_pictures_are_small() -> None:
    for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", "".join(guide.read_text() for guide in GUIDES)):
        name = Path(link).name
        assert 5_000 < (ROOT / "docs" / "images" / name).stat().st_size < 150_000, link
