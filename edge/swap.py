"""Another bundle in place of the one that serves, without a stop; and another engine in place of the first."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import TracebackType

from edge import bundle as bundles
from edge.backends import Backend
from edge.backends.base import check_answers
from edge.bundle import Bundle
from edge.errors import BackendError, BinsightError
from edge.model import Model
from edge.serving import Serving
from edge.steady import give_back

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Seconds from one look at the bundle's files to the next. A change counts once they rested for as long."""

SLOWER = 10.0
"""A bundle that takes so many times as long as the one before is refused."""

TRIES = 9
"""Inferences that say how long one takes."""

PATIENCE = 30.0
"""Seconds for the thread to end: it may be in the middle of loading."""

Files = tuple[str, tuple[tuple[str, int, int, int], ...]]
"""Where the bundle really lies; name, bytes, time of change and inode of each file."""


@dataclass(frozen=True)
class _Candidate:
    """What is to serve next."""

    model: Model
    serving: Serving
    usual: float
    """Milliseconds of one inference."""


class Swap:
    """Watches a bundle's path, and gives a model of what is new there: loaded, verified, proven and warm.

    All of that is done in a thread beside what serves. `poll` is for the loop's thread.
    """

    def __init__(
        self,
        path: Path,
        loaded: Files | None,
        serving: Serving,
        model: Model,
        again: threading.Event,
        refused: Callable[[str], object],
    ) -> None:
        self._path = path
        """As it was given: a link is followed anew at each look."""
        self._serving, self._model = serving, model
        self._again = again
        """Set by whoever wants the bundle looked at now, whether it changed or not."""
        self._refused = refused
        """Told why a bundle does not serve; in the thread."""
        self._usual = _usual(model.backend)
        self._newest = self._tried = loaded
        """What `files` said last; and when a bundle was loaded last, the one that serves to begin with."""
        self._ready: queue.SimpleQueue[_Candidate] = queue.SimpleQueue()
        self._maker = serving.maker(model.backend)
        self._retired: queue.SimpleQueue[AbstractContextManager[object]] = queue.SimpleQueue()
        """What gave way, to be closed by the thread: that takes longer than a frame may wait."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bundle", daemon=True)

    def __enter__(self) -> Swap:
        if self._maker:
            self._maker.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._again.set()
        self._thread.join(PATIENCE)
        self._forget()
        self._let_go()
        if self._maker:
            self._maker.__exit__(None, None, None)

    def poll(self, before: Model) -> Model | None:
        """Return what takes over from `before` now, once: it is the caller's to close, and `before` no longer."""
        candidate = self._next()
        if candidate is None:
            backend = self._maker.poll() if self._maker else None
            if backend is None:
                return None
            new = Model(self._serving.bundle, backend)
        else:
            if self._maker:  # an engine of the old bundle never serves the new one
                self._retired.put(self._maker)
                self._maker = None
            new = candidate.model
            self._model, self._usual = new, candidate.usual
            self._serving = candidate.serving  # last: by this the thread sees that it was taken
        self._retired.put(closing(before))
        self._again.set()  # it is closed in the thread; a new bundle may need an engine
        return new

    def _next(self) -> _Candidate | None:
        try:
            return self._ready.get_nowait()
        except queue.Empty:
            return None

    def _forget(self) -> None:
        """Close what was to serve next: it is no longer what lies there."""
        while (older := self._next()) is not None:
            older.model.close()

    def _run(self) -> None:
        serving = self._serving
        while not self._ending.is_set():
            asked = self._again.wait(LOOK_S)
            self._again.clear()
            if self._ending.is_set():
                return
            try:
                if self._let_go():
                    asked = False
                if serving is not self._serving:  # the loop has taken it
                    serving = self._serving
                    maker = serving.maker(self._model.backend)
                    self._maker = maker and maker.__enter__()
            except Exception as error:  # the swap is done; this thread is still needed for the next
                log.error("fault in binsight after a swap: %s: %s", type(error).__name__, error)
                log.debug("it was:", exc_info=True)
            try:
                self._look(asked)
            except Exception as error:  # a bundle may be broken in ways that nobody thought of
                log.debug("the bundle at %s was not taken", self._path, exc_info=True)
                self._refused(f"fault in binsight: {type(error).__name__}: {error}")

    def _let_go(self) -> bool:
        """Close what gave way, and tell whether there was any."""
        if self._retired.empty():
            return False
        while not self._retired.empty():
            self._retired.get().__exit__(None, None, None)
        give_back()
        return True

    def _look(self, asked: bool) -> None:
        seen = files(self._path)
        rests, self._newest = seen == self._newest, seen
        if not asked and (not rests or seen is None or seen == self._tried):
            return
        self._tried = seen
        try:
            self._prepare()
        except BinsightError as error:
            self._refused(str(error))

    def _prepare(self) -> None:
        """Make a candidate of what lies there. Raises BinsightError."""
        begun = time.monotonic()
        bundle = bundles.load(Path(os.path.realpath(self._path)))  # what a link names now, to the end
        if bundle.manifest.version == self._serving.bundle.manifest.version:
            self._forget()
            log.info("the bundle at %s is the one that serves", self._path)
            return
        serving = replace(self._serving, bundle=bundle)
        backend = serving.open()
        try:
            usual, model = _usual(backend), Model(bundle, backend)
            if usual > SLOWER * self._usual:
                raise BackendError(
                    f"{bundle.manifest.name} takes {usual:.1f} ms an answer, what serves {self._usual:.1f} ms; "
                    f"expected at most {SLOWER:g} times as long: export a smaller model, or start the bin anew"
                )
        except BaseException:
            backend.close()
            raise
        self._forget()
        self._ready.put(_Candidate(model, serving, usual))
        log.info("%s is ready after %.1f s", _named(bundle), time.monotonic() - begun)


def files(path: Path) -> Files | None:
    """Return what tells whether a bundle has changed; None where there is none."""
    real = os.path.realpath(path)
    try:
        with os.scandir(real) as entries:
            stats = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        return None
    return real, tuple(sorted((name, one.st_size, one.st_mtime_ns, one.st_ino) for name, one in stats))


def _usual(backend: Backend) -> float:
    """Return the milliseconds that an inference takes. Raises BackendError where its answers are no numbers."""
    batch, taken = backend.allocate(1), []
    for _ in range(TRIES):
        begun = time.perf_counter()
        answers = backend.infer(batch)
        taken.append(time.perf_counter() - begun)
        check_answers(answers, backend.info)
    return median(taken) * 1e3


def _named(bundle: Bundle) -> str:
    return f"bundle {bundle.manifest.name} {bundle.manifest.version[:12]}"
