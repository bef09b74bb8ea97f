"""From frames to decisions to events. Source, engine, sinks, clock and stop are handed in."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.backends import Backend
from edge.backends.base import check_answers
from edge.decision import Reason
from edge.episodes import Episodes, Outcome, Seen, State
from edge.errors import SourceError
from edge.event import Deposit, Draft, Event, Latency, Reporter
from edge.ledger import Ledger, Numbers
from edge.motion import SceneWatch, thumbnail
from edge.preprocess import InputSpec, Pixels, fit
from edge.sinks import Sink
from edge.sources import Clock, Frame, Source
from edge.summary import Summary, Timings

log = logging.getLogger(__name__)

BETWEEN = frozenset((State.EMPTY, State.DECIDED))
"""States in which no deposit is being looked at."""


class View(Protocol):
    """Someone who looks on."""

    def show(self, frame: Frame, state: State, newest: Draft[Deposit] | None) -> bool:
        """Show the frame and the newest decision. False where the viewer wants to end."""


class Actor(Protocol):
    """Someone who acts on a decision."""

    def act(self, deposit: Deposit) -> None:
        """Act, without holding up who calls."""


@dataclass(frozen=True)
class Classified:
    """The newest classified frame."""

    frame: Frame
    latency: Latency


@dataclass
class Loop:
    """One source, one engine, any number of sinks. What it holds does not grow with time."""

    source: Source
    backend: Backend
    spec: InputSpec
    """The graph's input."""
    reporter: Reporter
    sinks: Sequence[Sink]
    """Those that are written to in this loop."""
    stop: threading.Event
    """Set by whoever wants the loop to end after the frame in hand."""
    ledger: Ledger = field(default_factory=Numbers)
    """Gives events their numbers, and keeps those that others fetch."""
    actors: Sequence[Actor] = ()
    """Told of each decision before anything is written. They return at once."""
    clock: Clock = time.monotonic
    max_frames: int | None = None
    """End after so many frames; None: when the source ends."""
    view: View | None = None
    successor: Callable[[], Backend | None] | None = None
    """Asked between deposits for an engine that takes over; the old one is closed."""
    watch: SceneWatch = field(default_factory=SceneWatch)
    episodes: Episodes = field(default_factory=Episodes)
    timings: Timings = field(default_factory=Timings)
    _started: float | None = field(default=None, init=False)
    _frames: int = field(default=0, init=False)
    _reasons: Counter[str] = field(default_factory=Counter, init=False)
    """Why answers were rejected, and how many were not."""
    _classified: Classified | None = field(default=None, init=False)
    _newest: Draft[Deposit] | None = field(default=None, init=False)
    _batch: Pixels | None = field(default=None, init=False)
    """What the engine reads from: uint8 [1, height, width, 3]."""

    def run(self) -> Summary:
        """Run to the source's end, `max_frames` or `stop`.

        An episode that is open then is decided on what was seen. Raises SourceError (after that decision is
        out), SinkError, BackendError.
        """
        self.ledger.wait(self.stop)
        try:
            while not self.stop.is_set() and self.run_once():
                pass
        except SourceError:
            self._finish()
            raise
        self._finish()
        return self.summary()

    def run_once(self) -> bool:
        """Take one frame to its end. False where the source has ended or enough frames were seen."""
        self._started = self.clock() if self._started is None else self._started
        if self._frames == self.max_frames:
            return False
        self._take_over()
        frame = self.source.read()
        if frame is None:
            return False
        arrived = self.clock()
        self._frames += 1
        self._publish(self._decide(frame, arrived))
        if self.view and not self.view.show(frame, self.episodes.state, self._newest):
            self.stop.set()
        return True

    def _finish(self) -> None:
        outcome = self.episodes.finish()
        if outcome is not None:
            self._publish(outcome)

    def close(self) -> None:
        """Give back the memory of the engine that serves now, which need not be the first."""
        self.backend.close()

    def summary(self) -> Summary:
        """Say what was measured so far."""
        seconds = self.clock() - self._started if self._started is not None else 0.0
        return Summary(
            frames=self._frames,
            seconds=round(seconds, 3),
            fps=round(self._frames / seconds, 2) if seconds > 0 else 0.0,
            decisions=self._reasons.total(),
            broken=self.source.broken,
            latency_ms=self.timings.percentiles(),
            rejected_unsure=self._reasons[Reason.UNSURE.value],
            rejected_stranger=self._reasons[Reason.STRANGER.value],
        )

    def _take_over(self) -> None:
        """Let a successor serve: not in the middle of a deposit, whose frames belong together."""
        if self.successor is None or self.episodes.state not in BETWEEN:
            return
        new = self.successor()
        if new is not None:
            self.backend.close()
            self.backend, self._batch = new, None
            self.reporter.serve(new.info)
            log.info("%s on %s takes over", new.info.file, new.info.provider)

    def _decide(self, frame: Frame, arrived: float) -> Outcome | None:
        if self.source.single:
            seen = self._classify(frame, arrived)
            return Outcome(seen.probabilities, 1, seen.strangeness)
        sight = self.watch.look(thumbnail(frame.image), frame.time)
        self.timings.add("watch", (self.clock() - arrived) * 1e3)
        step = self.episodes.step(sight)
        if step.classify:
            return self.episodes.answer(self._classify(frame, arrived))
        return step.outcome

    def _classify(self, frame: Frame, arrived: float) -> Seen:
        begun = self.clock()
        if self._batch is None:
            self._batch = self.backend.allocate(1)
        self._batch[0] = fit(frame.image, self.spec)
        fitted = self.clock()
        answers = self.backend.infer(self._batch)
        answered = self.clock()
        check_answers(answers, self.backend.info)
        latency = Latency(
            preprocess=round((fitted - begun) * 1e3, 3),
            infer=round((answered - fitted) * 1e3, 3),
            total=round((answered - arrived) * 1e3, 3),
        )
        self.timings.add("preprocess", latency.preprocess)
        self.timings.add("infer", latency.infer)
        self.timings.add("total", latency.total)
        self._classified = Classified(frame, latency)
        strange = answers.strangeness
        return Seen(answers.probabilities[0], None if strange is None else float(strange[0]))

    def _publish(self, outcome: Outcome | None) -> None:
        if outcome is None or self._classified is None:
            self._hand_over(self.ledger.flush())
            return
        frame, latency = self._classified.frame, self._classified.latency
        age = (self.clock() - frame.captured) * 1e3
        made = self._newest = self.reporter.report(outcome, latency, age, frame.name)
        for actor in self.actors:  # before the disk, whatever time that takes
            actor.act(made.data)
        self._reasons[made.data.reason or Reason.NONE.value] += 1
        self._hand_over(self.ledger.commit(made))

    def _hand_over(self, events: Sequence[Event[Any]]) -> None:
        for event in events:
            for sink in self.sinks:
                sink.write(event)
