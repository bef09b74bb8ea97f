"""The bundle: a folder that holds a model, its contract and its proof, portable between machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edge.errors import BundleError
from edge.files import new_folder, replace_bytes
from edge.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Artifact,
    FileEntry,
    Manifest,
    Precision,
    digest,
    from_bytes,
    to_bytes,
)

ONNX_RUNTIME, TENSORRT, OPENVINO = "onnxruntime", "tensorrt", "openvino"
"""Who takes graphs, as in an artifact's runtimes. The first takes one of every bundle."""
PARITY_PHOTOS, PARITY_PAGE = "parity.npz", "parity.html"
LEFT_ON_DISK = frozenset({PARITY_PHOTOS, PARITY_PAGE})
"""Tens of megabytes that a bin never opens: verified when the bundle is loaded, read and verified again when asked
for."""


class Contents(Mapping[str, bytes]):
    """File name to its bytes, which are verified: all in memory, but for those that are left on the disk."""

    def __init__(self, folder: Path, entries: Sequence[FileEntry]) -> None:
        """Read and verify every file. Raises BundleError, OSError."""
        self._folder = folder
        self._entries = {entry.file: entry for entry in entries}
        self._held: dict[str, bytes] = {}
        for entry in entries:
            data = _read_verified(folder, entry)
            if entry.file not in LEFT_ON_DISK:
                self._held[entry.file] = data

    def __getitem__(self, file: str) -> bytes:
        """Return the verified bytes. Raises BundleError where one that was left on the disk has changed there."""
        if file in self._held:
            return self._held[file]
        with _naming(self._folder):
            return _read_verified(self._folder, self._entries[file])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. What `read` returns are bytes that were verified, whatever the disk says later."""

    folder: Path
    manifest: Manifest
    contents: Mapping[str, bytes]
    """File name to its verified bytes. Raises BundleError where a file of LEFT_ON_DISK has changed since."""

    def read(self, file: str) -> bytes:
        """Return the verified bytes of `file`: those of `load`, or of LEFT_ON_DISK what lies there, verified anew.

        Raises BundleError where the manifest does not name it, or what lies there has changed.
        """
        try:
            return self.contents[file]
        except KeyError:
            raise BundleError(f"{self.folder}: the bundle has no {file}; export the run again") from None

    def fits(self, precision: Precision | None, runtime: str) -> bool:
        """Say whether there is a graph of `precision` (None: the recommended one) that `runtime` takes."""
        wanted = precision or self.manifest.recommended
        return any(one.precision is wanted and runtime in one.runtimes for one in self.manifest.artifacts)

    def artifact(self, precision: Precision | None = None, runtime: str = ONNX_RUNTIME) -> Artifact:
        """Return the graph of `precision` (None: the recommended one) that `runtime` takes.

        Raises BundleError where there is none, with the precisions that there are.
        """
        wanted = precision or self.manifest.recommended
        fitting = [artifact for artifact in self.manifest.artifacts if runtime in artifact.runtimes]
        for artifact in fitting:
            if artifact.precision is wanted:
                return artifact
        held = ", ".join(artifact.precision.value for artifact in fitting) or "none"
        raise BundleError(
            f"{self.folder}: no {wanted.value} graph for {runtime} (it has: {held}); "
            f"export the run with --{wanted.value}"
        )


def load(folder: Path) -> Bundle:
    """Read a bundle and verify its schema, version, and the size and SHA-256 of every file.

    Raises BundleError naming what is wrong: the folder is missing, a file is missing, altered, of another
    size, or a link that leads elsewhere.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: {MANIFEST} is missing; make one with edge-export")
    with _naming(folder):
        with path.open("rb") as file:  # one byte more than is taken: a manifest of any size costs no memory
            manifest = from_bytes(file.read(MAX_MANIFEST_BYTES + 1))
        return Bundle(folder, manifest, Contents(folder, manifest.files))


def write(folder: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Bundle:
    """Write a bundle whole or not at all, and return it as loaded back from the disk.

    `manifest.files` is made here from `contents` (file name to bytes). Raises BundleError where `folder`
    exists, the manifest contradicts itself, or the disk refuses; nothing is left behind then.
    """
    entries = tuple(FileEntry(name, digest(data), len(data)) for name, data in sorted(contents.items()))
    encoded = to_bytes(replace(manifest, files=entries))
    from_bytes(encoded)
    try:
        with new_folder(folder) as temporary:
            for name, data in contents.items():
                (temporary / name).write_bytes(data)
            replace_bytes(temporary / MANIFEST, encoded)
    except FileExistsError as error:
        raise BundleError(f"{folder} exists; name another folder with -o, or remove it") from error
    except OSError as error:
        raise BundleError(f"bundle {folder} can't be written: {error.strerror or error}") from error
    return load(folder)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Let every error be a BundleError that names the folder."""
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error
    except OSError as error:
        raise BundleError(f"{folder} can't be read: {error}") from error


def _read_verified(folder: Path, entry: FileEntry) -> bytes:
    path = folder / entry.file
    if path.is_symlink():
        raise BundleError(f"{entry.file} is a link; expected a file inside the bundle")
    if not path.is_file():
        raise BundleError(f"{entry.file} is missing; copy the bundle anew")
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(f"{entry.file} has {size} bytes, expected {entry.bytes}; copy the bundle anew")
    data = path.read_bytes()
    if digest(data) != entry.sha256:
        raise BundleError(f"{entry.file} was altered: its SHA-256 is not the manifest's; copy the bundle anew")
    return data
