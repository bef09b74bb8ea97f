"""Looks on, and says when what is thrown in, or how it looks, is no longer what it was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from edge.appearance import appearance
from edge.board import Board
from edge.decision import Reason
from edge.drift import DriftWatch, Rows, row_of
from edge.drift_file import DriftFile
from edge.event import Deposit, Draft, Reporter
from edge.model import Model
from edge.motion import Sight
from edge.onlooker import Onlooker
from edge.preprocess import Pixels, fit
from edge.sources import Frame

log = logging.getLogger(__name__)

SAVED_EACH = 50
"""Deposits that a kill may forget."""


class DriftOnlooker(Onlooker):
    """An Onlooker. Another bundle or precision begins anew."""

    def __init__(
        self, model: Callable[[], Model], board: Board, reporter: Reporter, file: DriftFile | None = None
    ) -> None:
        self._model, self._board, self._reporter, self._file = model, board, reporter, file
        """`model`: says which decides now. `file`: None, a restart forgets."""
        self._key, self._watch = "", DriftWatch(None)
        self._unsaved = 0

    def looked(self, frame: Frame, sight: Sight) -> Sequence[Draft[Any]]:  # noqa: ARG002  the protocol's
        """Frames without a decision tell nothing but which model is at work."""
        self._follow(self._model())
        return ()

    def decided(self, made: Draft[Deposit], picture: Pixels) -> Sequence[Draft[Any]]:
        """Take in one deposit; an event where it changes what has drifted."""
        model = self._model()
        self._follow(model)
        changed = self._watch.add(_row(made.data, model, picture))
        self._unsaved += 1
        if changed or self._unsaved >= SAVED_EACH:
            self._save()
        self._board.drift(self._watch.drift)
        if not changed:
            return ()
        named = ", ".join(f"{one.of} against {one.against.value}" for one in self._watch.drift.drifted)
        log.warning("drift: %s", named or "none any more")
        return [self._reporter.drifted(model.bundle, self._watch.drift)]

    def close(self) -> None:
        """Keep what is known for the next start."""
        if self._file and self._key:
            self._file.finish(self._key, self._watch.memory)

    def _follow(self, model: Model) -> None:
        """Begin anew where another model decides."""
        key = f"{model.bundle.manifest.version} {model.info.precision.value}"
        if key == self._key:
            return
        memory = self._file.read(key, len(model.bundle.manifest.labels)) if self._file else None
        self._key, self._watch = key, DriftWatch(model.photos, memory)
        self._board.drift(self._watch.drift)

    def _save(self) -> None:
        self._unsaved = 0
        if self._file:
            self._file.write(self._key, self._watch.memory)


def _row(deposit: Deposit, model: Model, picture: Pixels) -> Rows:
    labels = model.bundle.manifest.labels
    strange = deposit.reason is not msgspec.UNSET and deposit.reason == Reason.STRANGER.value
    index = len(labels) if strange else labels.index(deposit.label)
    return row_of(index, deposit.confidence, appearance(fit(picture, model.bundle.manifest.input)))
