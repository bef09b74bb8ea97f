"""The photos of a training as pixels: the graph's own input of each, and the canvas that crops are taken from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import DataError
from edge.preprocess import InputSpec, Resize
from edge.progress import Progress
from edge.scores import Truth
from train.augment import CANVAS_SHARE
from train.dataset.cache import Limits, Proportions, Rows, Sheet, Source, Stack, open_sheets
from train.dataset.examine import on_all_cores
from train.recipe import Augmentation, Recipe

FOLDER = "pixels"
"""Of the cache."""
LIMITS = Limits()


@dataclass(frozen=True)
class LabelledFile:
    """One photo on the disk."""

    path: Path
    target: int
    """Index of the label."""
    sha256: str = ""
    """Of the file, 64 hex digits; empty where nobody has read it yet."""


class Pictures:
    """Photos by number, in the order in which their files were given."""

    def __init__(self, targets: Truth, rows: Rows, inputs: Sheet, canvases: Sheet | None) -> None:
        """`rows` are the photos' places in the sheets."""
        self.targets = targets
        """int64 [n], index of the label."""
        self._rows, self._inputs, self._canvases = rows, inputs, canvases

    def __len__(self) -> int:
        return len(self._rows)

    def inputs(self, numbers: npt.ArrayLike) -> Stack:
        """Return what the graph takes, uint8 [k, height, width, 3] BGR, as edge.preprocess makes it to the bit."""
        return self._inputs.take(self._rows[np.asarray(numbers)])[0]

    def canvases(self, numbers: npt.ArrayLike) -> tuple[Stack, Proportions]:
        """Return what Augment takes: uint8 [k, side, side, 3] BGR, and width over height, float32 [k].

        A canvas is the whole photo, stretched to a square. Where nothing is augmented it is the graph's input.
        Raises ValueError where the photos were not opened for training.
        """
        if self._canvases is None:
            raise ValueError("these pictures were opened without canvases; open them with training=True")
        return self._canvases.take(self._rows[np.asarray(numbers)])

    def subset(self, numbers: npt.ArrayLike) -> Pictures:
        """Return some of the photos, numbered anew; nothing is read or copied."""
        chosen = np.asarray(numbers, dtype=np.int64)
        return Pictures(self.targets[chosen], self._rows[chosen], self._inputs, self._canvases)


def open_pictures(
    files: Sequence[LabelledFile],
    recipe: Recipe,
    cache: Path,
    *,
    training: bool,
    progress: Progress | None = None,
    say: Callable[[str], object] = lambda line: None,  # noqa: ARG005
    limits: Limits = LIMITS,
) -> Pictures:
    """Return the photos as pixels, decoded once and kept below `cache`, where there is room.

    To be called with all photos of a data set, whatever their roles, and divided by Pictures.subset: then other
    seeds, splits and folds find them again. `training` says whether canvases are wanted too. `progress` is told
    (done, total) of the photos where they must be decoded; `say` gets a sentence where that must be repeated for
    want of room. Raises DataError, naming the file: no photos, or one that is gone, broken, or has changed.
    """
    if not files:
        raise DataError("there are no photos to open; expected at least one")
    digests = _digests(files)
    names, first, rows = np.unique(digests, return_index=True, return_inverse=True)
    sources = [Source(files[index].path, str(name)) for name, index in zip(names, first, strict=True)]
    views = [recipe.input, canvas_spec(recipe)] if training else [recipe.input]
    if recipe.augment is Augmentation.NONE:
        views = [recipe.input]
    sheets = open_sheets(sources, views, cache / FOLDER, limits, progress, say)
    targets = np.array([file.target for file in files], dtype=np.int64)
    return Pictures(targets, rows.astype(np.int64), sheets[0], sheets[-1] if training else None)


def canvas_spec(recipe: Recipe) -> InputSpec:
    """Return how a photo becomes a canvas: all of it, stretched, so that all photos have one shape."""
    side = round(CANVAS_SHARE * recipe.view_size)
    return InputSpec(side, side, Resize.STRETCH)


def _digests(files: Sequence[LabelledFile]) -> list[str]:
    """Return the SHA-256 of each file, as it was given or as it is. Raises DataError where one can't be read."""
    found = on_all_cores(_digest, (file.path for file in files if not file.sha256))
    return [file.sha256 or next(found) for file in files]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror or error}); put it back, or run again") from error
