"""A folder of images, each of them one deposit."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from edge.errors import DataError, ImageError, SourceError
from edge.images import list_images
from edge.preprocess import decode
from edge.sources.base import Clock, Closing, Counts, Frame

log = logging.getLogger(__name__)


class Folder(Closing):
    """Image files in plain order of their paths, one a second of the source's own clock."""

    single = True
    live = False
    counts = Counts()

    def __init__(self, root: Path, paths: tuple[Path, ...], clock: Clock) -> None:
        self._root = root
        self._paths = iter(paths)
        self._clock = clock
        self._number = 0
        self.broken = 0

    def read(self) -> Frame | None:
        """Return the next image that can be decoded, None after the last. A broken one is named and left out."""
        for path in self._paths:
            name = path.relative_to(self._root).as_posix()
            try:
                image = decode(path.read_bytes())
            except (ImageError, OSError) as error:
                self.broken += 1
                log.warning("%s: %s; left out", name, error)
                continue
            self._number += 1
            return Frame(image, self._clock(), float(self._number - 1), name)
        return None

    def __enter__(self) -> Folder:
        return self


def open_folder(uri: str, clock: Clock = time.monotonic) -> Folder:
    """Open all images below the folder `uri`, or the one image `uri`. Raises SourceError where there are none."""
    path = Path(uri)
    try:
        paths = list_images((path,))
    except (DataError, OSError) as error:
        raise SourceError(f"folder source {uri}: {error}") from error
    return Folder(path if path.is_dir() else path.parent, paths, clock)
