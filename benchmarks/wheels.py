"""What `pip install 'binsight[cpu]'` brings on a board, asked of pip anywhere: wheels alone, and how large."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.declared import declared

PYTHONS = ("3.10", "3.12")
"""Of JetPack 6 and of JetPack 7."""
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64")
"""pip takes the names as they stand: that an older one fits too has to be said."""


def resolve(python: str, more: Sequence[str] = ()) -> dict[str, str]:
    """Return name to version of all that a bin on a board gets, and of `more` requirements.

    pip judges markers by the Python that runs it, not by `python`: what they want there is asked for until nothing
    is missing. Raises LookupError with pip's own words, which name the package without a wheel.
    """
    target = environment(python)
    asked = [_plain(one) for one in declared("cpu") if _holds(one, target, "")]
    asked += more
    while True:
        found = {_name(one): one for one in _report(python, asked)}
        wanted = [
            requirement
            for one in found.values()
            for requirement in map(Requirement, one["metadata"].get("requires_dist", ()))
            if canonicalize_name(requirement.name) not in found and _holds(requirement, target, *_extras(one))
        ]
        if not wanted:
            return {name: one["metadata"]["version"] for name, one in found.items()}
        asked += [_plain(one) for one in wanted]


def unpacked_megabytes(python: str) -> float:
    """Return what the files of all these wheels hold, in millions of bytes. Downloads them."""
    pins = [f"{name}=={version}" for name, version in resolve(python).items()]
    with tempfile.TemporaryDirectory() as folder:
        _pip("download", "--quiet", "--no-deps", f"--dest={folder}", *_for(python), *pins)
        wheels = [*Path(folder).glob("*.whl")]
        if len(wheels) != len(pins):
            raise LookupError(f"{len(wheels)} wheels for {len(pins)} packages")
        return sum(entry.file_size for wheel in wheels for entry in zipfile.ZipFile(wheel).infolist()) / 1e6


def install_at(python: str, folder: Path) -> None:
    """Unpack all of it into a folder, as pip does, on whichever machine."""
    pins = [f"{name}=={version}" for name, version in resolve(python).items()]
    _pip("install", "--quiet", "--no-deps", f"--target={folder}", *_for(python), *pins)


def environment(python: str) -> dict[str, str]:
    """Return what markers are judged by on a board."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.12",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": "aarch64",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
    }


def _report(python: str, requirements: Iterable[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = ("--dry-run", "--quiet", "--ignore-installed", f"--target={folder}/none", f"--report={report}")
        _pip("install", *words, *_for(python), *requirements)
        found: list[dict[str, Any]] = json.loads(report.read_text())["install"]
    return found


def _for(python: str) -> list[str]:
    platforms = [f"--platform={one}" for one in PLATFORMS]
    return ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]


def _pip(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise LookupError("; ".join(errors) or done.stderr)


def _name(one: Mapping[str, Any]) -> str:
    return canonicalize_name(one["metadata"]["name"])


def _extras(one: Mapping[str, Any]) -> tuple[str, ...]:
    return ("", *one.get("requested_extras", ()))


def _holds(one: Requirement, target: Mapping[str, str], *extras: str) -> bool:
    return one.marker is None or any(one.marker.evaluate({**target, "extra": extra}) for extra in extras)


def _plain(one: Requirement) -> str:
    """Return the requirement without its marker, which was judged."""
    extras = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
    return f"{one.name}{extras}{one.specifier}"
