from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edge.backends import Answers, Backend, open_backend
from edge.bundle import Bundle
from edge.episodes import State
from edge.errors import BackendError, OutboxFullError, SinkError, SourceError
from edge.event import Deposit, Draft, Event, Reporter
from edge.ledger import Numbers
from edge.loop import Loop
from edge.model import Model
from edge.preprocess import Pixels, fit
from edge.sources import Counts, Frame, Gap
from edge.sources.base import Closing
from edge.summary import Timings
from edge.triggered import Triggered
from tests.tiny import COLOURS, make_bundle, solid

FPS = 10.0


class Clock:
    """Simulated time: every look costs a millisecond."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Scripted(Closing):
    """Frames handed in. The pixels are 5 ms old when they are read."""

    live = False
    broken = 0
    counts = Counts()

    def __init__(self, images: list[Pixels], clock: Clock, *, single: bool = False, fails: bool = False) -> None:
        self.single = single
        self._frames = iter(enumerate(images))
        self._clock = clock
        self._fails = fails

    def read(self) -> Frame | None:
        for number, image in self._frames:
            return Frame(image, self._clock.now - 0.005, number / FPS, f"{number}.png" if self.single else "")
        if self._fails:
            raise SourceError("the camera is gone")
        return None

    def __enter__(self) -> Scripted:
        return self


class Kept(Closing):
    """A sink that keeps events, and fails at the event number `fails_at`."""

    def __init__(self, fails_at: int = 0) -> None:
        self.events: list[Event] = []
        self.fails_at = fails_at

    def write(self, event: Event) -> None:
        if int(event.sequence) == self.fails_at:
            raise SinkError("full")
        self.events.append(event)

    def __enter__(self) -> Kept:
        return self


def scene(*parts: tuple[str, float]) -> list[Pixels]:
    """Seconds of an empty grey bin ("") or of a thing that fills half of it."""
    images = []
    stains = np.random.default_rng(0).integers(90, 150, (12, 16, 1), dtype=np.uint8)
    for label, seconds in parts:
        image = stains.repeat(4, axis=0).repeat(4, axis=1).repeat(3, axis=2)
        if label:
            image[4:44, 14:50] = COLOURS[label]
        images += [image] * round(seconds * FPS)
    return images


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("loop") / "bundle")


@pytest.fixture
def backend(bundle: Bundle) -> Iterator[Backend]:
    with open_backend(bundle, "onnxruntime") as backend:
        yield backend


@pytest.fixture
def make(bundle: Bundle, backend: Backend) -> Callable[..., tuple[Loop, Kept]]:
    def made(images: list[Pixels], **options: bool) -> tuple[Loop, Kept]:
        clock, sink = Clock(), Kept()
        return Loop(
            source=Scripted(images, clock, **options),
            model=Model(bundle, backend),
            reporter=Reporter("b"),
            sinks=[sink],
            stop=threading.Event(),
            clock=clock,
        ), sink

    return made


Make = Callable[..., tuple[Loop, Kept]]


def test_every_image_of_a_folder_is_one_event_with_its_name(make: Make) -> None:
    loop, sink = make([solid("red"), solid("blue")], single=True)
    summary = loop.run()
    assert [(event.data.file, event.data.label) for event in sink.events] == [("0.png", "red"), ("1.png", "blue")]
    assert (summary.frames, summary.decisions) == (2, 2)


def test_a_deposit_in_a_scene_is_one_event(make: Make) -> None:
    loop, sink = make(scene(("", 1), ("red", 1.5), ("", 1), ("green", 1.5), ("", 1)))
    summary = loop.run()
    assert [event.data.label for event in sink.events] == ["red", "green"]
    assert [event.data.frames_seen for event in sink.events] == [3, 3]
    assert (summary.frames, summary.decisions) == (60, 2)


def test_times_are_those_of_the_clock(make: Make) -> None:
    loop, sink = make([solid("red")], single=True)
    summary = loop.run()
    data = sink.events[0].data
    # Looks at the clock: arrival, fit begun, fitted, answered, all of it, decided; a millisecond each.
    assert (data.latency_ms.preprocess, data.latency_ms.infer, data.latency_ms.total) == (1.0, 1.0, 4.0)
    assert data.frame_age_ms == pytest.approx(5 + 6)
    assert summary.latency_ms["total"]
    assert summary.latency_ms["total"].p99 == 4.0
    assert summary.latency_ms["watch"] is None
    assert summary.seconds > 0


def test_an_idle_bin_costs_no_inference(make: Make) -> None:
    loop, sink = make(scene(("", 20)))
    summary = loop.run()
    assert not sink.events
    assert summary.latency_ms["infer"] is None
    assert summary.frames == 200


def test_max_frames_ends_and_decides_what_is_open(make: Make) -> None:
    loop, sink = make(scene(("", 1), ("red", 5)))
    loop.max_frames = 14  # one settled frame
    assert loop.run().frames == 14
    assert [event.data.frames_seen for event in sink.events] == [1]


def test_stop_ends_after_the_frame_in_hand(make: Make) -> None:
    loop, _ = make([solid("red")] * 5, single=True)
    assert loop.run_once()
    loop.stop.set()
    assert loop.run().frames == 1


def test_a_source_that_fails_has_its_open_deposit_decided_first(make: Make) -> None:
    loop, sink = make(scene(("", 1), ("red", 0.4)), fails=True)
    with pytest.raises(SourceError, match="camera is gone"):
        loop.run()
    assert [event.data.label for event in sink.events] == ["red"]
    assert loop.summary().decisions == 1


def test_a_sink_that_fails_ends_the_run(make: Make) -> None:
    loop, _ = make([solid("red")] * 5, single=True)
    sink = Kept(fails_at=3)
    loop.sinks = [sink]
    with pytest.raises(SinkError):
        loop.run()
    assert len(sink.events) == 2


def test_an_engine_that_answers_nonsense_is_not_believed(make: Make, backend: Backend) -> None:
    class Broken:
        def __init__(self, backend: Backend) -> None:
            self.info = backend.info

        def infer(self, batch: Pixels) -> Answers:
            return Answers(np.full((1, 3), np.nan, dtype=np.float32))

        def allocate(self, images: int) -> Pixels:
            return np.zeros((images, 32, 32, 3), dtype=np.uint8)

    loop, sink = make([solid("red")], single=True)
    loop.model = Model(loop.model.bundle, cast(Backend, Broken(backend)))
    with pytest.raises(BackendError, match="nan"):
        loop.run()
    assert not sink.events


def test_a_stranger_is_told_by_its_middle_frame_and_counted(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", size=32, strangeness=True, stranger_threshold=1.0)
    clock, sink = Clock(), Kept()
    with open_backend(bundle, "onnxruntime") as backend:
        loop = Loop(
            source=Scripted(scene(("", 1), ("red", 2), ("", 1)), clock),
            model=Model(bundle, backend),
            reporter=Reporter("b"),
            sinks=[sink],
            stop=threading.Event(),
            clock=clock,
        )
        summary = loop.run()
        whole = scene(("red", 0.1))[0]
        alone = backend.infer(fit(whole, bundle.manifest.input)[None]).strangeness
    assert alone is not None
    (event,) = sink.events
    assert event.data.strangeness == pytest.approx(float(alone[0]), abs=1e-5)
    assert (summary.decisions, summary.rejected_stranger, summary.rejected_unsure) == (1, 0, 0)


class TestLedger:
    def test_the_flap_hears_of_a_decision_before_anything_is_written(self, make: Make) -> None:
        order: list[str] = []

        class Slow(Numbers):
            def commit(self, made: Draft[Any]) -> Sequence[Event[Any]]:
                order.append("disk")
                return super().commit(made)

        class Flap:
            def act(self, deposit: Deposit) -> None:
                order.append(deposit.label)

        loop, sink = make([solid("red")], single=True)
        loop.ledger, loop.actors = Slow(), [Flap()]
        loop.run()
        assert order == ["red", "disk"]
        assert len(sink.events) == 1

    def test_what_could_not_be_numbered_is_written_when_it_can(self, make: Make) -> None:
        class Late(Numbers):
            def __init__(self) -> None:
                super().__init__()
                self.kept: list[Draft[Any]] = []

            def commit(self, made: Draft[Any]) -> Sequence[Event[Any]]:
                self.kept.append(made)
                return ()

            def flush(self) -> Sequence[Event[Any]]:
                made, self.kept = self.kept, []
                return [event for one in made for event in super(Late, self).commit(one)]

        loop, sink = make(scene(("", 1), ("red", 1.5), ("", 1)))
        loop.ledger = Late()
        assert loop.run().decisions == 1
        assert [event.data.label for event in sink.events] == ["red"]

    def test_an_outbox_that_is_full_for_good_ends_the_run(self, make: Make) -> None:
        class Full(Numbers):
            def flush(self) -> Sequence[Event[Any]]:
                raise OutboxFullError("full")

        loop, _ = make(scene(("", 1)))
        loop.ledger = Full()
        with pytest.raises(OutboxFullError):
            loop.run()
        loop, _ = make(scene(("", 1)))
        loop.ledger = Full()
        loop.stop.set()  # who was told to end does not complain
        assert loop.run().frames == 0


class TestTakeOver:
    @pytest.fixture
    def strict(self, tmp_path: Path) -> Iterator[Model]:
        """A model of the same graph, whose artifact accepts nothing."""
        bundle = make_bundle(tmp_path / "strict", reject_threshold=1.0)
        with open_backend(bundle, "onnxruntime") as backend:
            backend.info = replace(backend.info, name="tensorrt")
            yield Model(bundle, backend)

    def test_the_next_deposit_is_the_new_models(self, make: Make, strict: Model) -> None:
        loop, sink = make(scene(("", 1), ("red", 1.5), ("", 1), ("green", 1.5), ("", 1)))
        waiting = [strict]
        states: list[State] = []

        def successor(before: Model) -> Model | None:
            assert before is loop.model
            states.append(loop.episodes.state)
            return waiting.pop() if waiting and len(sink.events) == 1 else None

        loop.successor = successor
        loop.run()
        first, swapped, second = sink.events
        assert [(one.data.label, one.data.backend) for one in (first, second)] == [
            ("red", "onnxruntime"),
            ("green", "tensorrt"),
        ]
        assert [one.data.decision.value for one in (first, second)] == ["accepted", "rejected"]
        assert (swapped.type, swapped.data.serves) == ("binsight.bundle", second.data.bundle)
        assert swapped.data.before == first.data.bundle
        assert [event.sequence for event in sink.events] == ["1", "2", "3"]
        assert len({event.epoch for event in sink.events}) == 1
        assert set(states) == {State.EMPTY, State.DECIDED}  # never while a deposit is looked at


class Live(Closing):
    """A camera in simulated time: frames with the age at which they are read, and gaps."""

    single, live, broken, counts = False, True, 0, Counts(skipped=5, reopened=2)

    def __init__(self, clock: Clock, items: list[tuple[Pixels | None, float]]) -> None:
        self._clock, self._items = clock, iter(items)
        self._began = clock.now

    def read(self) -> Frame | Gap | None:
        for image, age in self._items:
            self._clock.now += 0.5 if image is None else 1 / FPS
            now = self._clock.now
            if image is None:
                return Gap(now - self._began, now - age, "it is silent")
            return Frame(image, now - age, now - age - self._began)
        return None

    def __enter__(self) -> Live:
        return self


class TestLive:
    @pytest.fixture
    def live(self, bundle: Bundle, backend: Backend) -> Callable[..., tuple[Loop, Kept]]:
        def made(items: list[tuple[Pixels | None, float]], **options: Any) -> tuple[Loop, Kept]:
            clock, sink = Clock(), Kept()
            loop = Loop(
                source=Live(clock, items),
                model=Model(bundle, backend),
                reporter=Reporter("b"),
                sinks=[sink],
                stop=threading.Event(),
                clock=clock,
                **options,
            )
            loop.stop.wait = lambda timeout=None: setattr(clock, "now", clock.now + (timeout or 0)) or False  # type: ignore[method-assign, assignment]
            return loop, sink

        return made

    def test_nothing_is_decided_on_an_old_frame(self, live: Make) -> None:
        fresh = [(image, 0.02) for image in scene(("", 1))]
        old = [(image, 1.1) for image in scene(("red", 3))]
        loop, sink = live(fresh + old)
        summary = loop.run()
        assert not sink.events
        assert (summary.outdated, summary.latency_ms["infer"], summary.skipped, summary.reopened) == (
            30,
            None,
            5,
            2,
        )
        loop, sink = live([(image, 1.1) for image in scene(("", 1), ("red", 3))], max_age=2.0)
        loop.run()
        assert [event.data.label for event in sink.events] == ["red"]

    def test_an_answer_that_comes_too_late_does_not_count(
        self, live: Make, bundle: Bundle, backend: Backend
    ) -> None:
        loop, sink = live([(image, 0.02) for image in scene(("", 1), ("red", 3))])

        class Slow(Model):
            def answer(self, image: Pixels, clock: Any) -> Any:
                clock.now += 1.2
                return super().answer(image, clock)

        loop.model = Slow(bundle, backend)
        assert loop.run().outdated > 0
        assert not sink.events

    def test_a_camera_that_is_lost_in_the_middle_ends_the_deposit_in_time(self, live: Make) -> None:
        seen = [(image, 0.02) for image in scene(("", 1), ("red", 0.5))]
        loop, sink = live([*seen, *[(None, 0.5 * n) for n in range(1, 60)], *seen[-3:], *seen[:5]])
        loop.run()
        (event,) = sink.events  # the same thing seen again, half a minute later, is no second one
        assert event.data.label == "red"
        assert event.data.frame_age_ms <= 1000

    def test_an_idle_bin_is_looked_at_less_often_and_wakes_at_once(self, live: Make) -> None:
        loop, sink = live([(image, 0.02) for image in scene(("", 10), ("green", 2), ("", 1))])
        looks: list[float] = []
        look = loop.watch.look
        loop.watch.look = lambda picture, time: looks.append(time) or look(picture, time)  # type: ignore[method-assign, func-returns-value]
        loop.run()
        assert [event.data.label for event in sink.events] == ["green"]
        assert max(b - a for a, b in itertools.pairwise(looks)) == pytest.approx(0.3, abs=0.02)
        busy = [b - a for a, b in itertools.pairwise(looks[:15])]
        assert max(busy) < 0.15

    def test_a_trigger_opens_the_deposit_and_the_scene_does_not(self, live: Make) -> None:
        class Switch:
            healthy = True

            def __init__(self, *times: float) -> None:
                self.times = list(times)

            def poll(self, time: float) -> bool:
                return bool(self.times) and time >= self.times[0] and self.times.pop(0) > 0

        items = [(image, 0.02) for image in scene(("", 1), ("red", 2), ("blue", 3), ("", 1))]
        loop, sink = live(items, trigger=Switch(54.0), episodes=Triggered())
        loop.run()
        assert [event.data.label for event in sink.events] == ["blue"]


def test_a_viewer_sees_every_frame_and_may_end_the_run(make: Make) -> None:
    class Viewer:
        def __init__(self) -> None:
            self.seen: list[tuple[State, str]] = []

        def show(self, frame: Frame, state: State, newest: Event | None) -> bool:
            self.seen.append((state, newest.data.label if newest else ""))
            return len(self.seen) < 20

    loop, _ = make(scene(("", 1), ("red", 5)))
    viewer = Viewer()
    loop.view = viewer
    assert loop.run().frames == 20
    assert viewer.seen[0] == (State.EMPTY, "")
    assert viewer.seen[10] == (State.ARRIVING, "")
    assert viewer.seen[-1] == (State.DECIDED, "red")


def test_timings_keep_the_newest_only() -> None:
    timings = Timings(kept=100)
    for value in range(1000):
        timings.add("infer", value)
    found = timings.percentiles()
    assert found["infer"]
    assert 949 < found["infer"].p50 < 950
    assert found["preprocess"] is None


def test_a_long_run_holds_no_more_than_a_short_one(make: Make, tmp_path: Path) -> None:
    loop, _ = make(scene(*[("", 1.5), ("red", 1.5)] * 40))
    loop.timings = Timings(kept=50)
    loop.sinks = []
    loop.run()
    assert {len(kept) for kept in loop.timings._kept.values()} == {50}
    assert loop.timings._counts["event"] == 40
    assert min(loop.timings._counts.values()) == 40
