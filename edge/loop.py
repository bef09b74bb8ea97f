"""From frames to decisions to events. Source, model, sinks, clock and stop are handed in."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from edge import choices
from edge.board import Board, served
from edge.decision import Reason
from edge.episodes import Episodes, Outcome, Seen, State
from edge.errors import SourceError
from edge.event import Deposit, Draft, Event, Latency, Reporter
from edge.ledger import Ledger, Numbers
from edge.model import Model
from edge.motion import SceneWatch, thumbnail
from edge.onlooker import Onlooker
from edge.preprocess import Pixels
from edge.sinks import Sink
from edge.snapshot import Part, Vitals
from edge.sources import Clock, Frame, Gap, Source
from edge.summary import Summary, Timings
from edge.triggered import Triggered
from edge.triggers import Trigger

log = logging.getLogger(__name__)

BETWEEN = frozenset((State.EMPTY, State.DECIDED))
"""States in which no deposit is being looked at."""

IDLE_SECONDS = 0.2
"""From one look to the next where nothing is there and nothing moves: what is thrown in is seen for longer."""

MAX_AGE = choices.MAX_AGE


class View(Protocol):
    """Someone who looks on."""

    def show(self, frame: Frame, state: State, newest: Draft[Deposit] | None) -> bool:
        """Show the frame and the newest decision. False where the viewer wants to end."""


class Actor(Protocol):
    """Someone who acts on a decision."""

    def act(self, deposit: Deposit) -> None:
        """Act, without holding up who calls."""


@dataclass
class Classified:
    """The newest classified frame."""

    captured: float
    """Monotonic seconds."""
    name: str
    """As in Frame."""
    latency: Latency
    picture: Pixels
    """uint8 [height, width, 3], BGR: the source's own until the loop goes on to the next frame."""


