"""A deposit that a switch reports: from (its signal, what is seen, probabilities, time) to one decision each."""

from __future__ import annotations

import math

from edge.answers import Answers, EpisodeSettings, Outcome, Seen, State, Step
from edge.motion import Sight


class Triggered:
    """The state machine of a bin where a lid switch or a command says when something came.

    What the scene looks like without a deposit need not be known. The interface is that of `Episodes`, and `fire`.
    """

    def __init__(self, settings: EpisodeSettings | None = None, empty: int | None = None) -> None:
        self._settings = settings or EpisodeSettings()
        self._answers = Answers(self._settings, empty)
        self.state = State.EMPTY
        self.said_empty = False
        self._sight: Sight | None = None
        self._fired_at = 0.0
        self._stirred = False
        """Whether something has moved since."""
        self._asked_at = -math.inf

    def fire(self, time: float) -> None:
        """Something was thrown in. Before the decision on the last thing it is the same deposit."""
        if self.state in (State.EMPTY, State.DECIDED):
            self._answers.clear()
            self.state, self._fired_at, self._stirred, self._asked_at = State.ARRIVING, time, False, -math.inf

    def step(self, sight: Sight) -> Step:
        """Take in what the next frame shows."""
        self._sight = sight
        late = self.lapse(sight.time)
        if late is not None or self.state in (State.EMPTY, State.DECIDED):
            return Step(outcome=late)
        settings = self._settings
        self._stirred = self._stirred or sight.moving
        if not self._stirred and sight.time - self._fired_at < settings.wait_seconds:
            return Step()
        if (sight.moving and self._answers.settled) or sight.time - self._asked_at < settings.spacing_seconds:
            return Step()
        self.state = State.ARRIVING if sight.moving else State.RESTING
        self._asked_at = sight.time
        return Step(classify=True)

    def answer(self, seen: Seen) -> Outcome | None:
        """Take the answer for the frame that `step` asked for; decide where it suffices."""
        assert self._sight is not None  # noqa: S101  set by the step that asked
        self._answers.add(seen, self._sight)
        return self._decide() if not self._sight.moving and self._answers.agree() else None

    def lapse(self, time: float) -> Outcome | None:
        """Let time pass, with a frame or without one: decide before what was seen is too old."""
        self.said_empty = False
        if self.state in (State.EMPTY, State.DECIDED):
            return None
        over = time - self._fired_at >= self._settings.trigger_seconds
        return self._decide() if over or (self._answers.any and self._answers.old(time)) else None

    def forget(self) -> None:
        """Forget what was seen: it is too old to be decided on."""
        self._answers.clear()

    def relabel(self, empty: int | None) -> None:
        """Go on with another network, which has this class for an empty scene."""
        self._answers.empty = empty

    def finish(self) -> Outcome | None:
        """End the open episode, since no frames come any more."""
        outcome = None if self.state in (State.EMPTY, State.DECIDED) else self._decide()
        self.state = State.EMPTY
        return outcome

    def _decide(self) -> Outcome | None:
        outcome = self._answers.conclude(least=1)
        self._answers.clear()
        self.state = State.DECIDED
        return outcome
