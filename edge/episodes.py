"""A deposit is an episode, not a frame: from (what is seen, probabilities, time) to one decision each.

Pure: no clock is read, no picture is looked at. The caller shows every frame's Sight to `step`, classifies
the frame only where that asks for it, and gives the probabilities to `answer`.
"""

from __future__ import annotations

import math

from edge.answers import Answers, EpisodeSettings, Outcome, Scores, Seen, State, Step, combine
from edge.motion import Sight

__all__ = ["EpisodeSettings", "Episodes", "Outcome", "Scores", "Seen", "State", "Step", "combine"]


class Episodes:
    """The state machine of a bin whose scene says when something came.

    `empty`: which class says that nothing is there, where the network knows one. What it is seen in is no
    deposit; `said_empty` is then true until the next step, for whoever keeps the scene to learn it so.
    """

    def __init__(self, settings: EpisodeSettings | None = None, empty: int | None = None) -> None:
        self._settings = settings or EpisodeSettings()
        self._answers = Answers(self._settings, empty)
        self.state = State.EMPTY
        self.said_empty = False
        self._sight: Sight | None = None
        """The newest."""
        self._rests_since: float | None = None
        self._empty_since: float | None = None
        self._asked_at = -math.inf
        self._looks = 0
        self._reaching = 0
        """In how many of the looks something reached in over the rim."""
        self._known = False

    def step(self, sight: Sight) -> Step:
        """Take in what the next frame shows."""
        before, self._sight = self._sight, sight
        if sight.known:  # what was seen is no deposit
            self._answers.clear()
        late = self.lapse(sight.time)
        if late is not None:
            return Step(outcome=late)
        self._known = self._known or sight.known
        if not sight.occupied:
            return self._step_empty(sight)
        self._empty_since = None
        if self.state is State.DECIDED:
            return Step()
        if (
            before is not None and sight.time - before.time > self._settings.patience_seconds
        ):  # the camera was away
            self._answers.clear()
        self._follow(sight)
        if self._answers.agree() and not self._may_be_an_arm():
            return Step(outcome=self._decide())
        return Step(classify=self._asks(sight))

    def answer(self, seen: Seen) -> Outcome | None:
        """Take the answer for the frame that `step` asked for; decide where it suffices."""
        assert self._sight is not None  # noqa: S101  set by the step that asked
        self._answers.add(seen, self._sight)
        if self._sight.moving or not self._answers.agree() or self._may_be_an_arm():
            return None
        return self._decide()

    def lapse(self, time: float) -> Outcome | None:
        """Let time pass, with a frame or without one: decide before what was seen is too old."""
        self.said_empty = False
        if self.state in (State.EMPTY, State.DECIDED) or not self._answers.settled:
            return None
        return self._decide() if self._answers.old(time) else None

    def forget(self) -> None:
        """Forget what was seen: it is too old to be decided on."""
        self._answers.clear()

    def relabel(self, empty: int | None) -> None:
        """Go on with another network, which has this class for an empty scene."""
        self._answers.empty = empty

    def finish(self) -> Outcome | None:
        """End the open episode, since no frames come any more."""
        outcome = (
            None
            if self.state in (State.EMPTY, State.DECIDED)
            else self._answers.conclude(self._settings.least_glimpses)
        )
        self._reset()
        return outcome

    def _follow(self, sight: Sight) -> None:
        """Keep account of what moves and what reaches in."""
        self._looks += 1
        self._reaching += sight.reaching
        if sight.moving:
            if self._rests_since is not None and self._reaching:  # the arm that paused moves on
                self._answers.unsettle()
            self._rests_since = None
        elif self._rests_since is None:
            self._rests_since = sight.time
        self.state = State.ARRIVING if sight.moving and not self._answers.settled else State.RESTING

    def _asks(self, sight: Sight) -> bool:
        settings, answers = self._settings, self._answers
        if sight.moving and answers.settled:  # a blurred frame adds nothing to a sharp one
            return False
        spacing = settings.patience_seconds / 2 if answers.agree() else settings.spacing_seconds
        first = not sight.moving and not answers.settled
        if not first and sight.time - self._asked_at < spacing:
            return False
        self._asked_at = sight.time
        return True

    def _may_be_an_arm(self) -> bool:
        """Tell whether what rests may yet be an arm that pauses, or was a moment ago."""
        sight, since = self._sight, self._rests_since
        if sight is None or not (sight.reaching or self._reaching * 3 > self._looks):
            return False
        patience = self._settings.reaching_seconds / (1 if sight.reaching else 1.5)
        return since is None or sight.time - since < patience

    def _decide(self) -> Outcome | None:
        outcome = self._answers.conclude(self._settings.least_glimpses)
        self.said_empty = outcome is None
        self._answers.clear()
        self.state = State.DECIDED
        return outcome

    def _step_empty(self, sight: Sight) -> Step:
        time = sight.time
        if self.state is State.EMPTY:
            self._known = False
            return Step()
        if self._empty_since is None:
            self._empty_since = time
        if time - self._empty_since < self._settings.empty_seconds and not sight.taken:
            return Step()
        passing = not sight.taken and (self._reaching or not (self._answers.settled or sight.bare))
        if self._known or passing:
            self._reset()  # taken away, or an arm that came and went
        return Step(outcome=self.finish())

    def _reset(self) -> None:
        self.state = State.EMPTY
        self._answers.clear()
        self._rests_since = self._empty_since = None
        self._asked_at = -math.inf
        self._looks = self._reaching = 0
        self._known = False