@dataclass
class Loop:
    """One source, one model, any number of sinks. What it holds does not grow with time."""

    source: Source
    model: Model
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
    max_age: float = MAX_AGE
    """Seconds from the capture of a live source's frame, beyond which nothing is decided on it."""
    view: View | None = None
    successor: Callable[[Model], Model | None] | None = None
    """Asked between deposits for what takes over from the model that it is given, and is then its to close."""
    trigger: Trigger | None = None
    """Tells when something is thrown in; None: the scene does."""
    onlookers: Sequence[Onlooker] = ()
    """Told of frames, of frames that did not come, and of decisions; what they say of it becomes events."""
    board: Board = field(default_factory=lambda: Board("bin"))
    """Told of all that page and metrics show."""
    outgoing: Callable[[], Vitals] = Vitals
    """Says how outbox and sinks stand."""
    beat: Callable[[], object] = lambda: None
    """Told again and again that the loop gets on."""
    watch: SceneWatch = field(default_factory=SceneWatch)
    timings: Timings = field(default_factory=Timings)
    episodes: Episodes | Triggered = field(default_factory=Episodes)
    _started: float | None = field(default=None, init=False)
    _frames: int = field(default=0, init=False)
    _reasons: Counter[str] = field(default_factory=Counter, init=False)
    """Why answers were rejected, and how many were not."""
    _classified: Classified | None = field(default=None, init=False)
    _newest: Draft[Deposit] | None = field(default=None, init=False)
    _idle: bool = field(default=False, init=False)
    """Nothing is there and nothing moves."""
    _outdated: int = field(default=0, init=False)
    """Frames that were too old to decide on."""

    def run(self) -> Summary:
        """Run to the source's end, `max_frames` or `stop`.

        An episode that is open then is decided on what was seen. Raises SourceError (after that decision is
        out), SinkError, BackendError.
        """
        self.ledger.wait(self.stop, self.beat)
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
        self.board.enter(Part.CAMERA)
        given = self.source.read()
        self.board.enter(Part.LOOP)
        if given is None:
            return False
        self._forget()
        if isinstance(given, Gap):
            self._wait_out(given)
        else:
            self._see(given)
        if self.board.is_due():
            self.board.vitals(self._vitals())
        self.beat()
        return True

    def _wait_out(self, gap: Gap) -> None:
        if self.clock() - gap.since > self.max_age:  # else it is a slow camera's way
            self.board.gap(gap)
            for onlooker in self.onlookers:
                self._say(onlooker.missed(gap))
        self._poll(gap.time)
        self._publish(self.episodes.lapse(gap.time))

    def _see(self, frame: Frame) -> None:
        arrived = self.clock()
        self._frames += 1
        outcome = self._decide(frame, arrived)
        self._publish(outcome, frame.captured)
        self.board.frame(frame, self.episodes.state.value)
        if self.view and not self.view.show(frame, self.episodes.state, self._newest):
            self.stop.set()
        if outcome is None and self._classified and self._classified.picture is frame.image:
            self._classified.picture = frame.image.copy()  # a later decision may rest on it
        self._rest(arrived)

    def _finish(self) -> None:
        outcome = self.episodes.finish()
        if outcome is not None:
            self._publish(outcome)

    def close(self) -> None:
        """Give back the memory of the engine that serves now, which need not be the first."""
        self.model.close()

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
            skipped=self.source.counts.skipped,
            outdated=self._outdated,
            reopened=self.source.counts.reopened,
        )

    def _take_over(self) -> None:
        """Let a successor serve: not in the middle of a deposit, whose frames belong together."""
        if self.successor is None or self.episodes.state not in BETWEEN:
            return
        new = self.successor(self.model)
        if new is not None:
            before, self.model = self.model, new
            self.episodes.relabel(new.empty)
            if new.bundle is not before.bundle:
                self._say([self.reporter.swapped(before.bundle, new.bundle)])
            self.board.serves(served(new.bundle.manifest, new.info))
            log.info("%s on %s takes over", new.info.file, new.info.provider)

    def _decide(self, frame: Frame, arrived: float) -> Outcome | None:
        if self.source.single:
            seen = self._classify(frame, arrived)
            return Outcome(seen.probabilities, 1, seen.strangeness) if seen else None
        if self._is_outdated(frame.captured, arrived):
            return self.episodes.lapse(frame.time)
        self._poll(frame.time)
        sight = self.watch.look(thumbnail(frame.image), frame.time)
        self._time("watch", (self.clock() - arrived) * 1e3)
        self._idle = sight.idle
        for onlooker in self.onlookers:
            self._say(onlooker.looked(frame, sight))
        step = self.episodes.step(sight)
        if not step.classify:
            return step.outcome
        seen = self._classify(frame, arrived)
        outcome = self.episodes.answer(seen) if seen else None
        if self.episodes.said_empty:
            self.watch.absorb()
        return outcome

    def _poll(self, time: float) -> None:
        """Ask the trigger, `time` seconds on the source's own clock."""
        if self.trigger and isinstance(self.episodes, Triggered) and self.trigger.poll(self.clock()):
            self.episodes.fire(time)

    def _is_outdated(self, captured: float, now: float) -> bool:
        """Whether what was captured then is too old to be decided on. Files do not age."""
        outdated = self.source.live and now - captured > self.max_age
        if outdated:
            self._outdated += 1
        return outdated

    def _classify(self, frame: Frame, arrived: float) -> Seen | None:
        """Answer the frame; None where it is too old by then."""
        self.board.enter(Part.INFERENCE)
        answered = self.model.answer(frame.image, self.clock)
        self.board.enter(Part.LOOP)
        now = self.clock()
        latency = Latency(
            preprocess=round(answered.preprocess, 3),
            infer=round(answered.infer, 3),
            total=round((now - arrived) * 1e3, 3),
        )
        self._time("preprocess", latency.preprocess)
        self._time("infer", latency.infer)
        self._time("total", latency.total)
        if self._is_outdated(frame.captured, now):
            return None
        self._classified = Classified(frame.captured, frame.name, latency, frame.image)
        return answered.seen

    def _publish(self, outcome: Outcome | None, captured: float | None = None) -> None:
        """Say an outcome. `captured`: when the frame that led to it was."""
        if outcome is None or self._classified is None:
            self._hand_over(self.ledger.flush())
            return
        newest = self._classified
        age = (self.clock() - newest.captured) * 1e3
        made = self._newest = self.reporter.report(self.model, outcome, newest.latency, age, newest.name)
        for actor in self.actors:  # before the disk, whatever time that takes
            actor.act(made.data)
        self._reasons[made.data.reason or Reason.NONE.value] += 1
        self._say([made])
        if captured is not None:
            self._time("event", (self.clock() - captured) * 1e3)
        self.board.decision(made, newest.picture)
        for onlooker in self.onlookers:
            self._say(onlooker.decided(made, newest.picture))

    def _say(self, drafts: Sequence[Draft[Any]]) -> None:
        """Make events of drafts, and hand them over."""
        for made in drafts:
            self.board.enter(Part.OUTBOX)
            self._hand_over(self.ledger.commit(made))
            self.board.enter(Part.LOOP)

    def _time(self, step: str, milliseconds: float) -> None:
        self.timings.add(step, milliseconds)
        self.board.timed(step, milliseconds)

    def _vitals(self) -> Vitals:
        out = self.outgoing()
        return replace(
            out,
            counts=self.source.counts,
            broken=self.source.broken,
            outdated=self._outdated,
            sinks={**out.sinks, **({"trigger": self.trigger.healthy} if self.trigger else {})},
        )

    def _forget(self) -> None:
        """Decide nothing on what was seen too long ago: if the thing is still there, it is looked at anew."""
        newest = self._classified
        if newest and self.source.live and self.clock() - newest.captured > self.max_age:
            self.episodes.forget()
            self._classified = None

    def _hand_over(self, events: Sequence[Event[Any]]) -> None:
        for event in events:
            for sink in self.sinks:
                sink.write(event)

    def _rest(self, arrived: float) -> None:
        """Look less often where nothing is there and nothing moves. The frames of a file do not wait."""
        if self.source.live and self._idle and self.episodes.state is State.EMPTY:
            self.stop.wait(max(0.0, arrived + IDLE_SECONDS - self.clock()))
