"""As much of a Dockerfile as ours hold, read and carried out in roots of Debian, where no Docker runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

Run = Callable[[Path, str, Mapping[str, str]], None]
"""Carries out a line of RUN in a root, with an environment."""


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    base: str
    """As it stands behind FROM."""
    name: str
    """Behind AS; empty where there is none."""
    steps: tuple[tuple[str, str], ...]
    """Instruction in capitals, and the rest of its line."""


@dataclass(frozen=True)
class Image:
    """What a build leaves."""

    root: Path
    user: str = "0"
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    """ARG to value, of the last stage."""


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """Return the arguments before the first FROM with their defaults, and the stages."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name, ()))
        elif stages:
            stages[-1] = replace(stages[-1], steps=(*stages[-1].steps, (word, rest.strip())))
        else:
            name, _, value = rest.partition("=")
            arguments[name] = value
    return arguments, stages


def build(path: Path, bases: Mapping[str, Path], work: Path, run: Run, given: Mapping[str, str]) -> Image:
    """Carry a Dockerfile out below `work`. `bases`: the root that stands for each image; `given`: build arguments.

    Raises KeyError at an image without a root, ValueError at an instruction that is not known here.
    """
    defaults, stages = read(path)
    made: dict[str, Image] = {}
    image = Image(work)
    for number, stage in enumerate(stages):
        argument = stage.base.removeprefix("${").removesuffix("}")
        name = given.get(argument, defaults[argument]) if stage.base.startswith("${") else stage.base
        start = made[name] if name in made else Image(bases[name])
        image = replace(start, root=work / (stage.name or str(number)), arguments={})
        copy_root(start.root, image.root)
        for word, rest in stage.steps:
            image = _step(image, word, rest, made, path.parent, run, given)
        made[stage.name] = image
    return image


def copy_root(source: Path, target: Path) -> None:
    """Copy a root with its owners and devices; cheap where the file system shares blocks."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def _step(
    image: Image,
    word: str,
    rest: str,
    made: Mapping[str, Image],
    context: Path,
    run: Run,
    given: Mapping[str, str],
) -> Image:
    if word == "ARG":
        name, _, value = rest.partition("=")
        return replace(image, arguments={**image.arguments, name: given.get(name, value)})
    if word == "COPY":
        _copy(image.root, rest.split(), made, context)
        return image
    if word == "RUN":
        run(image.root, rest, image.arguments)
        return image
    if word == "HEALTHCHECK":
        return replace(image, healthcheck=tuple(json.loads(rest[rest.index("[") :])))
    settings = {
        "USER": {"user": rest},
        "WORKDIR": {"folder": rest},
        "ENTRYPOINT": {"entrypoint": tuple(json.loads(rest)) if word == "ENTRYPOINT" else ()},
        "CMD": {},
        "VOLUME": {},
        "STOPSIGNAL": {},
    }
    if word not in settings:
        raise ValueError(f"the Dockerfile has {word}, expected one of {', '.join(settings)}, ARG, COPY, RUN")
    return replace(image, **settings[word])  # type: ignore[arg-type]


def _copy(root: Path, words: list[str], made: Mapping[str, Image], context: Path) -> None:
    source = context
    if words[0].startswith("--from="):
        source = made[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    for name in names:
        there = root / target.lstrip("/")
        if target.endswith("/"):
            there = there / Path(name).name
        there.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "-T", source / name.lstrip("/"), there], check=True)
