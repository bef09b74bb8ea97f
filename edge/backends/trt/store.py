"""Engines that this device has built, kept so that the next start is immediate."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import BackendError
from edge.files import new_folder, replace_bytes

PLAN, RECORD, LOCK = "engine.plan", "engine.json", "lock"
FORMAT = 1
"""Of the cache; and what the builder is told that no field of Key says: strongly typed, no TF32."""
MOST_ENGINES = 8
"""More are of bundles and libraries that are gone: an SD card is small."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """All that an engine depends on. NVIDIA promises nothing of one where any of it is another."""

    onnx: str
    """SHA-256 of the graph."""
    library: str
    """TensorRT's name and version."""
    gpu: str
    """The GPU's own name."""
    compute_capability: str
    driver: str
    """The CUDA version of the driver."""
    max_batch: int
    """Of the optimization profile."""
    workspace: int
    """Bytes."""
    format: int = FORMAT

    @property
    def name(self) -> str:
        """Name of the engine's folder: 16 hex digits."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """What lies beside an engine."""

    key: Key
    sha256: str
    """Of the engine."""
    bytes: int


@dataclass(frozen=True)
class Store:
    """The folder of all engines. None of its files is trusted further than its digest."""

    folder: Path

    def load(self, key: Key) -> bytes | None:
        """Return the engine of `key`, None where there is none. One unlike its record is removed."""
        home = self.folder / key.name
        if not home.is_dir():
            return None
        try:
            plan = _read(home, key)
        except (OSError, msgspec.DecodeError, ValueError) as error:
            log.warning("the engine in %s is refused (%s), and will be built again", home, error)
            self.discard(key.name)
            return None
        with contextlib.suppress(OSError):  # a cache that can't be written can be read
            os.utime(home)  # the oldest ones go first
        return plan

    def keep(self, key: Key, plan: bytes) -> None:
        """Write an engine whole or not at all, and let the oldest ones go. Raises BackendError."""
        record = Record(key, hashlib.sha256(plan).hexdigest(), len(plan))
        self.discard(key.name)
        try:
            with new_folder(self.folder / key.name) as temporary:
                (temporary / PLAN).write_bytes(plan)
                (temporary / RECORD).write_bytes(msgspec.json.encode(record))
            engines = sorted(self.folder.glob(f"*/{RECORD}"), key=lambda file: file.parent.stat().st_mtime)
        except OSError as error:
            raise self.unwritable(error) from error
        for old in engines[:-MOST_ENGINES]:
            shutil.rmtree(old.parent, ignore_errors=True)

    def discard(self, name: str) -> None:
        """Remove the engine of the key of that name, if there is one."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Let one process build at a time. Raises BackendError where the folder can't be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self.unwritable(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # goes with the process, however it ends
            yield
        finally:
            os.close(handle)

    def timing_cache(self, key: Key) -> bytes:
        """Return what earlier builds measured of this GPU's kernels; empty where there was none."""
        try:
            return self._timings(key).read_bytes()
        except OSError:
            return b""

    def keep_timing_cache(self, key: Key, data: bytes) -> None:
        """Keep what a build measured. A cache that can't be kept costs the next build time, and nothing else."""
        try:
            replace_bytes(self._timings(key), data)
        except OSError as error:
            log.warning("the timing cache can't be kept: %s", error)

    def _timings(self, key: Key) -> Path:
        about = "\n".join((key.library, key.gpu, key.compute_capability, key.driver))
        return self.folder / f"timing-{hashlib.sha256(about.encode()).hexdigest()[:16]}.bin"

    def unwritable(self, error: OSError) -> BackendError:
        """Return what is to be said of a folder that can't be written."""
        return BackendError(
            f"{self.folder}, where this device keeps its TensorRT engines, can't be written "
            f"({error.strerror or error}): make room there, or name another place in XDG_CACHE_HOME"
        )


def _read(home: Path, key: Key) -> bytes:
    """Return the verified engine. Raises OSError, ValueError and msgspec.DecodeError."""
    record = msgspec.json.decode((home / RECORD).read_bytes(), type=Record)
    if record.key != key:
        raise ValueError(f"it is of {record.key}, expected {key}")
    plan = (home / PLAN).read_bytes()
    if len(plan) != record.bytes or hashlib.sha256(plan).hexdigest() != record.sha256:
        raise ValueError(f"its {len(plan)} bytes are not the {record.bytes} that were written")
    return plan
