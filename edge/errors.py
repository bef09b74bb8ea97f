"""The one error tree.

Every error that binsight raises on purpose descends from BinsightError, and its text is one sentence that
says what failed, what was found, what was expected and how to mend it. The commands print it and exit 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import Enum


class BinsightError(Exception):
    """The root: input, files or surroundings are wrong, and the text says how to mend them."""


class UsageError(BinsightError):
    """An option or an argument has a value that can't serve."""


class ConfigError(UsageError):
    """A configuration file that can't be read, or that says what can't serve."""


class ImageError(BinsightError):
    """An image that can't be decoded, or a frame of the wrong type or shape."""


class DataError(BinsightError):
    """A data set that can't be used: missing, empty, broken, unsafe, or too small."""


class BundleError(BinsightError):
    """A bundle that is not what its manifest says, or that can't be written."""


class Stage(str, Enum):
    """What the golden self-test can find broken, from encoded image to answer."""

    DECODE = "decode"
    RESIZE = "resize"
    COLOUR_ORDER = "colour order"
    NORMALIZATION = "normalization"
    LABELS = "labels"
    ENGINE = "engine"


class GoldenError(BundleError):
    """The golden self-test failed: this device does not answer as the bundle did when it was made."""

    def __init__(self, text: str, stage: Stage | None = None) -> None:
        super().__init__(text if stage is None else f"self-test failed in {stage.value}: {text}")
        self.stage = stage
        """What broke; None: the record itself is of no use."""


class BackendError(BinsightError):
    """An inference engine that is missing, can't load the model, or was not the one asked for."""


class EngineError(BackendError):
    """An engine that was built once and is not what this device needs: another one's, damaged, or miscomputing."""


class SourceError(BinsightError):
    """A camera, video or folder that can't be opened or has stopped giving frames."""


class SinkError(BinsightError):
    """A place for events that can't be written."""


class TriggerError(BinsightError):
    """A trigger that can't be heard for now."""


class GpioError(BinsightError):
    """A GPIO line that can't be had."""


class OutboxError(SinkError):
    """An outbox that can't be opened or written."""


class OutboxFullError(OutboxError):
    """An outbox that holds all it may, and may let nothing go."""


class TrainError(BinsightError):
    """Training can't start or go on: weights, model or numbers do not fit."""


class WeightsError(TrainError):
    """Pretrained weights that can't be read, fetched, or do not fit the model."""


class ExportError(BinsightError):
    """A run that can't be exported, or a graph that can't be made from it."""


def nearest(word: str, known: Iterable[str], limit: int = 3) -> str:
    """Return the known words nearest to `word` as text to show, or all of them where none is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=limit, cutoff=0.5)
    return ", ".join(near or choices)
