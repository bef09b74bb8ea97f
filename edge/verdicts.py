"""What this device found of a bundle's graphs, on engines for which the bundle itself does not speak."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.backends.base import BackendInfo
from edge.bundle import Bundle
from edge.files import replace_bytes
from edge.manifest import Verdict

log = logging.getLogger(__name__)

MOST = 64
"""Verdicts that are kept; older ones are of bundles and libraries that are gone."""


@dataclass(frozen=True)
class Finding:
    """A verdict of one engine on one device."""

    bundle: str
    """The bundle's version."""
    backend: BackendInfo
    verdict: Verdict
    reason: str
    """For the verdict, one sentence."""


def find(folder: Path | None, bundle: Bundle, info: BackendInfo) -> Finding | None:
    """Return what was found earlier of this very engine, graph, library and device; None where nothing was."""
    if folder is None:
        return None
    path = _path(folder, bundle, info)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Finding)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s can't be read (%s): judging again", path, error)
        return None
    return found if (found.bundle, found.backend) == (bundle.manifest.version, info) else None


def keep(folder: Path | None, bundle: Bundle, finding: Finding) -> None:
    """Write a finding beside the engines. One that can't be written is found again at the next start."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_bytes(_path(folder, bundle, finding.backend), msgspec.json.encode(finding))
        for old in sorted(folder.glob("verdict-*.json"), key=lambda file: -file.stat().st_mtime)[MOST:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("the verdict on %s can't be kept: %s", finding.backend.file, error)


def _path(folder: Path, bundle: Bundle, info: BackendInfo) -> Path:
    about = msgspec.json.encode((bundle.manifest.version, info))
    return folder / f"verdict-{hashlib.sha256(about).hexdigest()[:16]}.json"
